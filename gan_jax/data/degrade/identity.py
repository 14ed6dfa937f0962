"""No degradation: the network learns to return its input."""

import dataclasses
from typing import ClassVar

import jax
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded


@dataclasses.dataclass(frozen=True)
class Identity(Degradation):
    """Images are unchanged: the network that restores them is an autoencoder."""

    name: ClassVar[str] = "none"

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        return Degraded(image, None)
