"""The Laplacian pyramid (Burt and Adelson 1983, "The Laplacian Pyramid as a Compact Image Code").

An image is split into an image of half the resolution and the residual between the image and the
enlarged half; the half is split again, and so on. With any filters, adding the residuals restores
the image. Here an image is downsampled by averaging 2x2 squares, which preserves the range of its
pixels, and upsampled by linear interpolation between the squares' centres.
"""

import jax
import jax.numpy as jnp

from gan_jax.layers.resample import mean_pool


def downsample(images: jax.Array) -> jax.Array:
    """Return the images at half the resolution, each pixel the mean of a 2x2 square.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width even.

    Returns:
      `[batch, height / 2, width / 2, channels]`, same dtype.

    Raises:
      ValueError: height or width is odd.
    """
    return mean_pool(images)


def upsample(images: jax.Array) -> jax.Array:
    """Return the images at twice the resolution, interpolated linearly between pixels' centres.

    A new pixel lies a quarter of the old distance from its nearest old neighbour, so along each
    axis it is 3/4 of that one and 1/4 of the next; beyond the border the last pixel is repeated.

    Args:
      images: `[batch, height, width, channels]`, floating point.

    Returns:
      `[batch, 2 * height, 2 * width, channels]`, same dtype.
    """
    for axis in (1, 2):
        size = images.shape[axis]
        first = jax.lax.slice_in_dim(images, 0, 1, axis=axis)
        last = jax.lax.slice_in_dim(images, size - 1, size, axis=axis)
        before = jnp.concatenate(
            [first, jax.lax.slice_in_dim(images, 0, size - 1, axis=axis)], axis=axis
        )
        after = jnp.concatenate([jax.lax.slice_in_dim(images, 1, size, axis=axis), last], axis=axis)
        pairs = jnp.stack(
            [0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=axis + 1
        )
        shape = list(images.shape)
        shape[axis] = 2 * size
        images = pairs.reshape(shape)
    return images


def split(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return one level of the pyramid: the residual, and the image blurred by halving and doubling.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width even.

    Returns:
      The residual and the blurred images, which add up to `images`; both of their shape and dtype.

    Raises:
      ValueError: height or width is odd.
    """
    coarse = upsample(downsample(images))
    return images - coarse, coarse


def laplacian_pyramid(images: jax.Array, levels: int) -> tuple[jax.Array, ...]:
    """Return the Laplacian pyramid, from coarse to fine.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width divide by
        `2 ** levels`.
      levels: number of residuals.

    Returns:
      The images halved `levels` times, then the residuals from the coarsest to that of the images'
      own resolution: `levels + 1` arrays, same dtype.

    Raises:
      ValueError: height or width is odd at some level.
    """
    residuals = []
    for _ in range(levels):
        half = downsample(images)
        residuals.append(images - upsample(half))
        images = half
    return (images, *reversed(residuals))


def reconstruct(pyramid: tuple[jax.Array, ...]) -> jax.Array:
    """Return the images of a pyramid; the inverse of `laplacian_pyramid` up to rounding.

    Args:
      pyramid: the coarsest images, then residuals of twice, four times, ... their resolution.

    Returns:
      Images of the last residual's shape.
    """
    images, *residuals = pyramid
    for residual in residuals:
        images = upsample(images) + residual
    return images
