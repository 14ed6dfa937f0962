"""DiffAugment: everything that the discriminator sees, real and fake, is augmented alike.

"Differentiable Augmentation for Data-Efficient GAN Training", Zhao et al. 2020,
https://arxiv.org/abs/2006.10738. Every operation is differentiable in the image, because the
generator learns through it, and is written with gathers and masks, whose derivatives of any order
exist, so that a gradient penalty may look through it, too.

Whole-pixel ranges are those of the authors' program: a fraction of a side is rounded to the nearest
pixel, halves up.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from typing_extensions import override

from gan_jax.augment.augmentation import Augmentation, check_images, check_kind, check_policy


@dataclasses.dataclass(frozen=True)
class DiffAugment(Augmentation):
    """DiffAugment (Zhao et al. 2020, https://arxiv.org/abs/2006.10738).

    Attributes:
      policy: any of "color", "translation" and "cutout", applied in this order; (): none.
    """

    policy: tuple[str, ...] = ()

    draws: ClassVar[str] = "augment"
    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_policy("augment.diffaug.policy", self.policy, OPERATIONS)

    @property
    @override
    def enabled(self) -> bool:
        return bool(self.policy)

    @override
    def check(self, config: Any, kind: str) -> None:
        check_kind("augment.diffaug.policy", self.policy, kind)

    @override
    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        return diff_augment(keys, x, self.policy)


def diff_augment(keys: jax.Array, images: jax.Array, policy: Sequence[str]) -> jax.Array:
    """Augment each image by draws from its own key.

    "Differentiable Augmentation for Data-Efficient GAN Training", Zhao et al. 2020,
    https://arxiv.org/abs/2006.10738. ``color`` adds a brightness in [-0.5, 0.5), then multiplies
    the distance from each pixel's channel mean by a saturation in [0, 2), then that from the
    image's mean by a contrast in [0.5, 1.5). ``translation`` moves the image by up to 1/8 of each
    side and shifts zeros in. ``cutout`` zeroes a rectangle of half of each side, centred anywhere
    on the image. What an operation draws does not depend on which others are in the policy.

    Args:
      keys: one typed PRNG key per image, ``[batch]``.
      images: floats ``[batch, height, width, channels]`` in [-1, 1].
      policy: names of operations, applied in this order; empty: the images are returned as they
        are, whatever their rank.

    Returns:
      The images, same shape and dtype; computed in float32. Colours may leave [-1, 1].

    Raises:
      ConfigError: the policy has an unknown name or one twice.
      ValueError: the data are not floating images, or there is not one key per image.
    """
    check_policy("policy", policy, OPERATIONS)
    if not policy:
        return images
    check_images(keys, images)

    def augment(key: jax.Array, image: jax.Array) -> jax.Array:
        own = dict(zip(OPERATIONS, jax.random.split(key, len(OPERATIONS)), strict=True))
        for name in policy:
            image = OPERATIONS[name](own[name], image)
        return image

    return jax.vmap(augment)(keys, images.astype(jnp.float32)).astype(images.dtype)


# --- Operations on one image, float32 ``[height, width, channels]``. ------------------------------


def recolor(
    image: jax.Array, brightness: ArrayLike, saturation: ArrayLike, contrast: ArrayLike
) -> jax.Array:
    """Change an image's colours: brightness first, then saturation, then contrast.

    Args:
      image: see above.
      brightness: is added to every entry.
      saturation: multiplies each entry's distance from its pixel's mean over channels; has no
        effect on an image of one channel.
      contrast: multiplies each entry's distance from the image's mean.
    """
    image = image + brightness
    if image.shape[-1] > 1:
        grey = jnp.mean(image, axis=-1, keepdims=True)
        image = grey + saturation * (image - grey)
    mean = jnp.mean(image)
    return mean + contrast * (image - mean)


def translate(image: jax.Array, down: jax.Array, right: jax.Array) -> jax.Array:
    """Move an image by whole pixels, row ``i`` to row ``i + down``; zeros come in at the border."""
    for axis, shift in enumerate((down, right)):
        size = image.shape[axis]
        source = jnp.arange(size, dtype=jnp.int32) - shift
        # A rotation gathers every row once, so its gradient is a scatter without collisions, which
        # does not depend on the order of additions; the mask then removes what came round.
        image = jnp.take(image, source % size, axis=axis, mode="clip", unique_indices=True)
        inside = (source >= 0) & (source < size)
        image = jnp.where(jnp.expand_dims(inside, (1 - axis, 2)), image, 0.0)
    return image


def cut_out(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """Zero a rectangle of half of each side, which begins half its size above and left of a pixel.

    The part of the rectangle that is beyond the border has no effect.
    """
    height, width, _ = image.shape
    rows, columns = (
        (index >= centre - length // 2) & (index < centre - length // 2 + length)
        for index, centre, length in (
            (jnp.arange(height, dtype=jnp.int32), row, _pixels(height, 1 / 2)),
            (jnp.arange(width, dtype=jnp.int32), column, _pixels(width, 1 / 2)),
        )
    )
    return jnp.where((rows[:, None] & columns[None, :])[..., None], 0.0, image)


def _pixels(side: int, fraction: float) -> int:
    return int(side * fraction + 0.5)


def _color(key: jax.Array, image: jax.Array) -> jax.Array:
    brightness, saturation, contrast = jax.random.uniform(key, (3,), jnp.float32)
    return recolor(image, brightness - 0.5, 2.0 * saturation, contrast + 0.5)


def _integers(key: jax.Array, low: Sequence[int], high: Sequence[int]) -> list[jax.Array]:
    """Return one integer for each pair of bounds, of which the upper one is excluded."""
    return [
        jax.random.randint(own, (), first, end, jnp.int32)
        for own, first, end in zip(jax.random.split(key, len(low)), low, high, strict=True)
    ]


def _translation(key: jax.Array, image: jax.Array) -> jax.Array:
    limits = [_pixels(side, 1 / 8) for side in image.shape[:2]]
    low, high = [-limit for limit in limits], [limit + 1 for limit in limits]
    return translate(image, *_integers(key, low, high))


def _cutout(key: jax.Array, image: jax.Array) -> jax.Array:
    # A rectangle of even length has its centre between two pixels, or at either border: one place
    # more than there are pixels.
    places = [side + 1 - _pixels(side, 1 / 2) % 2 for side in image.shape[:2]]
    return cut_out(image, *_integers(key, [0, 0], places))


# The order also fixes which part of an example's key is whose: append, never insert.
OPERATIONS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
