"""The exponential moving average of a network's variables, its half-life counted in images."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax import errors


@dataclasses.dataclass(frozen=True)
class EMA:
    """Settings of the moving average.

    Attributes:
      half_life: real images after which a weight's share in the average has halved; 0 keeps none.
      ramp_up: the half-life is at most this share of the images seen so far, so that the random
        start is forgotten soon (Karras 2020, 2006.06676, uses 0.05); ``None``: no ramp.
      start: train steps before which the average is just the raw weights (BigGAN: 1,000).
    """

    half_life: float = 0.0
    ramp_up: float | None = None
    start: int = 0

    def __post_init__(self):
        errors.require(self.half_life >= 0, "ema.half_life", self.half_life, "0 (off) or more")
        ramps = self.ramp_up is None or self.ramp_up > 0
        errors.require(ramps, "ema.ramp_up", self.ramp_up, "above 0, or none")
        errors.require(self.start >= 0, "ema.start", self.start, "0 or more")

    @property
    def enabled(self) -> bool:
        """Whether an average is kept at all."""
        return self.half_life > 0

    def decay(self, step: jax.Array, images_per_step: int) -> jax.Array:
        """Return the decay of train step ``step`` (counted from 0), float32 in [0, 1).

        Args:
          step: int scalar.
          images_per_step: real images that one train step shows to the discriminator.
        """
        half_life = jnp.float32(self.half_life)
        if self.ramp_up is not None:
            seen = (step.astype(jnp.float32) + 1.0) * images_per_step
            half_life = jnp.minimum(half_life, seen * self.ramp_up)
        decay = jnp.exp2(-jnp.float32(images_per_step) / half_life)
        return jnp.where(step < self.start, 0.0, decay)

    def update(self, average: Any, current: Any, decay: jax.Array) -> Any:
        """Return ``decay * average + (1 - decay) * current``, leaf by leaf, in float32.

        Leaves that are not floating point are taken from ``current``.
        """

        def leaf(a: jax.Array, c: jax.Array) -> jax.Array:
            if not jnp.issubdtype(c.dtype, jnp.floating):
                return c
            # This form is exact when both are equal, and when decay is 0.
            return c + decay.astype(c.dtype) * (a - c)

        return jax.tree.map(leaf, average, current)
