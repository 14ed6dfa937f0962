"""Instance noise: Gaussian noise on real and fake images that fades as training goes on.

With noise, the distributions of real and generated images overlap from the start, and the
discriminator cannot separate them perfectly: Sønderby et al. 2016,
https://arxiv.org/abs/1610.04490, section 4.1; Arjovsky and Bottou 2017,
https://arxiv.org/abs/1701.04862, section 3.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from typing_extensions import override

from gan_jax.augment.augmentation import Augmentation, check_keys
from gan_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class InstanceNoise(Augmentation):
    """Gaussian noise that fades (Sønderby et al. 2016, https://arxiv.org/abs/1610.04490).

    Attributes:
      deviation: standard deviation of the noise at the start; data span [-1, 1].
      steps: train steps over which the deviation falls linearly to 0; 0: it is constant.
    """

    deviation: float = 0.0
    steps: int = 0

    draws: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        if not 0 <= self.deviation < math.inf:
            raise ConfigError(
                f"augment.noise.deviation = {self.deviation}; accepted: a finite number >= 0"
            )
        if self.steps < 0:
            raise ConfigError(f"augment.noise.steps = {self.steps}; accepted: 0 or more")

    @property
    @override
    def enabled(self) -> bool:
        return self.deviation > 0

    def level(self, step: jax.Array | int) -> jax.Array:
        """Return the standard deviation, float32, after ``step`` train steps."""
        start = jnp.float32(self.deviation)
        if self.steps == 0:
            return start
        # Integers as long as possible: float32 counts steps exactly only to 16.8 million.
        left = self.steps - jnp.clip(jnp.asarray(step), 0, self.steps)
        return start * (left.astype(jnp.float32) / jnp.float32(self.steps))

    @override
    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        return add_noise(keys, x, self.level(step))


def add_noise(keys: jax.Array, images: jax.Array, level: ArrayLike) -> jax.Array:
    """Add Gaussian noise, drawn for each image from its own key.

    Sønderby et al. 2016, https://arxiv.org/abs/1610.04490, and Arjovsky and Bottou 2017,
    https://arxiv.org/abs/1701.04862.

    Args:
      keys: one typed PRNG key per image, ``[batch]``.
      images: floats ``[batch, ...]``.
      level: the noise's standard deviation, a scalar.

    Returns:
      The noisy images, same shape and dtype; added in float32, and not clipped: the noise must be
      the same for every image, however bright.

    Raises:
      ValueError: the images are not floating, or there is not one key per image.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images have dtype {images.dtype}; accepted: a floating dtype.")
    check_keys(keys, images)
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], jnp.float32))
    noisy = images.astype(jnp.float32) + jnp.asarray(level, jnp.float32) * draw(keys)
    return noisy.astype(images.dtype)
