"""The penalty on the discriminator's gradient, ``config.penalty``, as a term of its loss."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import lookup
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
      penalty: what is computed.
    """

    weight: float = 10.0
    penalty: penalties.Penalty = dataclasses.field(kw_only=True)

    name: ClassVar[str] = "penalty"
    prefix: ClassVar[str] = ""

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
    penalty = penalties.make(group.name, axis_name=given.axis_name, **options(group, entry))
    return GradientPenalty(group.weight, group.every, penalty=penalty)
