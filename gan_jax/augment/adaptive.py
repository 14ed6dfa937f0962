"""A strength that follows how sure the discriminator is of real data (Karras 2020, 2006.06676)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.augment.augmentation import Augmentation
from gan_jax.errors import ConfigError

# Losses whose discriminator decides by the sign of its score.
_SIGNED = ("minimax", "non_saturating", "hinge")


class Memory(NamedTuple):
    """The strength, and what decides on it; float32 scalars but for the count.

    Attributes:
      strength: a probability.
      sign: mean sign of the scores of real data, over the last whole interval.
      signs: sum of the mean signs of the batches since then.
      batches: number of these batches, int32.
    """

    strength: jax.Array
    sign: jax.Array
    signs: jax.Array
    batches: jax.Array


@dataclasses.dataclass(frozen=True)
class Adaptive(Augmentation):
    """An augmentation whose strength follows the mean sign of the scores of real data.

    The mean grows towards 1 as the discriminator remembers them. Its settings are those of
    ``config.augment.<draws>``.

    Attributes:
      strength: at the start.
      target: mean sign of the scores of real data at which the strength stays; 0.6 is the paper's;
        0: the strength is fixed.
      ramp: real images over which the strength may grow from 0 to 1; 500,000 is the paper's.
      interval: batches of the discriminator between two changes of the strength.
      limit: greatest strength.
    """

    strength: float = 0.0
    target: float = 0.6
    ramp: float = 500_000.0
    interval: int = 4
    limit: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        self._check("limit", 0 <= self.limit <= 1, "0 to 1")
        self._check("strength", 0 <= self.strength <= self.limit, f"0 to {self.limit:g}, the limit")
        self._check("target", 0 <= self.target < 1, "0 (fixed strength) to below 1")
        self._check("ramp", self.ramp > 0, "above 0")
        self._check("interval", self.interval >= 1, "1 or more")

    def _check(self, field: str, right: bool, accepted: str) -> None:
        if not right:
            value = getattr(self, field)
            raise ConfigError(f"augment.{self.draws}.{field} = {value}; accepted: {accepted}")

    @override
    def check(self, config: Any, kind: str) -> None:
        if self.target and config.loss.name not in _SIGNED:
            raise ConfigError(
                f"augment.{self.draws}.target = {self.target} needs a loss whose discriminator "
                f"decides by the sign of its score ({', '.join(_SIGNED)}), but loss.name = "
                f"{config.loss.name!r}; accepted: 0, which keeps augment.{self.draws}.strength "
                "fixed"
            )

    @override
    def init(self) -> Memory:
        start, zero = jnp.float32(self.strength), jnp.float32(0)
        return Memory(start, zero, zero, jnp.int32(0))

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
            jnp.clip(memory.strength + move, 0.0, self.limit),
            mean,
            jnp.zeros_like(total),
            jnp.zeros_like(count),
        )
        kept = memory._replace(signs=total, batches=count)
        return jax.tree.map(lambda a, b: jnp.where(whole, a, b), changed, kept)

    @override
    def metrics(self, memory: Any) -> dict[str, jax.Array]:
        return {f"{self.draws}_strength": memory.strength, f"{self.draws}_sign": memory.sign}
