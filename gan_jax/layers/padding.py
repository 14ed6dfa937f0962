"""Padding of images by their own pixels, which avoids the dark borders of zero padding."""

import jax
import jax.numpy as jnp


def reflect_pad(images: jax.Array, width: int) -> jax.Array:
    """Return images padded by reflection on every side.

    The outermost row is not repeated: `1 2 3` padded by 2 is `3 2 1 2 3 2 1`. An image that is
    smaller than its padding is reflected repeatedly, as in `numpy.pad`; a single row or column is
    repeated.

    Args:
      images: `[batch, height, width, channels]`, any dtype; height and width at least 1.
      width: padding on each of the four sides in pixels, 0 or more.

    Returns:
      `[batch, height + 2 * width, width + 2 * width, channels]`, same dtype.
    """
    return jnp.pad(images, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")


def edge_pad(images: jax.Array) -> jax.Array:
    """Return images whose outermost pixels are repeated once on every side.

    Args:
      images: `[batch, height, width, channels]`, any dtype; height and width at least 1.

    Returns:
      `[batch, height + 2, width + 2, channels]`, same dtype.
    """
    # jnp.pad also adds empty slices of the other axes, which conversions to ONNX do not take.
    images = jnp.concatenate([images[:, :1], images, images[:, -1:]], axis=1)
    return jnp.concatenate([images[:, :, :1], images, images[:, :, -1:]], axis=2)
