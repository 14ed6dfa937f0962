"""Padding of images by their own reflection, which leaves no dark rim as zeros do."""

import jax
import jax.numpy as jnp


def reflect_pad(images: jax.Array, width: int) -> jax.Array:
    """Return images that go on as their mirror image beyond every side.

    The outermost row is the mirror and is not repeated: `1 2 3` padded by 2 is `3 2 1 2 3 2 1`. An
    image that is smaller than its padding is reflected to and fro, as `numpy.pad` does; of a single
    row or column, that row or column is repeated.

    Args:
      images: `[batch, height, width, channels]`, any dtype; height and width at least 1.
      width: pixels beyond each of the four sides, 0 or more.

    Returns:
      `[batch, height + 2 * width, width + 2 * width, channels]`, same dtype.
    """
    return jnp.pad(images, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")
