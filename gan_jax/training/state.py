"""The train state: one immutable pytree with everything that a resumed run needs."""

from typing import Any

import flax.struct
import jax

Variables = dict[str, Any]


class NetworkState(flax.struct.PyTreeNode):
    """One network's part of the train state.

    Attributes:
      params: its parameters, float32.
      mutable: its other collections (``batch_stats``, ...), by name.
      opt_state: its optimizer's state.
      ema: the moving average of ``{"params": ..., **mutable}``, or ``None`` where none is kept.
    """

    params: Any
    mutable: Variables
    opt_state: Any
    ema: Variables | None

    @property
    def variables(self) -> Variables:
        """What ``module.apply`` takes: the raw weights."""
        return {"params": self.params, **self.mutable}

    @property
    def averaged(self) -> Variables:
        """What ``module.apply`` takes: the moving average if one is kept, or the raw weights."""
        return self.variables if self.ema is None else self.ema


class TrainState(flax.struct.PyTreeNode):
    """The state of a run; every leaf is an array, identical on every device.

    Attributes:
      step: train steps taken, int32.
      key: the root key; it never advances, every draw folds in the step.
      networks: by name.
      game: the game's memory beside its networks, by slot (`Game.memory`).
      settings: float32 numbers of the configuration that differ between replicas:
        ``learning_rate`` (a factor), ``penalty_weight``; ``{}`` where none do.
    """

    step: jax.Array
    key: jax.Array
    networks: dict[str, NetworkState]
    game: Variables
    settings: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
