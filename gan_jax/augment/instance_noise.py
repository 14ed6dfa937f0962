"""Instance noise: Gaussian noise on real and fake images that fades as training goes on.

With noise, the distributions of real and generated images overlap from the start, and the
discriminator cannot separate them perfectly: Sønderby et al. 2016,
https://arxiv.org/abs/1610.04490, section 4.1; Arjovsky and Bottou 2017,
https://arxiv.org/abs/1701.04862, section 3.
"""

import dataclasses
import math
import numbers
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gan_jax.augment.augmentation import Memoryless
from gan_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class InstanceNoise(Memoryless):
    """Gaussian noise that fades (Sønderby et al. 2016, https://arxiv.org/abs/1610.04490).

    Attributes:
      deviation: standard deviation of the noise at the start; data span [-1, 1].
      steps: train steps over which the deviation falls linearly to 0; 0: it is constant.
    """

    deviation: float = 0.0
    steps: int = 0

    draws: ClassVar[str] = "noise"
    shared: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_schedule(self.deviation, self.steps)

    @property
    def enabled(self) -> bool:
        """Whether there is noise at the start."""
        return self.deviation > 0

    def check_data(self, kind: str) -> None:
        """Accept data of any kind."""

    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        """Return data with noise; see `add_noise`."""
        return add_noise(keys, x, noise_level(step, self.deviation, self.steps))


def check_schedule(start: Any, decay_steps: Any) -> None:
    """Check the settings of `noise_level`.

    Raises:
      ConfigError: a field of ``augment.noise`` cannot work.
    """
    is_number = isinstance(start, numbers.Real) and not isinstance(start, bool)
    if not (is_number and math.isfinite(start) and start >= 0):
        raise ConfigError(f"augment.noise.deviation = {start!r}; accepted: a finite number >= 0.")
    is_integer = isinstance(decay_steps, numbers.Integral) and not isinstance(decay_steps, bool)
    if not (is_integer and decay_steps >= 0):
        raise ConfigError(f"augment.noise.steps = {decay_steps!r}; accepted: an integer >= 0.")


def noise_level(step: jax.Array | int, start: float, decay_steps: int) -> jax.Array:
    """Return the noise's standard deviation: a line from ``start`` to 0, and 0 from then on.

    Args:
      step: train steps done, an integer scalar.
      start: standard deviation at step 0, in units of the image (which spans [-1, 1]).
      decay_steps: the first step without noise; 0: the level stays at ``start``.

    Returns:
      float32 scalar.

    Raises:
      ConfigError: ``start`` or ``decay_steps`` is negative or no number.
    """
    check_schedule(start, decay_steps)
    if decay_steps == 0:
        return jnp.float32(start)
    # Integers as long as possible: float32 counts steps exactly only to 16.8 million.
    left = decay_steps - jnp.clip(jnp.asarray(step), 0, decay_steps)
    return jnp.float32(start) * (left.astype(jnp.float32) / jnp.float32(decay_steps))


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
    if keys.shape != images.shape[:1]:
        raise ValueError(f"need one key per image, shape {images.shape[:1]}; got {keys.shape}.")
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], jnp.float32))
    noisy = images.astype(jnp.float32) + jnp.asarray(level, jnp.float32) * draw(keys)
    return noisy.astype(images.dtype)
