"""Doubling and halving the resolution of NHWC images, without convolutions.

Both are linear and act on every channel alone, so they commute with 1x1 convolutions: a network
applies the 1x1 convolution on the smaller side, for a quarter of the work and the same result.
"""

import jax
import jax.numpy as jnp


def upsample_nearest(images: jax.Array) -> jax.Array:
    """Return the images at twice the resolution, each pixel repeated as a 2x2 square.

    Args:
      images: `[batch, height, width, channels]`, any dtype.

    Returns:
      `[batch, 2 * height, 2 * width, channels]`, same dtype.
    """
    batch, height, width, channels = images.shape
    squares = jnp.broadcast_to(
        images[:, :, None, :, None, :], (batch, height, 2, width, 2, channels)
    )
    return squares.reshape(batch, 2 * height, 2 * width, channels)


def mean_pool(images: jax.Array) -> jax.Array:
    """Return the images at half the resolution, each pixel the mean of a 2x2 square.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width even.

    Returns:
      `[batch, height / 2, width / 2, channels]`, same dtype (summed in float32 at least).

    Raises:
      ValueError: height or width is odd.
    """
    batch, height, width, channels = images.shape
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve images of {height}x{width}: height and width must be even")
    squares = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.mean(squares, axis=(2, 4))
