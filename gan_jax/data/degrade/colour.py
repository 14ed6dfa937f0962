"""Images without their colours, for colourisation."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded
from gan_jax.data.device import to_float, to_uint8
from gan_jax.errors import ConfigError

# BT.601's luminance of R, G, B in units of 1 / 65536, in which a byte's product is exact.
_LUMINANCE = (19595, 38470, 7471)


@dataclasses.dataclass(frozen=True)
class Grey(Degradation):
    """The luminance of an RGB image, ``0.299 R + 0.587 G + 0.114 B`` (ITU-R BT.601), in bytes.

    It is Pillow's mode "L", over the full range of values.
    """

    name: ClassVar[str] = "grey"

    @override
    def inputs(self, channels: int) -> int:
        """Return 1; ``channels`` must be 3."""
        if channels != 3:
            raise ConfigError(
                f"degrade.name = 'grey' with images of {channels} channels; accepted: 3."
            )
        return 1

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        products = to_uint8(image).astype(jnp.int32) * jnp.asarray(_LUMINANCE, jnp.int32)
        luminance = (products.sum(-1, keepdims=True) + 0x8000) >> 16
        return Degraded(to_float(luminance.astype(jnp.uint8)), None)
