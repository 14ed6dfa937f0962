"""Which fakes the players are shown: fresh or past ones, all of them or the best."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.data import kinds
from gan_jax.data.spec import LABEL, Spec, data_field
from gan_jax.errors import ConfigError
from gan_jax.games import draws
from gan_jax.games.game import Turn
from gan_jax.games.history import History, exchange, init
from gan_jax.losses import top_k
from gan_jax.networks.condition import Condition

_SLOT = "history"


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Which fakes the players are shown.

    Attributes:
      history: size of the pool of past fakes that the discriminator is shown from; 0: none.
      top_k: least share of a batch's fakes that the generator learns from, those with the highest
        scores; 1: all.
      top_k_decay: factor of each reduction of that share, which begins at 1.
      top_k_steps: train steps between two reductions.
    """

    history: int = 0
    top_k: float = 1.0
    top_k_decay: float = 0.99
    top_k_steps: int = 1000

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        if self.history < 0:
            raise ConfigError(f"fakes.history = {self.history}; accepted: 0 or more")
        top_k.check_schedule(self.top_k_decay, self.top_k_steps, self.top_k)

    def memory(self, spec: Spec) -> dict[str, History]:
        """Return the pool of past fakes before training, if there is one."""
        if not self.history:
            return {}
        image = jax.ShapeDtypeStruct(kinds.of(data_field(spec)).shape, jnp.float32)
        condition = {
            name: jax.ShapeDtypeStruct(field.shape, jnp.dtype(field.dtype))
            for name, field in spec.items()
            if name == LABEL
        }
        return {_SLOT: init(self.history, (image, condition))}

    def shown(self, made: jax.Array, turn: Turn) -> tuple[jax.Array, Condition, dict[str, History]]:
        """Return the discriminator's fakes, their condition, and the new pool of past fakes.

        Args:
          made: fakes of this turn, made with its condition.
          turn: of the discriminator.
        """
        if not self.history:
            return made, turn.condition, {}
        key = jax.random.fold_in(draws.named(turn.key, _SLOT), turn.first)
        (made, condition), pool = exchange(
            turn.memory[_SLOT], (made, turn.condition), key, turn.axis_name
        )
        return made, condition, {_SLOT: pool}

    def weighted(self, losses: jax.Array, scores: jax.Array, turn: Turn) -> jax.Array:
        """Return a generator's losses, each times the weight of its fake, ``[batch]``."""
        if self.top_k >= 1:
            return losses
        devices = 1 if turn.axis_name is None else lax.axis_size(turn.axis_name)
        size = scores.shape[0] * devices
        count = top_k.kept(turn.count, size, self.top_k_decay, self.top_k_steps, self.top_k)
        return losses * top_k.top_k_weights(scores, count, axis_name=turn.axis_name)
