"""The 1,797 scanned digits that ship inside scikit-learn: data for a machine without network.

The test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998, UCI machine
learning repository): 8x8 pixels, 17 levels, 43 writers.
"""

import re

import numpy as np

from gan_jax.data.sources import embedded
from gan_jax.data.sources.base import ArraySource, image_source
from gan_jax.data.sources.images import Transform
from gan_jax.errors import ConfigError, lookup

# The file's order has no classes in runs, so slices of it are fair samples.
SPLITS = {"train": range(1500), "test": range(1500, 1797), "all": range(1797)}


def digits(split: str, transform: Transform) -> ArraySource:
    """Return the digits, levels 0 ... 16 spread over 0 ... 255.

    Args:
      split: "train" (the first 1,500), "test" (the other 297) or "all"; or a part of one, such as
        "train[:200]" or "train[200:]".
      transform: the wanted size; None keeps 8x8.

    Raises:
      ConfigError: the split is unknown, or its part is empty.
      DataError: scikit-learn's file is missing.
    """
    part = _part(split)
    # A row per digit: its 64 pixels, and its class.
    table = np.loadtxt(embedded.path_of("data/digits.csv.gz"), delimiter=",")
    levels, labels = table[part, :-1], table[part, -1].astype(int)
    pixels = np.round(levels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    images = np.stack([transform.array(image) for image in pixels])
    return image_source("digits", split, images, labels, tuple("0123456789"))


def _part(split: str) -> range:
    """Return the indices of a split, or of a part of one."""
    match = re.fullmatch(r"(\w+)\[(\d*):(\d*)\]", split)
    name, *bounds = match.groups() if match else (split, None, None)
    first, last = (int(bound) if bound else None for bound in bounds)
    part = lookup(SPLITS, name, "data.split")[first:last]
    if not part:
        raise ConfigError(f"data.split = {split!r} is empty; {name} has {len(SPLITS[name])} digits")
    return part
