"""Builds what a configuration describes: game, optimizers, the train step mapped over devices."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gan_jax import errors
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.spec import Spec
from gan_jax.games import registry
from gan_jax.games.game import Game, Network, batches_per_step, owner_starts, owner_steps
from gan_jax.layers import spectral
from gan_jax.training import parallel, step
from gan_jax.training.ema import EMA
from gan_jax.training.fsdp import FSDP
from gan_jax.training.optimizers import Optimizer, make_optimizer
from gan_jax.training.parallel import Compile
from gan_jax.training.preparation import Prepare
from gan_jax.training.replication import Replication
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
      game: the game.
      optimizers: by network.
      ema: the moving average's settings.
      devices: over which the batch is split.
      parallel: the mapped train step.
      seed: of the root key, and of the data's order; replica ``i`` has that plus ``i``.
      replication: how several replicas are trained.
      fsdp: how the state is sharded.
      settings: the numbers that differ between replicas, ``[replicas]`` by name.
    """

    game: Game
    optimizers: Mapping[str, Optimizer]
    ema: EMA
    devices: list[jax.Device]
    parallel: parallel.Parallel
    seed: int
    replication: Replication
    fsdp: FSDP
    settings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """Independent runs in one."""
        return self.replication.count

    def init_state(self) -> TrainState:
        """Return the state before the first step, the same for any number of devices."""
        state: TrainState = self._init()
        return state

    @functools.cached_property
    def _init(self) -> jax.stages.Compiled:
        return self.lower_init()()

    def lower_init(self) -> Compile:
        """Lower the program of `init_state`, and return a function that compiles it."""
        networks = self.abstract_state.networks.values()
        # Parameters are random numbers, element by element; spectral vectors are normalized.
        has_sums = any(spectral.COLLECTION in network.mutable for network in networks)
        return self.parallel.lower_init(self._traced, has_sums=has_sums)

    def lower_step(self, pipeline: Pipeline) -> Compile:
        """Lower the train step for the shapes of a pipeline; return a function that compiles it."""
        data, batch = (
            {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in abstract.items()}
            for abstract in (pipeline.abstract_data(), pipeline.abstract_batch())
        )
        return self.parallel.lower(self.abstract_state, data, batch)

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        """The state's shapes, dtypes and shardings."""
        return self.parallel.abstract(self._traced.out_info)

    @functools.cached_property
    def _traced(self) -> jax.stages.Traced:
        """The program of `init_state`, traced once for its shapes and for itself."""
        return self.parallel.trace_init(self._state)

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
        return self.replication.init(self._own_state, seeds, settings)

    def _own_state(
        self, seed: jax.Array | int, settings: Mapping[str, jax.Array] | None = None
    ) -> TrainState:
        return step.init_state(self.game, self.optimizers, self.ema, seed, settings)


def matmul_precision(config: Any) -> AbstractContextManager[Any]:
    """Return a context in which products and convolutions have the precision of ``config``."""
    return jax.default_matmul_precision("highest" if config.precision == "highest" else None)


def make_game(config: Any, spec: Spec, axis_name: Any = step.AXIS) -> Game:
    """Return the game that ``config`` describes.

    Args:
      config: a configuration.
      spec: of the data as they are stored.
      axis_name: the mapped axis, over which batch statistics are synchronised.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    return registry.make_game(config, make_prepare(config, spec).spec, axis_name)


def make_training(config: Any, spec: Spec) -> Training:
    """Return what ``config`` describes; the arguments and errors are those of `make_game`."""
    check_train_fields(config)
    devices = parallel.choose_devices(config.num_devices)
    replication = Replication(config.train.replicas, tuple(devices))
    fsdp = FSDP(**config.fsdp)
    _check_layout(config, replication, fsdp)
    settings = make_replica_settings(config)
    parallel.check_batch(config.train.batch_size, replication.sharing)
    parts, share = config.train.accumulate, config.train.batch_size // replication.sharing
    accepted = (
        "a divisor of a device's share of the batch, "
        f"{config.train.batch_size} / {replication.sharing} = {share}"
    )
    errors.require(parts >= 1 and share % parts == 0, "train.accumulate", parts, accepted)
    game = make_game(config, spec, fsdp.batch_axes)
    optimizers = make_optimizers(config, game)
    ema = EMA(config.ema.half_life, config.ema.ramp_up, config.ema.start)
    if fsdp.enabled:
        state = jax.eval_shape(functools.partial(step.init_state, game, optimizers, ema, 0))
        optimizers = {name: fsdp.optimizer(own) for name, own in optimizers.items()}
        ema = fsdp.ema(ema)
    train_step = step.make_train_step(
        game,
        optimizers,
        ema,
        batch_size=config.train.batch_size,
        prepare=make_prepare(config, spec),
        accumulate=parts,
    )
    layout = parallel.data_parallel(devices)
    if fsdp.enabled:
        train_step, layout = fsdp.train_step(train_step, state), fsdp.layout(devices, state)
    elif replication.count > 1:
        train_step, layout = replication.train_step(train_step), replication.layout
    mapped = parallel.Parallel(train_step, config.parallel, layout)
    return Training(
        game, optimizers, ema, devices, mapped, config.train.seed, replication, fsdp, settings
    )


def _check_layout(config: Any, replication: Replication, fsdp: FSDP) -> None:
    """Check that replicas and shards can be laid out over the devices."""
    special = {"train.replicas": replication.count, "fsdp.devices": fsdp.devices}
    chosen = {name: value for name, value in special.items() if value > 1}
    if len(chosen) == 2:
        raise errors.ConfigError(
            f"train.replicas = {replication.count} with fsdp.devices = {fsdp.devices}; "
            "accepted: one of them above 1"
        )
    for name, value in chosen.items():
        if config.parallel != "shard_map":
            raise errors.ConfigError(
                f'parallel = {config.parallel!r} with {name} = {value}; accepted: "shard_map"'
            )
    devices = len(replication.devices)
    accepted = f"a divisor of the {devices} devices"
    errors.require(devices % fsdp.devices == 0, "fsdp.devices", fsdp.devices, accepted)


def make_replica_settings(config: Any) -> dict[str, np.ndarray]:
    """Return the numbers that differ between replicas, float32 ``[replicas]`` by name."""
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


def make_prepare(config: Any, spec: Spec) -> Prepare:
    """Return the preparation of real data for training, given their specification as stored."""
    return Prepare(spec, config.data.flip, config.data.crop, config.data.pairing == "domains")


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
        total = max(1, config.train.steps - starts[name])
        own = config.optimizer[group]
        layers = layers_of(game.networks[name]) if own.freeze_first or own.freeze else ()
        try:
            optimizers[name] = make_optimizer(
                own, total_steps=total, steps_per_train_step=steps, layers=layers
            )
        except errors.ConfigError as error:
            raise errors.ConfigError(f"optimizer.{group}: {error}") from error
    return optimizers


def layers_of(network: Network) -> list[str]:
    """Return the paths of a network's layers, and of their parts, in the order of their use."""
    paths: dict[str, None] = {}

    def init(key: jax.Array) -> Any:
        # Not sorted yet, as it will be by `jax.eval_shape`.
        params = network.init(key)["params"]
        for names in traverse_util.flatten_dict(params):
            paths.update(dict.fromkeys("/".join(names[: i + 1]) for i in range(len(names))))
        return params

    jax.eval_shape(init, jax.random.key(0))
    return list(paths)


def check_train_fields(config: Any) -> None:
    """Check the ranges of numbers, and that intervals are multiples of ``train.steps_per_call``."""
    train = config.train
    intervals = ("steps", "log_every", "sample_every", "checkpoint_every")
    positive = {
        f"train.{name}": train[name]
        for name in (*intervals, "batch_size", "steps_per_call", "keep_latest", "keep_every")
    }
    for name, value in {**positive, "sample.num": config.sample.num}.items():
        errors.require(value is None or value >= 1, name, value, "1 or more")
    multiples = {f"train.{name}": train[name] for name in intervals}
    for name, value in {**multiples, "eval.every": config.eval.every}.items():
        accepted = f"a multiple of train.steps_per_call = {train.steps_per_call}"
        errors.require(value % train.steps_per_call == 0, name, value, accepted)
    # The last replica has a seed, too.
    most = 2**31 - max(1, train.replicas)
    errors.require(0 <= train.seed <= most, "train.seed", train.seed, f"0 to {most}")


def data_batches(training: Training) -> int:
    """Return how many batches of real data one train step consumes, at least one."""
    return max(1, batches_per_step(training.game))
