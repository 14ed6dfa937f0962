"""The two colour photographs that ship inside scikit-learn: data for a machine without network.

A Chinese temple and a flower, 427x640 pixels each, split into tiles at full resolution; the right
quarter of either is held out.
"""

import dataclasses

import numpy as np

from gan_jax.data.sources import embedded
from gan_jax.data.sources.base import ArraySource, image_source
from gan_jax.data.sources.images import Transform, decode
from gan_jax.data.sources.tiles import places
from gan_jax.errors import ConfigError, lookup

SPLITS = {"train": slice(0, 480), "test": slice(480, 640), "all": slice(0, 640)}
NAMES = ("china", "flower")


def photos(split: str, transform: Transform) -> ArraySource:
    """Return tiles of the photographs, whose classes are "china" and "flower".

    Args:
      split: "train" (the left three quarters), "test" (the rest) or "all".
      transform: its resolution is the size of a tile.

    Raises:
      ConfigError: the split is unknown, or a tile too large.
      DataError: scikit-learn's files are missing.
    """
    part = lookup(SPLITS, split, "data.split")
    size = transform.resolution
    if transform.resize != "tile" or not isinstance(size, int):
        raise ConfigError(
            f"data.resize = {transform.resize!r}, data.resolution = {size}; accepted for data.name "
            "= 'photos': 'tile' and the size of a tile"
        )
    files = [embedded.path_of(f"images/{name}.jpg").read_bytes() for name in NAMES]
    parts = [np.asarray(decode(file))[:, part] for file in files]
    height, width = parts[0].shape[:2]
    if size > min(height, width):
        raise ConfigError(
            f"data.resolution = {size}; accepted for split {split!r} of 'photos': "
            f"{min(height, width)} or less"
        )
    # An overlap of about a half makes a larger set of two photographs.
    step = -(-size // 2)
    corners = places(height - size + step, width - size + step, step)
    plain = dataclasses.replace(transform, resolution=None, resize="resize")
    images = [
        plain.array(np.ascontiguousarray(pixels[top : top + size, left : left + size]))
        for pixels in parts
        for top, left in corners
    ]
    labels = np.repeat(np.arange(len(parts)), len(corners))
    return image_source("photos", split, np.stack(images), labels, NAMES)
