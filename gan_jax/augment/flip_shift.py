"""The transformation under which a consistent discriminator keeps its score: mirror and shift.

"Consistency Regularization for Generative Adversarial Networks", Zhang et al. 2019,
https://arxiv.org/abs/1910.12027, found these two to serve best; "Improved Consistency
Regularization for GANs", Zhao et al. 2020, https://arxiv.org/abs/2002.04724, applies them to real
and generated images alike.
"""

import jax
import jax.numpy as jnp

from gan_jax.augment.augmentation import check_keys
from gan_jax.errors import ConfigError


def flip_shift(keys: jax.Array, images: jax.Array, fraction: float = 1 / 8) -> jax.Array:
    """Mirror each image left to right or not, then move it by whole pixels, drawn from its own key.

    Each side's shift is uniform over the integers up to ``fraction`` of it (rounded to the nearest,
    halves up) in either direction. What comes in at a border is the image reflected there (the
    border row itself is not repeated): the discriminator is asked to keep its score, so the
    transformed image should still look like the data, which a band of zeros, mid-grey in [-1, 1],
    does not.

    Args:
      keys: one typed PRNG key per image, ``[batch]``.
      images: floats ``[batch, height, width, channels]``.
      fraction: of a side, in [0, 0.5].

    Returns:
      The images, same shape and dtype; every pixel is one of the image's own, unchanged.

    Raises:
      ConfigError: ``fraction`` is out of its range.
      ValueError: the data are not images, or there is not one key per image.
    """
    if not 0 <= fraction <= 0.5:
        raise ConfigError(f"shift fraction = {fraction!r}; accepted: a number in [0, 0.5].")
    if images.ndim != 4:
        raise ValueError(
            f"only images [batch, h, w, c] can be flipped and shifted; got shape {images.shape}."
        )
    check_keys(keys, images)
    height, width = images.shape[1:3]

    def transform(key: jax.Array, image: jax.Array) -> jax.Array:
        flip_key, down_key, right_key = jax.random.split(key, 3)
        rows = _reflected(height, _shift(down_key, height, fraction))
        columns = _reflected(width, _shift(right_key, width, fraction))
        columns = jnp.where(jax.random.bernoulli(flip_key), width - 1 - columns, columns)
        image = jnp.take(image, rows, axis=0, mode="clip")
        return jnp.take(image, columns, axis=1, mode="clip")

    return jax.vmap(transform)(keys, images)


def _shift(key: jax.Array, side: int, fraction: float) -> jax.Array:
    # A reflection shows at most what the image has beside its border row.
    limit = min(int(side * fraction + 0.5), side - 1)
    return jax.random.randint(key, (), -limit, limit + 1, jnp.int32)


def _reflected(side: int, shift: jax.Array) -> jax.Array:
    """Return the source index of each position, int32 ``[side]``."""
    source = jnp.abs(jnp.arange(side, dtype=jnp.int32) - shift)
    return side - 1 - jnp.abs(side - 1 - source)
