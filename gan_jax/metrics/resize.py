"""The bilinear resize of TensorFlow 1, which the FID's Inception network was published with.

Scores depend on the resize as on the network ("On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", Parmar et al. 2022, https://arxiv.org/abs/2104.11222), so the published numbers keep
this one, for all its faults: pixels are points at the integers, not squares about the halves, so
that enlarged images shift up and to the left; and a reduced image is sampled without a filter.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def resize_tf1(images: ArrayLike, height: int, width: int) -> jax.Array:
    """Resize images as TensorFlow 1's ``resize_bilinear`` does without ``align_corners``.

    Output pixel ``i`` lies at ``i * in / out`` between the input pixels ``floor`` and
    ``floor + 1``; beyond the last input pixel its value goes on. Sums of two, without matrix
    products, so no accelerator rounds it to less than float32.

    Args:
      images: ``[n, h, w, c]``, uint8 or floating, in any range.
      height: rows of the result, at least 1.
      width: columns of the result, at least 1.

    Returns:
      ``[n, height, width, c]`` float32, in the range of ``images``.

    Raises:
      ValueError: a shape that is not four-dimensional, is empty, or has no pixels to make.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or 0 in images.shape[1:3]:
        raise ValueError(f"images have shape {images.shape}; accepted: [n, height, width, c].")
    if height < 1 or width < 1:
        raise ValueError(f"size {height}x{width}; accepted: at least 1x1.")
    # Columns before rows, as TensorFlow adds them.
    return _along(_along(images.astype(jnp.float32), 2, width), 1, height)


def _along(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Resize one axis."""
    length = x.shape[axis]
    if length == size:
        return x
    places = np.arange(size, dtype=np.float32) * np.float32(length / size)
    # Rounding may carry the last place of a reduction beyond the input.
    low = np.minimum(places.astype(np.int32), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = (places - low.astype(np.float32)).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    first, second = (jnp.take(x, index, axis=axis, mode="clip") for index in (low, high))
    return first + (second - first) * share
