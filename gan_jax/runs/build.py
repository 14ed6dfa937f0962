"""From a configuration to what it names: game, optimizers, devices. What is wrong fails here."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.games import registry
from gan_jax.games.game import Game, batches_per_step, owner_starts, owner_steps
from gan_jax.training import parallel, step
from gan_jax.training.ema import EMA
from gan_jax.training.fsdp import FSDP
from gan_jax.training.optimizers import Optimizer, make_optimizer
from gan_jax.training.preparation import Prepare
from gan_jax.training.state import TrainState

# A field of `config.train` with a number for each replica, and its name in `TrainState.settings`.
REPLICA_SETTINGS = {
    "replica_learning_rates": "learning_rate",
    "replica_penalty_weights": "penalty_weight",
}


@dataclasses.dataclass(frozen=True)
class Training:
    """Everything about a run but its data and its directory.

    Attributes:
      game: what is played.
      optimizers: by network.
      ema: the moving average's settings.
      devices: over which the batch is split.
      parallel: the mapped train step.
      seed: of the root key, and of the data's order; replica ``i`` has that plus ``i``.
      settings: what differs between replicas, by name, a number for each.
    """

    game: Game
    optimizers: Mapping[str, Optimizer]
    ema: EMA
    devices: list[jax.Device]
    parallel: parallel.Parallel
    seed: int
    settings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """Independent runs in one."""
        return self.parallel.layout.replicas

    @property
    def sharing(self) -> int:
        """Devices over which the batch of a run is split."""
        count = len(self.devices)
        return count // self.parallel.layout.rows(count)

    def init_state(self) -> TrainState:
        """Return the state before the first step, the same for any number of devices."""
        return self.parallel.init(self._state)

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        """The state's shapes, dtypes and shardings."""
        return self.parallel.abstract(self._state)

    @functools.cached_property
    def abstract_member(self) -> TrainState:
        """The shapes, dtypes and shardings of the state of one replica alone."""
        if self.replicas == 1:
            return self.abstract_state
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.parallel.replicated),
            jax.eval_shape(self._own_state, self.seed),
        )

    def _state(self) -> TrainState:
        if self.replicas == 1:
            return self._own_state(self.seed)
        seeds = jnp.arange(self.replicas, dtype=jnp.int32) + self.seed
        settings = {name: jnp.asarray(x) for name, x in self.settings.items()}
        return parallel.over_replicas(self._own_state)(seeds, settings)

    def _own_state(
        self, seed: jax.Array | int, settings: Mapping[str, jax.Array] | None = None
    ) -> TrainState:
        return step.init_state(self.game, self.optimizers, self.ema, seed, settings)


def matmul_precision(config: Any) -> AbstractContextManager[Any]:
    """Return a context in which products and convolutions have the precision of ``config``."""
    return jax.default_matmul_precision("highest" if config.precision == "highest" else None)


def make_game(
    config: Any,
    shape: tuple[int, ...],
    num_classes: int | None = None,
    axis_name: Any = step.AXIS,
) -> Game:
    """Return the game that ``config`` describes.

    Args:
      config: a configuration with every field of ``configs/base.py``.
      shape: of one data point as it is stored.
      num_classes: of the data; ``None``: they have no labels.
      axis_name: the mapped axis, over which batch statistics are synchronised.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    return registry.make_game(config, make_prepare(config).shape(shape), axis_name, num_classes)


def make_training(config: Any, shape: tuple[int, ...], num_classes: int | None = None) -> Training:
    """Return what ``config`` describes.

    Args:
      config: a configuration with every field of ``configs/base.py``.
      shape: of one data point as it is stored.
      num_classes: of the data; ``None``: they have no labels.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    check_train_fields(config)
    devices = parallel.choose_devices(config.num_devices)
    layout = parallel.Layout(config.train.replicas, FSDP(**config.fsdp))
    layout.check(config.parallel, len(devices))
    settings = make_replica_settings(config)
    sharing = len(devices) // layout.rows(len(devices))
    parallel.check_batch(config.train.batch_size, sharing)
    parts = config.train.accumulate
    _check_parts(config.train.batch_size, parts, sharing)
    game = make_game(config, shape, num_classes, layout.axis_name)
    optimizers = make_optimizers(config, game)
    ema = EMA(config.ema.half_life, config.ema.ramp_up, config.ema.start)
    specs = None
    if layout.fsdp.enabled:
        state = jax.eval_shape(functools.partial(step.init_state, game, optimizers, ema, 0))
        specs = layout.fsdp.specs(state)
        optimizers = {name: layout.fsdp.optimizer(own) for name, own in optimizers.items()}
        ema = layout.fsdp.ema(ema)
    train_step = step.make_train_step(
        game,
        optimizers,
        ema,
        batch_size=config.train.batch_size,
        prepare=make_prepare(config),
        accumulate=parts,
    )
    if layout.fsdp.enabled:
        train_step = layout.fsdp.train_step(train_step, state)
    mapped = parallel.Parallel(train_step, config.parallel, devices, layout, specs)
    return Training(game, optimizers, ema, devices, mapped, config.train.seed, settings)


def make_replica_settings(config: Any) -> dict[str, np.ndarray]:
    """Return the numbers that differ between replicas, float32 ``[replicas]`` by name.

    Raises:
      ConfigError: a field has a number too many or too few, or one that cannot work.
    """
    count = config.train.replicas
    found = {}
    for field, setting in REPLICA_SETTINGS.items():
        values = tuple(config.train[field])
        if not values:
            continue
        if count == 1 or len(values) != count:
            raise errors.ConfigError(
                f"train.{field} has {len(values)} numbers; accepted: none, or one for each of "
                f"train.replicas = {count}, which must be above 1"
            )
        least = "above 0" if setting == "learning_rate" else "from 0 on"
        for value in values:
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if not is_number or value < 0 or (value == 0 and setting == "learning_rate"):
                raise errors.ConfigError(f"train.{field} has {value!r}; accepted: numbers {least}")
        found[setting] = np.asarray(values, np.float32)
    if "penalty_weight" in found and config.penalty.name == "none":
        raise errors.ConfigError(
            "train.replica_penalty_weights is given with penalty.name = 'none'; accepted: ()"
        )
    return found


def make_prepare(config: Any) -> Prepare:
    """Return the preparation of real images for training."""
    return Prepare(config.data.flip, config.data.crop, config.data.pairing == "domains")


def make_optimizers(config: Any, game: Game) -> dict[str, Optimizer]:
    """Return one optimizer per network, from the group of ``config.optimizer`` that it names."""
    optimizers = {}
    starts = owner_starts(game)
    for name, steps in owner_steps(game).items():
        group = game.networks[name].optimizer or name
        if group not in config.optimizer:
            raise errors.ConfigError(
                f"optimizer.{group} is missing; the game has a network {name!r}"
            )
        fields = config.optimizer[group]
        try:
            optimizers[name] = make_optimizer(
                fields.name,
                fields.learning_rate,
                schedule={
                    "name": fields.schedule.name,
                    "warmup_steps": fields.schedule.warmup_steps,
                    **(fields.schedule.get(fields.schedule.name) or {}),
                },
                total_steps=max(1, config.train.steps - starts[name]),
                steps_per_train_step=steps,
                clip_norm=fields.clip_norm,
                **(fields.get(fields.name) or {}),
            )
        except errors.ConfigError as error:
            raise errors.ConfigError(f"optimizer.{group}: {error}") from error
    return optimizers


def _check_parts(batch_size: int, parts: int, devices: int) -> None:
    """Raise a `ConfigError` unless a device's share of the batch divides into ``parts``."""
    share = batch_size // devices
    if parts < 1 or share % parts:
        raise errors.ConfigError(
            f"train.accumulate = {parts}; accepted: a divisor of a device's share of the batch, "
            f"{batch_size} / {devices} = {share}"
        )


def check_train_fields(config: Any) -> None:
    """Check the numbers in ``config.train`` against each other.

    Raises:
      ConfigError: one is out of range, or an interval is no multiple of ``train.steps_per_call``.
    """
    train = config.train
    for name in (
        "steps",
        "batch_size",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "steps_per_call",
        "keep_latest",
    ):
        if train[name] < 1:
            raise errors.ConfigError(f"train.{name} = {train[name]}; accepted: 1 or more")
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        if train[name] % train.steps_per_call:
            raise errors.ConfigError(
                f"train.{name} = {train[name]}; "
                f"accepted: a multiple of train.steps_per_call = {train.steps_per_call}"
            )
    if (every := config.eval.every) % train.steps_per_call:
        raise errors.ConfigError(
            f"eval.every = {every}; "
            f"accepted: a multiple of train.steps_per_call = {train.steps_per_call}, or 0"
        )
    if train.keep_every is not None and train.keep_every < 1:
        raise errors.ConfigError(
            f"train.keep_every = {train.keep_every}; accepted: 1 or more, or none"
        )
    # The last replica has a seed, too.
    most = 2**31 - max(1, train.replicas)
    if not 0 <= train.seed <= most:
        raise errors.ConfigError(f"train.seed = {train.seed}; accepted: 0 to {most}")
    if config.sample.num < 1:
        raise errors.ConfigError(f"sample.num = {config.sample.num}; accepted: 1 or more")


def data_batches(training: Training) -> int:
    """Return how many batches of real data one train step consumes, at least one."""
    return max(1, batches_per_step(training.game))
