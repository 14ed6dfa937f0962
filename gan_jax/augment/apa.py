"""Adaptive pseudo augmentation (APA, Jiang et al. 2021, 2111.06849)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.augment.adaptive import Adaptive


@dataclasses.dataclass(frozen=True)
class APA(Adaptive):
    """Adaptive pseudo augmentation (Jiang et al. 2021, https://arxiv.org/abs/2111.06849).

    "Deceive D": the discriminator is shown generated data in place of some of the real ones, as if
    they were real, so that it cannot become sure of a few real ones. It needs no transformation of
    the data, so it is for data of any kind.

    The mean sign, which the probability follows, is that of all data shown as real. While every
    real one has a positive score and every generated one a negative score, a target of 0.6 is met
    at a probability of 0.2.

    Attributes:
      limit: greatest probability that a real data point is replaced; 0: none ever is; 1: the
        probability is bounded by the target alone.
    """

    limit: float = 0.0

    draws: ClassVar[str] = "apa"
    replaces: ClassVar[bool] = True

    @property
    @override
    def enabled(self) -> bool:
        return self.limit > 0

    @override
    def replaced(self, keys: jax.Array, real: jax.Array, fake: jax.Array, memory: Any) -> jax.Array:
        chosen = jax.vmap(lambda key: jax.random.bernoulli(key, memory.strength))(keys)
        return jnp.where(chosen.reshape(-1, *[1] * (real.ndim - 1)), fake, real)
