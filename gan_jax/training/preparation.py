"""From the stored images of a batch to what a turn trains on: scaled, cropped, mirrored."""

import dataclasses

import jax
import jax.numpy as jnp

from gan_jax.data import device
from gan_jax.errors import ConfigError
from gan_jax.games import draws


@dataclasses.dataclass(frozen=True)
class Prepare:
    """What is done to real images, anew each time that they are seen.

    Attributes:
      flip: they are mirrored left to right with probability 1/2.
      crop: a square of this size is cut out at a random place; ``None``: they stay whole.
      apart: the channels are those of two images that have nothing to do with each other, half of
        them each, which are cropped and mirrored independently.
    """

    flip: bool = False
    crop: int | None = None
    apart: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what comes out for stored data points of a shape.

        Raises:
          ConfigError: they cannot be cropped.
        """
        if self.crop is None:
            return shape
        if len(shape) != 3 or not 1 <= self.crop <= min(shape[:2]):
            accepted = "unset" if len(shape) != 3 else f"1 to {min(shape[:2])}, or unset"
            raise ConfigError(
                f"data.crop = {self.crop}; accepted for data points of shape {shape}: {accepted}"
            )
        return (self.crop, self.crop, shape[2])

    def __call__(self, stored: jax.Array, key: jax.Array, axis_name: str | None) -> jax.Array:
        """Return float32 ``[batch, *shape]`` in [-1, 1].

        Args:
          stored: this device's share of a batch, uint8 ``[batch, h, w, c]``, or points.
          key: the turn's, the same on every device.
          axis_name: the mapped axis, or ``None``.
        """
        images = device.to_float(stored)
        if not (self.apart and (self.flip or self.crop is not None)):
            return self._moved(images, key, "", axis_name)
        first, second = jnp.split(images, 2, axis=-1)
        both = [
            self._moved(first, key, "", axis_name),
            self._moved(second, key, "/second", axis_name),
        ]
        return jnp.concatenate(both, axis=-1)

    def _moved(
        self, images: jax.Array, key: jax.Array, which: str, axis_name: str | None
    ) -> jax.Array:
        def keys(use: str) -> jax.Array:
            named = draws.named(key, f"{use}{which}")
            return draws.example_keys(named, images.shape[0], axis_name)

        if self.crop is not None:
            images = device.crop(images, self.crop, keys("crop"))
        if self.flip:
            images = device.flip(images, jax.vmap(jax.random.bernoulli)(keys("flip")))
        return images
