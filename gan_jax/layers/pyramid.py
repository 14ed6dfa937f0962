"""A level of the Laplacian pyramid (Burt and Adelson 1983, doi 10.1109/TCOM.1983.1095851).

An image is split into an image of half the resolution and the residual between the image and the
enlarged half; adding the residual to the enlarged half restores the image, whatever the filters.
Here an image is halved by averaging 2x2 squares (`gan_jax.layers.resample.mean_pool`), which
preserves the range of its pixels, and enlarged by linear interpolation between their centres.
"""

import jax

from gan_jax.layers.resample import mean_pool


def upsample(images: jax.Array) -> jax.Array:
    """Return the images at twice the resolution, interpolated linearly between pixels' centres.

    A new pixel lies a quarter of the old distance from its nearest old neighbour, so along each
    axis it is 3/4 of that one and 1/4 of the next; beyond the border the last pixel is repeated.

    Args:
      images: `[batch, height, width, channels]`, floating point.

    Returns:
      `[batch, 2 * height, 2 * width, channels]`, same dtype.
    """
    batch, height, width, channels = images.shape
    shape = (batch, 2 * height, 2 * width, channels)
    # Antialiasing, which changes nothing here, cannot be converted to ONNX.
    return jax.image.resize(images, shape, "linear", antialias=False)


def split(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the residual, and the images blurred by halving and doubling.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width even.

    Returns:
      The residual and the blurred images, which add up to `images`; both of their shape and dtype.

    Raises:
      ValueError: height or width is odd.
    """
    coarse = upsample(mean_pool(images))
    return images - coarse, coarse
