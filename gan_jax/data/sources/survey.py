"""What the image files of a set are like, by the headers of a sample: sizes, colour, bits."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFile

from gan_jax.data.sources.images import is_grey
from gan_jax.data.sources.levels import is_deep

# Below this value, of 255, nothing can be seen.
_DARK = 16


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes:
      height: in pixels, before the image is turned as its EXIF data say.
      width: likewise.
      grey: whether it is stored without colour.
      transparent: whether it has transparency.
      deep: whether it has more than 8 bits per channel.
    """

    height: int
    width: int
    grey: bool
    transparent: bool
    deep: bool

    @classmethod
    def of(cls, image: ImageFile.ImageFile) -> "Header":
        """Return what the header of an opened image says."""
        width, height = image.size
        transparent = image.has_transparency_data
        return cls(height, width, is_grey(image), transparent, is_deep(image))


def in_words(headers: Sequence[Header], channels: int) -> tuple[str, ...]:
    """Return what people should know of a set that is stored with so many channels."""
    if not headers:
        return ()
    sizes = sorted({(header.height, header.width) for header in headers}, key=lambda x: x[0] * x[1])
    (height, width), *_, (last_height, last_width) = [*sizes, sizes[-1]]
    words = [f"of {height}x{width}"]
    if len(sizes) > 1:
        words = [f"of {height}x{width} to {last_height}x{last_width}"]
    colour = sum(not header.grey for header in headers)
    if colour and (channels == 1 or colour < len(headers)):
        words.append(f"{colour:,} of {len(headers):,} in colour")
    see_through = sum(header.transparent for header in headers)
    if see_through and channels != 4:
        words.append(f"{see_through:,} of {len(headers):,} transparent, put on white")
    return tuple(words)


def darkness(first: Image.Image) -> list[str]:
    """Return a warning if the first image of a set, of 8 bits, looks black."""
    brightest = max(1, int(np.asarray(first).max()))
    if brightest >= _DARK:
        return []
    return [
        f"no value of the first above {brightest} of 255 "
        f"(data.value_range=(0, {brightest}) spreads them)"
    ]


def spread(count: int, most: int) -> list[int]:
    """Return ``most`` indices of ``count`` that are spread evenly, all if they are few."""
    return np.unique(np.linspace(0, count - 1, most).astype(int)).tolist()
