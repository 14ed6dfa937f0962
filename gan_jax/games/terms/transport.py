"""The pin of a generator to one transport map (Lin et al. 2025, 2511.22475)."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from typing_extensions import override

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term


@dataclasses.dataclass(frozen=True)
class Transport(Term):
    """Keep generated data near their latents: the mean of ``(G(z) - z)^2`` over all entries.

    "Adversarial Flow Models", https://arxiv.org/abs/2511.22475 (weight from 0.2 to 0.005). Many
    generators make data of the same distribution; of these the term prefers the one that moves the
    latents least, the optimal transport. The latent vector has the size of a data point.

    Attributes:
      end_factor: the last weight over the first; in between it falls along half a cosine.
      decay_steps: train steps until then; needed if the factor is not 1.
    """

    end_factor: float = 1.0
    decay_steps: int | None = None

    name: ClassVar[str] = "transport"
    players: ClassVar[tuple[str, ...]] = ("generator",)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.end_factor >= 0, "end_factor", "0 or more")
        steps = self.decay_steps
        good = self.end_factor == 1.0 if steps is None else steps >= 1
        self.check(good, "decay_steps", "1 or more, or none with end_factor = 1")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        size = math.prod(kinds.of(specs.data_field(given.spec)).shape)
        if (latent := config.generator.latent_dim) != size or config.terms.information.weight:
            raise ConfigError(
                f"generator.latent_dim = {latent}; accepted with terms.transport: {size}, the size "
                "of a data point, and no codes of terms.information"
            )

    @override
    def weight_at(self, step: jax.Array, weight: float | jax.Array) -> float | jax.Array:
        weight = super().weight_at(step, weight)
        if self.decay_steps is None:
            return weight
        return weight * optax.cosine_decay_schedule(1.0, self.decay_steps, self.end_factor)(step)

    @override
    def __call__(self, context: Context) -> Added:
        made = context.fake.data
        assert context.z is not None
        return Added(jnp.mean(jnp.square(made - context.z.reshape(made.shape))))
