"""What the image files of a set are like, by the headers of a sample: sizes, colour, bits."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageFile

from gan_jax.data.sources.images import EXIF_ORIENTATION, TURNED, Transform, is_grey
from gan_jax.data.sources.levels import is_deep

# Below this value, of 255, nothing can be seen.
_DARK = 16


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes:
      height: in pixels.
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
        # Of other formats Pillow decodes the image to find the orientation.
        if "exif" in image.info and image.getexif().get(EXIF_ORIENTATION) in TURNED:
            width, height = height, width
        transparent = image.has_transparency_data
        return cls(height, width, is_grey(image), transparent, is_deep(image))


def in_words(headers: Sequence[Header], channels: int) -> tuple[str, ...]:
    """Return notes for people on a set of images that are brought to a number of channels."""
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


def own_size(headers: Iterable[Header], transform: Transform) -> tuple[int, int]:
    """Return the height and width that images are best brought to, if networks make all sizes.

    That is their own size where all have the same, and else a square of the median of their shorter
    sides; with ``data.resize`` "pad" the largest height and width, with "crop" the smallest.
    """
    free = dataclasses.replace(transform, resolution=None)
    shapes = [next(iter(free.fields(h.height, h.width, 1).values())) for h in headers]
    heights, widths, _ = np.transpose(shapes).tolist()
    if transform.resize == "pad" or len({*shapes}) == 1:
        return max(heights), max(widths)
    if transform.resize == "crop":
        return min(heights), min(widths)
    side = int(np.median(np.minimum(heights, widths)))
    return side, side


def darkness(pixels: Image.Image | np.ndarray, of: str = "of the first") -> list[str]:
    """Return a warning if pixels of 8 bits, which are those of the words ``of``, look black."""
    brightest = max(1, int(np.asarray(pixels).max()))
    if brightest >= _DARK:
        return []
    return [
        f"no value {of} above {brightest} of 255 (data.value_range=(0, {brightest}) spreads them)"
    ]


def spread(count: int, most: int) -> list[int]:
    """Return ``most`` indices of ``count`` that are spread evenly, all if they are few."""
    return np.unique(np.linspace(0, count - 1, most).astype(int)).tolist()
