"""Reading what images show by comparison with images of which it is known."""

import numpy as np

from gan_jax.errors import MetricError

# Images that are compared at once.
_AT_ONCE = 512


def nearest(images: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Return the number of the template nearest to each image, by the sum of squared differences.

    Args:
      images: uint8 ``[n, *shape]``.
      templates: uint8 ``[m, *shape]``; of several at equal distance the first counts.

    Returns:
      Integers ``[n]``.

    Raises:
      MetricError: there is no template, or shapes or dtypes do not fit.
    """
    if len(templates) == 0 or images.shape[1:] != templates.shape[1:]:
        raise MetricError(
            f"images of shape {images.shape} and templates of shape {templates.shape}; accepted: "
            "one template or more, and images of the same shape"
        )
    if images.dtype != np.uint8 or templates.dtype != np.uint8:
        raise MetricError(
            f"images of {images.dtype} and templates of {templates.dtype}; accepted: uint8"
        )
    # Products of bytes are exact in float32, and their sums nearly so.
    known = templates.reshape(len(templates), -1).astype(np.float32)
    squares = np.sum(np.square(known, dtype=np.float64), axis=1)
    found = []
    for first in range(0, len(images), _AT_ONCE):
        part = images[first : first + _AT_ONCE]
        products = part.reshape(len(part), -1).astype(np.float32) @ known.T
        found.append(np.argmin(squares - 2.0 * products, axis=1))
    return np.concatenate(found) if found else np.zeros(0, np.intp)
