"""The two colour photographs that ship inside scikit-learn: data for a machine without network.

A Chinese temple and a flower, 427x640 pixels each, split into tiles at full resolution; the right
quarter of either is held out.
"""

import numpy as np

from gan_jax.data.sources.base import ArraySource, image_source
from gan_jax.data.sources.images import Transform
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
    """
    from sklearn.datasets import load_sample_images  # slow to import, and needed for this set only

    part = lookup(SPLITS, split, "data.split")
    size = transform.resolution
    if transform.resize != "tile" or size is None:
        raise ConfigError(
            f"data.resize = {transform.resize!r}, data.resolution = {size}; accepted for data.name "
            "= 'photos': 'tile' and the size of a tile"
        )
    # Tiles overlap by about a half, so that two photographs make a larger set.
    images, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        pixels = photo[:, part]
        for top, left in _dense(pixels.shape[0], pixels.shape[1], size):
            tile = pixels[top : top + size, left : left + size]
            plain = Transform(None, transform.channels)
            images.append(plain.array(np.ascontiguousarray(tile)))
            labels.append(label)
    if not images:
        least = min(pixels.shape[:2])
        raise ConfigError(
            f"data.resolution = {size}; accepted for split {split!r} of 'photos': {least} or less"
        )
    return image_source("photos", split, np.stack(images), np.asarray(labels), NAMES)


def _dense(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Return (top, left) of tiles that overlap by about a half."""
    step = -(-size // 2)
    corners = places(height - size + step, width - size + step, step)
    return corners if min(height, width) >= size else []
