"""Pixels of more than 8 bits per channel, and which of their values become 0 and 255.

Files of 16-bit or 32-bit integers, or of floating-point numbers, do not say which values they use.
One range is found for a whole set, so that all of its images are scaled alike:

- integers from 0 on: 0 to the largest number of as many bits as the largest value has, such as 4095
  for 12 bits;
- floating-point numbers: the first of 0 ... 1, -1 ... 1 and 0 ... 255 that holds all values;
- other values: from the smallest to the largest.

Values outside of the range, which files that were not looked at may have, are clipped.
"""

import dataclasses
import io
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from gan_jax.errors import ConfigError

_FLOAT_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclasses.dataclass(frozen=True)
class Levels:
    """The values that become 0 and 255.

    Attributes:
      low: becomes 0.
      high: becomes 255.
      given: whether the range was given; then it is that of 8-bit images, too, if these have all of
        its values.
    """

    low: float = 0.0
    high: float = 65535.0
    given: bool = False

    def to_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels as uint8, rounded and clipped.

        Raises:
          ValueError: a pixel is not finite.
        """
        if not np.isfinite(pixels).all():
            raise ValueError("pixels are not finite")
        share = (pixels.astype(np.float64) - self.low) / (self.high - self.low)
        return np.round(share.clip(0, 1) * 255).astype(np.uint8)

    @property
    def is_of_bytes(self) -> bool:
        """Whether 8-bit images are scaled, too."""
        return self.given and self.low >= 0 and self.high <= 255

    def image(self, pixels: np.ndarray) -> Image.Image:
        """Return the 8-bit image of the pixels that `deep_pixels` returns.

        Raises:
          ValueError: a pixel is not finite.
        """
        if pixels.ndim == 2 or pixels.shape[2] == 3:
            return Image.fromarray(self.to_bytes(pixels))
        alpha = Levels().to_bytes(pixels[..., -1:])
        return Image.fromarray(np.concatenate([self.to_bytes(pixels[..., :-1]), alpha], axis=-1))

    def on_bytes(self, image: Image.Image) -> Image.Image:
        """Return an 8-bit image, of mode "L", "RGB" or "RGBA", scaled if the range is its, too."""
        if not self.is_of_bytes:
            return image
        colours, alpha = self.to_bytes(np.arange(256)).tolist(), list(range(256))
        bands = len(image.getbands())
        return image.point(colours * min(bands, 3) + alpha * (bands - 3))

    def __str__(self) -> str:
        return f"values {self.low:g} to {self.high:g} become 0 to 255"


def given(value_range: Sequence[float]) -> Levels | None:
    """Return the range that ``data.value_range`` gives, ``None`` for ().

    Raises:
      ConfigError: it is no range.
    """
    if not value_range:
        return None
    numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in value_range)
    if len(value_range) != 2 or not numbers or not value_range[0] < value_range[1]:
        raise ConfigError(
            f"data.value_range = {tuple(value_range)}; accepted: (), or the values that become "
            "black and white, the smaller first"
        )
    return Levels(float(value_range[0]), float(value_range[1]), given=True)


def check_use(scale: Levels, name: str, *, has_deep: bool) -> None:
    """Raise a `ConfigError` if a range that is given applies to no image of a set."""
    if not has_deep and not scale.is_of_bytes:
        raise ConfigError(
            f"data.value_range = ({scale.low:g}, {scale.high:g}): the images of {name} have 8 "
            "bits; accepted: (), or a range within 0 to 255"
        )


def found(arrays: Iterable[np.ndarray]) -> Levels | None:
    """Return the range of a sample of a set, ``None`` if that has no finite pixels."""
    low, high, integers = math.inf, -math.inf, True
    for pixels in arrays:
        finite = pixels[np.isfinite(pixels)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            integers &= np.issubdtype(pixels.dtype, np.integer)
    if low > high:
        return None
    if integers and low >= 0:
        return Levels(0.0, float(2 ** max(1, int(high).bit_length()) - 1))
    fixed = [] if integers else _FLOAT_RANGES
    fits = [(first, last) for first, last in fixed if first <= low and high <= last]
    return Levels(*fits[0]) if fits else Levels(low, high if high > low else low + 1)


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return whether an image, of which only the header is read, has more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I") or ";16" in _raw_mode(image)


def deep_pixels(raw: bytes, formats: list[str]) -> np.ndarray:
    """Return the pixels of such an image, turned as its EXIF data say.

    Args:
      raw: the bytes of the file.
      formats: as for `PIL.Image.open`.

    Returns:
      integers or float32 ``[h, w]``, or integers ``[h, w, 2, 3 or 4]``; even numbers of channels
      end with alpha.
    """

    def read(raw_mode: str | None = None) -> np.ndarray:
        with Image.open(io.BytesIO(raw), formats=formats) as image:
            if raw_mode is not None:
                image.tile = [tile._replace(args=_with(tile.args, raw_mode)) for tile in image.tile]
            unsigned = image.mode == "I" and image.format == "TIFF" and 1 in _sample_format(image)
            pixels = np.asarray(ImageOps.exif_transpose(image))
            return pixels.view(np.uint32) if unsigned else pixels

    with Image.open(io.BytesIO(raw), formats=formats) as image:
        mode = _raw_mode(image)
        if image.mode == "F" or image.mode.startswith("I"):
            return read()
    # Pillow keeps one byte of 16-bit colours: the first of big-endian numbers, and the second of
    # little-endian ones. Read in either way, both bytes are known.
    if mode == "LA;16B":
        both = read("RGBA").astype(np.int32)
        return both[..., ::2] * 256 + both[..., 1::2]
    big, little = (read(f"{mode[:-1]}{order}").astype(np.int32) for order in "BL")
    is_big = mode.endswith("B") or (mode.endswith("N") and sys.byteorder == "big")
    return big * 256 + little if is_big else little * 256 + big


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name of the layout of the pixels in the file, "" if it has none."""
    args = image.tile[0].args if image.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _with(args: Any, raw_mode: str) -> Any:
    return (raw_mode, *args[1:]) if isinstance(args, tuple) else raw_mode


def _sample_format(image: ImageFile.ImageFile) -> tuple[int, ...]:
    """Return the kinds of the numbers of a TIFF file: 1 for unsigned integers."""
    found = getattr(image, "tag_v2", {}).get(339, 1)
    return found if isinstance(found, tuple) else (found,)
