"""The bilinear resize of TensorFlow 1, with which the FID's Inception network was published.

Scores depend on the resize ("On Aliased Resizing and Surprising Subtleties in GAN Evaluation",
Parmar et al. 2022, https://arxiv.org/abs/2104.11222), so comparable numbers need this one despite
its defects: pixels are points at integer coordinates instead of squares, so that enlarged images
are shifted up and to the left; and images are reduced without antialiasing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def resize_tf1(images: ArrayLike, height: int, width: int) -> jax.Array:
    """Resize images as TensorFlow 1's ``resize_bilinear`` does without ``align_corners``.

    Output pixel ``i`` is at ``i * in / out``, between the input pixels ``floor`` and ``floor + 1``;
    beyond the last input pixel its value is repeated. It is computed without matrix products, so
    that accelerators keep float32 precision.

    Args:
      images: ``[n, h, w, c]``, uint8 or floating, in any range.
      height: rows of the result, at least 1.
      width: columns of the result, at least 1.

    Returns:
      ``[n, height, width, c]`` float32, in the range of ``images``.

    Raises:
      ValueError: the images are not four-dimensional or are empty, or the result would be.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or 0 in images.shape[1:3]:
        raise ValueError(f"images have shape {images.shape}; accepted: [n, height, width, c].")
    if height < 1 or width < 1:
        raise ValueError(f"size {height}x{width}; accepted: at least 1x1.")
    # Columns before rows, in TensorFlow's order of summation.
    return _along(_along(images.astype(jnp.float32), 2, width), 1, height)


def _along(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Resize one axis."""
    length = x.shape[axis]
    if length == size:
        return x
    places = np.arange(size, dtype=np.float32) * np.float32(length / size)
    # Rounding may place the last output pixel beyond the input.
    low = np.minimum(places.astype(np.int32), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = (places - low.astype(np.float32)).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    first, second = (jnp.take(x, index, axis=axis, mode="clip") for index in (low, high))
    return first + (second - first) * share
