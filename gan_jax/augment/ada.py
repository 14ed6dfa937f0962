"""Adaptive discriminator augmentation (ADA, Karras et al. 2020, 2006.06676)."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.augment import transforms
from gan_jax.augment.augmentation import Augmentation, check_images, check_kind, check_policy
from gan_jax.errors import ConfigError

TRANSFORMS = ("blit", "geometry", "color")
# Losses whose discriminator decides by the sign of its score.
_SIGNED = ("minimax", "non_saturating", "hinge")


class Memory(NamedTuple):
    """The strength, and what decides on it; float32 scalars but for the count.

    Attributes:
      strength: probability of each transformation.
      sign: mean sign of the scores of real data, over the last whole interval.
      signs: sum of the mean signs of the batches since then.
      batches: number of these batches, int32.
    """

    strength: jax.Array
    sign: jax.Array
    signs: jax.Array
    batches: jax.Array


@dataclasses.dataclass(frozen=True)
class ADA(Augmentation):
    """Adaptive discriminator augmentation (Karras et al. 2020, https://arxiv.org/abs/2006.06676).

    Real and generated images are transformed at random, differentiably. While the probability of
    each transformation is below 1, the generator can still only win by the distribution of the
    untransformed images. The probability follows the mean sign of the scores of real images, which
    grows towards 1 as the discriminator remembers them.

    Attributes:
      policy: any of "blit" (flip, right angles, whole pixels), "geometry" (scales, rotations,
        shifts) and "color"; all three are the paper's choice; (): none.
      strength: probability of each transformation at the start.
      target: mean sign of the scores of real data at which the strength stays; 0.6 is the paper's;
        0: the strength is fixed.
      ramp: real images over which the strength may grow from 0 to 1; 500,000 is the paper's.
      interval: batches of the discriminator between two changes of the strength.
    """

    policy: tuple[str, ...] = ()
    strength: float = 0.0
    target: float = 0.6
    ramp: float = 500_000.0
    interval: int = 4

    draws: ClassVar[str] = "ada"
    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_policy("augment.ada.policy", self.policy, TRANSFORMS)
        for field, right, accepted in (
            ("strength", 0 <= self.strength <= 1, "0 to 1"),
            ("target", 0 <= self.target < 1, "0 (fixed strength) to below 1"),
            ("ramp", self.ramp > 0, "above 0"),
            ("interval", self.interval >= 1, "1 or more"),
        ):
            if not right:
                value = getattr(self, field)
                raise ConfigError(f"augment.ada.{field} = {value}; accepted: {accepted}")

    @property
    @override
    def enabled(self) -> bool:
        return bool(self.policy)

    @override
    def check(self, config: Any, kind: str) -> None:
        check_kind("augment.ada.policy", self.policy, kind)
        if self.target and config.loss.name not in _SIGNED:
            raise ConfigError(
                f"augment.ada.target = {self.target} needs a loss whose discriminator decides by "
                f"the sign of its score ({', '.join(_SIGNED)}), but loss.name = "
                f"{config.loss.name!r}; accepted: 0, which keeps augment.ada.strength fixed"
            )

    @override
    def init(self) -> Memory:
        start, zero = jnp.float32(self.strength), jnp.float32(0)
        return Memory(start, zero, zero, jnp.int32(0))

    @override
    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        return transform(keys, x, self.policy, memory.strength)

    @override
    def update(self, memory: Any, real: jax.Array, fake: jax.Array, axis_name: str | None) -> Any:
        sign = jnp.mean(jnp.sign(lax.stop_gradient(real)))
        devices = 1
        if axis_name is not None:
            sign, devices = lax.pmean(sign, axis_name), lax.axis_size(axis_name)
        total, count = memory.signs + sign, memory.batches + 1
        whole = count >= self.interval
        mean = total / count.astype(jnp.float32)
        images = self.interval * real.shape[0] * devices
        move = jnp.sign(mean - self.target) * (images / self.ramp) if self.target else 0.0
        changed = Memory(
            jnp.clip(memory.strength + move, 0.0, 1.0),
            mean,
            jnp.zeros_like(total),
            jnp.zeros_like(count),
        )
        kept = memory._replace(signs=total, batches=count)
        return jax.tree.map(lambda a, b: jnp.where(whole, a, b), changed, kept)

    @override
    def metrics(self, memory: Any) -> dict[str, jax.Array]:
        return {"ada_strength": memory.strength, "ada_sign": memory.sign}


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
