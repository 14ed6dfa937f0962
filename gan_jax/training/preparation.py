"""From the stored batch of a step to the batch of a turn: scaled, cropped and mirrored."""

import dataclasses
from collections.abc import Mapping

import jax

from gan_jax.data import device, kinds
from gan_jax.data.spec import LABEL, Field, Spec, pair_scale
from gan_jax.errors import ConfigError, require
from gan_jax.games import draws


@dataclasses.dataclass(frozen=True)
class Prepare:
    """The preparation of real data, drawn anew each time that an example is used.

    Attributes:
      stored: the specification of the source.
      flip: images are mirrored left to right with probability 1/2.
      crop: a square of this size is cut out of every image at a random place, and the same part of
        the smaller images of pairs of two sizes; ``None``: they stay whole.
      apart: ``a`` and ``b`` are unrelated images, which are cropped and mirrored independently;
        otherwise all images of an example are moved alike.

    Raises:
      ConfigError: the data cannot be cropped or mirrored.
    """

    stored: Spec
    flip: bool = False
    crop: int | None = None
    apart: bool = False

    def __post_init__(self):
        for name, field in self.stored.items():
            if self.flip and name != LABEL and not kinds.of(field).movable:
                raise ConfigError(
                    f"data.flip = True; accepted for {name!r} of kind {field.kind!r}: False"
                )
            if self.flip and field.kind == "caption":
                raise ConfigError(
                    "data.flip = True; accepted for data with captions, which may say left or "
                    "right: False"
                )
        _ = self.spec

    @property
    def spec(self) -> Spec:
        """The specification of the prepared data."""
        return {name: self._cropped(name, field) for name, field in self.stored.items()}

    def _cropped(self, name: str, field: Field) -> Field:
        if self.crop is None or name == LABEL:
            return field
        scale = pair_scale(self.stored)
        accepted = f"a multiple of {scale}, the factor of the pairs"
        require(self.crop % scale == 0, "data.crop", self.crop, accepted)
        return kinds.cropped(field, self.crop // scale if name == "a" else self.crop)

    def __call__(
        self, batch: Mapping[str, jax.Array], key: jax.Array, axis_name: str | None
    ) -> dict[str, jax.Array]:
        """Return the batch as networks see it: images are float32 in [-1, 1].

        Args:
          batch: this device's share of a batch as it is stored, ``[batch, ...]`` by field.
          key: the turn's, the same on every device.
          axis_name: the mapped axis, or ``None``.
        """
        return {
            name: self._moved(name, x, key, axis_name)
            for name, x in kinds.to_network(self.stored, batch).items()
        }

    def _moved(self, name: str, x: jax.Array, key: jax.Array, axis_name: str | None) -> jax.Array:
        if not kinds.of(self.stored[name]).movable:
            return x
        which = "/second" if self.apart and name == "b" else ""

        def keys(use: str) -> jax.Array:
            named = draws.named(key, f"{use}{which}")
            return draws.example_keys(named, len(x), axis_name)

        if self.crop is not None:
            size = self.spec[name].shape[0]
            x = device.crop(x, size, keys("crop"), pair_scale(self.stored) if name == "b" else 1)
        if self.flip:
            x = device.flip(x, jax.vmap(jax.random.bernoulli)(keys("flip")))
        return x
