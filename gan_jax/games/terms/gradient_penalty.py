"""The penalty on the discriminator's gradient, ``config.penalty``, as a term of its loss."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from gan_jax.games.building import Given, penalty_fields
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import penalties
from gan_jax.losses.scores import mean_over_patches


@dataclasses.dataclass(frozen=True)
class GradientPenalty(Term):
    """A penalty of `gan_jax.losses.penalties`, on the data as the discriminator sees them.

    Attributes:
      penalty: what is computed.
    """

    penalty: penalties.Penalty = dataclasses.field(kw_only=True)

    name: ClassVar[str] = "penalty"

    def __call__(self, context: Context) -> Added:
        """Return the penalty's mean over this device's data."""
        real, fake, turn = context.real, context.fake, context.turn
        assert real is not None
        shape = real.shown.shape[1:]
        keys = turn.keys("judge/penalty")

        def critic(x: jax.Array) -> jax.Array:
            return mean_over_patches(context.judge(x, real.condition, keys).scores)

        draws = jax.vmap(lambda key: self.penalty.draw(key, shape))(turn.keys("penalty"))
        return Added(jnp.mean(self.penalty(critic, real.shown, fake.shown, draws)))


def make(config: Any, given: Given) -> dict[str, GradientPenalty]:
    """Return the term of ``config.penalty`` by its name; empty: there is no penalty.

    Raises:
      ConfigError: a setting cannot work.
    """
    fields = penalty_fields(config, given)
    if not fields:
        return {}
    penalty, weight, every = fields.values()
    return {"penalty": GradientPenalty(weight, every, penalty=penalty)}
