"""Resampling of NHWC images without convolutions.

Nearest-neighbour upsampling, mean pooling and their smooth versions by the binomial kernel 1, 3, 3,
1 (Zhang 2019, 1904.11486) are linear and act on each channel separately, so they commute with 1x1
convolutions: networks apply the 1x1 convolution at the smaller resolution, for a
quarter of the cost and the same result. Pixel shuffle converts channels to resolution.
"""

import jax
import jax.numpy as jnp
from jax import lax


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


def upsample_binomial(images: jax.Array) -> jax.Array:
    """Return the images at twice the resolution, smoothly: by the kernel 1, 3, 3, 1.

    Zeros between the pixels, then a separable filter of these weights over 4: a new pixel is three
    quarters of the nearest one and a quarter of the next. Outside the image is zero.

    Args:
      images: `[batch, height, width, channels]`, floating point.

    Returns:
      `[batch, 2 * height, 2 * width, channels]`, same dtype.
    """
    for axis in (1, 2):
        before, after = _shifted(images, axis, 1), _shifted(images, axis, -1)
        pairs = jnp.stack([3 * images + before, 3 * images + after], axis + 1) / 4
        images = pairs.reshape(*images.shape[:axis], -1, *images.shape[axis + 1 :])
    return images


def downsample_binomial(images: jax.Array) -> jax.Array:
    """Return the images at half the resolution, filtered by the kernel 1, 3, 3, 1 over 8.

    The adjoint of `upsample_binomial`, over four. Outside the image is zero.

    Args:
      images: `[batch, height, width, channels]`, floating point; height and width even.

    Returns:
      `[batch, height / 2, width / 2, channels]`, same dtype.
    """
    for axis in (1, 2):
        shape = images.shape
        pairs = images.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
        even, odd = (jnp.take(pairs, i, axis + 1) for i in (0, 1))
        outer = _shifted(odd, axis, 1) + _shifted(even, axis, -1)
        images = (3 * (even + odd) + outer) / 8
    return images


def blur_binomial(images: jax.Array, pad: int) -> jax.Array:
    """Return the images filtered by the kernel 1, 3, 3, 1 over 8, without a change of the distance.

    Args:
      images: `[batch, height, width, channels]`, floating point.
      pad: zeros around the image, 0 or more: `n` pixels become `n + 2 * pad - 3`.

    Returns:
      `[batch, height + 2 * pad - 3, width + 2 * pad - 3, channels]`, same dtype.
    """
    for axis in (1, 2):
        pads = [(0, 0)] * images.ndim
        pads[axis] = (pad, pad)
        x, size = jnp.pad(images, pads), images.shape[axis] + 2 * pad - 3
        taps = [lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(4)]
        images = (taps[0] + taps[3] + 3 * (taps[1] + taps[2])) / 8
    return images


def _shifted(images: jax.Array, axis: int, by: int) -> jax.Array:
    """Return images moved by one pixel; zeros move in."""
    pads = [(0, 0, 0)] * images.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(images, jnp.zeros((), images.dtype), pads)


def pixel_shuffle(images: jax.Array, factor: int) -> jax.Array:
    """Return images at `factor` times the resolution, with channels as pixels (depth to space).

    "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", Shi et al. 2016, 1609.05158, equation 4. Channel `(c * factor + i) * factor +
    j` becomes channel `c` of the pixel `i` down and `j` right in each square, as in
    `torch.nn.PixelShuffle`.

    Args:
      images: `[batch, height, width, channels]`, any dtype.
      factor: enlargement, 1 or more; its square divides the channels.

    Returns:
      `[batch, factor * height, factor * width, channels / factor**2]`, same dtype.

    Raises:
      ValueError: the number of channels is not a multiple of the square of `factor`.
    """
    batch, height, width, channels = images.shape
    if factor < 1 or channels % factor**2:
        raise ValueError(
            f"cannot shuffle {channels} channels into squares of {factor}x{factor}; accepted: a "
            "factor whose square divides the channels"
        )
    features = channels // factor**2
    squares = images.reshape(batch, height, width, features, factor, factor)
    rows = squares.transpose(0, 1, 4, 2, 5, 3)
    return rows.reshape(batch, factor * height, factor * width, features)
