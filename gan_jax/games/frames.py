"""Videos as images whose channels are the frames, for networks of images.

Other arrays, of images or sounds, are returned as they are.
"""

import jax
import jax.numpy as jnp


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the image that `as_image` makes of one data point."""
    if len(shape) != 4:
        return shape
    frames, height, width, channels = shape
    return height, width, channels * frames


def as_image(x: jax.Array) -> jax.Array:
    """Return videos ``[batch, frames, height, width, channels]`` as images.

    Returns:
      ``[batch, height, width, channels * frames]``: all frames of the first channel in their order,
      then those of the second.
    """
    if x.ndim != 5:
        return x
    return jnp.moveaxis(x, 1, -1).reshape(x.shape[0], *image_shape(x.shape[1:]))


def as_video(images: jax.Array, videos: jax.Array) -> jax.Array:
    """Return images as videos of as many frames as others have; inverse of `as_image`.

    Args:
      images: ``[batch, height, width, channels * frames]``.
      videos: ``[batch, frames, ...]``; where these are no videos, the images are returned.
    """
    if videos.ndim != 5:
        return images
    split = images.reshape(*images.shape[:-1], -1, videos.shape[1])
    return jnp.moveaxis(split, -1, 1)
