"""No degradation: the network learns to return its input."""

import dataclasses
from typing import ClassVar

import jax

from gan_jax.data.degrade.degradation import Degradation, Degraded


@dataclasses.dataclass(frozen=True)
class Identity(Degradation):
    """Images stay as they are, which makes an autoencoder of the network that restores them."""

    name: ClassVar[str] = "none"

    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        """Return the image."""
        return Degraded(image, None)
