"""Adaptive discriminator augmentation (ADA, Karras et al. 2020, 2006.06676)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.augment import transforms
from gan_jax.augment.adaptive import Adaptive
from gan_jax.augment.augmentation import check_images, check_kind, check_policy

TRANSFORMS = ("blit", "geometry", "color")


@dataclasses.dataclass(frozen=True)
class ADA(Adaptive):
    """Adaptive discriminator augmentation (Karras et al. 2020, https://arxiv.org/abs/2006.06676).

    Real and generated images are transformed at random, differentiably. While the probability of
    each transformation is below 1, the generator can still only win by the distribution of the
    untransformed images. The probability follows the mean sign of the scores of real images, which
    grows towards 1 as the discriminator remembers them.

    Attributes:
      policy: any of "blit" (flip, right angles, whole pixels), "geometry" (scales, rotations,
        shifts) and "color"; all three are the paper's choice; (): none.
    """

    policy: tuple[str, ...] = ()

    draws: ClassVar[str] = "ada"
    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        super().__post_init__()
        check_policy("augment.ada.policy", self.policy, TRANSFORMS)

    @property
    @override
    def enabled(self) -> bool:
        return bool(self.policy)

    @override
    def check(self, config: Any, kind: str) -> None:
        check_kind("augment.ada.policy", self.policy, kind)
        super().check(config, kind)

    @override
    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        return transform(keys, x, self.policy, memory.strength)


def transform(
    keys: jax.Array, images: jax.Array, policy: tuple[str, ...], strength: jax.Array
) -> jax.Array:
    """Transform each image by draws from its own key.

    What one transformation draws does not depend on which others are in the policy; those of the
    plane are applied at once, then colours.

    Args:
      keys: one typed PRNG key per image, ``[batch]``.
      images: floats ``[batch, height, width, channels]`` in [-1, 1], of 1 or 3 channels for
        "color".
      policy: some of `TRANSFORMS`.
      strength: probability of each transformation, scalar in [0, 1].

    Returns:
      The images, same shape and dtype; computed in float32. Colours may leave [-1, 1].

    Raises:
      ValueError: the data are not floating images, there is not one key per image, or the number of
        channels has no colours.
    """
    check_images(keys, images)
    size = images.shape[1:3]

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        own = dict(zip(TRANSFORMS, jax.random.split(key, len(TRANSFORMS)), strict=True))
        matrix = jnp.eye(3, dtype=jnp.float32)
        if "blit" in policy:
            matrix = transforms.blit(own["blit"], strength, size)
        if "geometry" in policy:
            further = transforms.geometry(own["geometry"], strength, size)
            matrix = jnp.matmul(matrix, further, precision="highest")
        image = transforms.warp(image, matrix)
        if "color" in policy:
            image = transforms.recolor(image, transforms.color(own["color"], strength))
        return image

    return jax.vmap(one)(keys, images.astype(jnp.float32)).astype(images.dtype)
