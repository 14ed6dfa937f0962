"""Image files: written, read and compared."""

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def colour(height, width):
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


def agree(found, wanted, off=1):
    """Assert equality but for rounding: XLA may order sums in another way at another size."""
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert difference.max() <= off
    assert (difference > 0).mean() < 0.01
