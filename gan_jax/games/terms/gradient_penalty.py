"""The penalty on the discriminator's gradient, ``config.penalty``, as a term of its loss."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from typing_extensions import override

from gan_jax.errors import ConfigError, lookup
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import penalties
from gan_jax.losses.guards import mean_over_patches
from gan_jax.settings import options


@dataclasses.dataclass(frozen=True)
class GradientPenalty(Term):
    """A penalty of `gan_jax.losses.penalties`, on the data as the discriminator sees them.

    Attributes:
      weight: multiplies the penalty. For r1 and r2 it is gamma: they include the factor 1/2.
      every: discriminator steps between two computations of the penalty, and the factor that it
        is multiplied by then.
      end_factor: the last weight over the first; in between it falls along half a cosine.
      decay_steps: train steps until then; unset: those of the run.
      total_steps: train steps of the run.
      penalty: what is computed.
    """

    weight: float = 10.0
    end_factor: float = 1.0
    decay_steps: int | None = None
    total_steps: int = 1
    penalty: penalties.Penalty = dataclasses.field(kw_only=True)

    name: ClassVar[str] = "penalty"
    prefix: ClassVar[str] = ""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.end_factor >= 0, "end_factor", "0 or more")
        good = self.decay_steps is None or self.decay_steps >= 1
        self.check(good, "decay_steps", "1 or more, or none")

    @override
    def weight_at(self, step: jax.Array, weight: float | jax.Array) -> float | jax.Array:
        weight = super().weight_at(step, weight)
        if self.end_factor == 1.0:
            return weight
        steps = self.decay_steps or self.total_steps
        return weight * optax.cosine_decay_schedule(1.0, steps, self.end_factor)(step)

    @override
    def __call__(self, context: Context) -> Added:
        real, fake, turn = context.real, context.fake, context.turn
        assert real is not None
        shape = real.shown.shape[1:]
        keys = turn.keys("judge/penalty")

        def critic(x: jax.Array) -> jax.Array:
            return mean_over_patches(context.judge(x, real.condition, keys).scores)

        draws = jax.vmap(lambda key: self.penalty.draw(key, shape))(turn.keys("penalty"))
        return Added(jnp.mean(self.penalty(critic, real.shown, fake.shown, draws)))


def make_penalty(config: Any, given: Given) -> GradientPenalty | None:
    """Return the term that ``config.penalty`` describes; ``None``: there is no penalty.

    Raises:
      ConfigError: a setting cannot work.
    """
    group = config.penalty
    if group.name == "none":
        return None
    entry = lookup(penalties.PENALTIES, group.name, "penalty.name")
    settings = options(group, entry)
    if "step" in settings and config.precision == "bfloat16":
        raise ConfigError(
            f"penalty.{group.name}.step = {settings['step']} with precision = 'bfloat16', in which "
            "scores are too coarse for differences; accepted: None, or another precision"
        )
    penalty = penalties.make(group.name, axis_name=given.axis_name, **settings)
    fields = ("weight", "every", "end_factor", "decay_steps")
    return GradientPenalty(
        **{name: group[name] for name in fields},
        total_steps=config.train.steps,
        penalty=penalty,
    )
