"""Masks of holes, as people make them: black and white, 0 and 1, coloured, or transparent.

The first of these rules that applies to a mask says where it has holes:

- where it is transparent; but if all that is opaque is white or coloured, where it is opaque;
- where it is coloured, whatever is below;
- of two grey values, where it has the larger one;
- where it is at least half as bright as white.
"""

import numpy as np
from PIL import Image, ImageOps

from gan_jax.data.sources.images import opened, reason
from gan_jax.errors import DataError
from gan_jax.inference.image_files import ImageFile

_HALF = 128
# Of a coloured pixel, the largest channel less the smallest.
_CHROMA = 64
_WIDE_WHITE = 65535


def read(file: ImageFile, *, inverted: bool = False) -> np.ndarray:
    """Return where a mask has holes, bool ``[height, width]``.

    Args:
      file: the mask.
      inverted: holes are where they would not be.

    Raises:
      DataError: it cannot be read, or has no hole, or nothing else; the message has the reason
        alone.
    """
    raw = file.read()
    try:
        with opened(raw) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            found = holes(image)
    # Pillow's decoders raise many kinds of errors about damaged files.
    except Exception as error:
        raise DataError(reason(error)) from error
    check(found)
    return ~found if inverted else found


def check(found: np.ndarray) -> None:
    """Raise a `DataError`, with the reason alone, where there is no hole, or nothing else."""
    if not found.any():
        raise DataError("has no hole")
    if found.all():
        raise DataError("is a hole everywhere")


def holes(image: Image.Image) -> np.ndarray:
    """Return where an image has holes, by the rules of this module, bool ``[height, width]``."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float64)
        # Floating-point pixels are up to 1 or to 255.
        white = _WIDE_WHITE if image.mode.startswith("I") else 1.0 if values.max() <= 1 else 255.0
        return _larger(values, white / 2)
    colours = np.asarray(image.convert("RGB")).astype(np.int16)
    coloured = colours.max(axis=2) - colours.min(axis=2) >= _CHROMA
    if image.has_transparency_data:
        opaque = _larger(np.asarray(image.convert("RGBA"))[:, :, 3], _HALF)
        if not opaque.all():
            is_painted = (coloured | (colours.min(axis=2) >= _HALF))[opaque].all()
            return opaque if opaque.any() and is_painted else ~opaque
    if coloured.any():
        return coloured
    return _larger(colours.mean(axis=2), _HALF)


def _larger(values: np.ndarray, half: float) -> np.ndarray:
    """Return where values are the larger of two, or at least ``half`` if there are more or one."""
    found = np.unique(values)
    return values == found[1] if len(found) == 2 else values >= half
