"""Smaller images, for super-resolution."""

import dataclasses
from typing import ClassVar

import jax
from jax import lax
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded, within
from gan_jax.data.device import to_float, to_uint8
from gan_jax.errors import ConfigError

FACTORS = (2, 3, 4, 8)


@dataclasses.dataclass(frozen=True)
class Downsample(Degradation):
    """Bicubic reduction by a whole factor, with the kernel widened by it against aliasing.

    Keys's kernel with a = -1/2 (doi 10.1109/TASSP.1981.1163711), by which super-resolution's test
    sets are made: the "bicubic" of Pillow, and, but for the outermost pixels, of MATLAB's imresize.
    At the edges the weights that lie in the image are scaled to sum to one.

    Attributes:
      factor: 2, 3, 4 or 8.
      round: whether values are rounded to those of a file of 8 bits.
    """

    name: ClassVar[str] = "downsample"
    factor: int = 4
    round: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or self.factor not in FACTORS:
            raise self._refuse("factor", self.factor, ", ".join(map(str, FACTORS)))
        self._check_flag("round")

    @property
    @override
    def scale(self) -> int:
        return self.factor

    @override
    def check(self, shape: tuple[int, ...]) -> None:
        """Check that height and width are multiples of the factor."""
        height, width, _ = shape
        if height % self.factor or width % self.factor:
            raise ConfigError(
                f"degrade.{self.name}.factor = {self.factor} with images of {height}x{width}; "
                "accepted: heights and widths that are multiples of the factor."
            )

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        height, width, channels = image.shape
        shape = (height // self.factor, width // self.factor, channels)
        small = within(
            jax.image.resize(image, shape, "cubic", antialias=True, precision=lax.Precision.HIGHEST)
        )
        return Degraded(to_float(to_uint8(small)) if self.round else small, None)
