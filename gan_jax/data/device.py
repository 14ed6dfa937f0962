"""Operations on batches inside a train step: gathering, and scaling, crops and flips of images.

Images stay uint8 until they are on the device, are float32 in [-1, 1] inside a step, and become
uint8 again before any metric or picture. Which operations apply to a field is in
`gan_jax.data.kinds`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def fetch(data: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Return the examples of one batch, as they are stored.

    Args:
      data: the resident data set, arrays ``[n, ...]`` by field; empty when streamed.
      batch: when resident, int32 ``[batch]`` indices into ``data``: one array ``index`` for all
        fields, or one for each field under its name. When streamed, the examples by field.

    Returns:
      Arrays ``[batch, ...]`` by field.
    """
    if not data:
        return dict(batch)
    # No index is out of range; "clip" avoids the check that the default mode compiles.
    return {
        name: jnp.take(array, batch[name if name in batch else "index"], axis=0, mode="clip")
        for name, array in data.items()
    }


def to_float(images: jax.Array) -> jax.Array:
    """Scale stored images to what networks see.

    Args:
      images: uint8 [...] in 0 ... 255, or floats (toy points), which are returned as float32.

    Returns:
      float32 [...]; bytes become ``x / 127.5 - 1``: -1 ... 1, both ends exactly.
    """
    if images.dtype == jnp.uint8:
        # XLA makes the division a product with the rounded reciprocal. Centred first, both ends
        # come out exactly; in the form x / 127.5 - 1, white would be 1.0000001.
        return (images.astype(jnp.float32) - 127.5) / 127.5
    return images.astype(jnp.float32)


def to_uint8(images: jax.Array) -> jax.Array:
    """Quantise images in [-1, 1] to bytes; the exact inverse of `to_float` on all 256 values.

    Args:
      images: floats [...]; what lies outside [-1, 1] is clipped.

    Returns:
      uint8 [...], rounded to the nearest, halves away from zero.
    """
    levels = jnp.floor((images.astype(jnp.float32) + 1.0) * 127.5 + 0.5)
    return jnp.clip(levels, 0.0, 255.0).astype(jnp.uint8)


def flip(images: jax.Array, draws: jax.Array) -> jax.Array:
    """Mirror left to right the images [batch, height, width, channels] whose draw, bool, is true.

    Raises:
      ValueError: the data are not images, or not one bool per image is given.
    """
    if images.ndim != 4:
        raise ValueError(f"only images [batch, h, w, c] can be flipped; got shape {images.shape}")
    if draws.shape != images.shape[:1] or draws.dtype != jnp.bool_:
        raise ValueError(
            f"need one bool per image, shape {images.shape[:1]}; got {draws.dtype} {draws.shape}"
        )
    return jnp.where(draws[:, None, None, None], images[:, :, ::-1, :], images)


def crop(images: jax.Array, size: int, keys: jax.Array, step: int = 1) -> jax.Array:
    """Crop a square at a random place of each image [batch, height, width, channels].

    Args:
      images: any dtype, which is kept.
      size: height and width of the square.
      keys: [batch], for the places.
      step: places are multiples of it: those in images that are so much smaller, enlarged.

    Raises:
      ValueError: the data are not images, or smaller than the square.
    """
    if images.ndim != 4 or min(images.shape[1:3]) < size:
        raise ValueError(f"cannot crop images of shape {images.shape} to {size}x{size}")

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        spare = jnp.asarray([image.shape[0] - size, image.shape[1] - size], jnp.int32) // step
        top, left = step * jax.random.randint(key, (2,), 0, spare + 1, jnp.int32)
        return jax.lax.dynamic_slice(image, (top, left, jnp.int32(0)), (size, size, image.shape[2]))

    return jax.vmap(one)(images, keys)
