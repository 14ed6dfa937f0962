"""How the per-device train step is mapped over devices; the only file that knows.

Both ways, ``shard_map`` (the default) and ``pmap``, keep the state unstacked and replicated:
checkpoints, sampling and averages never see which one ran. ``check_vma=False`` is needed: with
JAX's default, the gradient of a replicated parameter comes already summed over devices, and the
step's own mean would leave it N times too large.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gan_jax import errors
from gan_jax.training import fsdp
from gan_jax.training import step as step_lib
from gan_jax.training.fsdp import FSDP
from gan_jax.training.state import TrainState
from gan_jax.training.step import AXIS

HostBatch = Mapping[str, np.ndarray]
REPLICA_AXIS = "replica"  # The mapped axis over which independent runs are split.


def choose_devices(count: int | None) -> list[jax.Device]:
    """Return the devices of a run: all, or the first ``count`` of them.

    Raises:
      ConfigError: there are fewer, or several processes would be left without one.
    """
    devices = jax.devices()
    if count is None:
        return devices
    if not 1 <= count <= len(devices):
        raise errors.ConfigError(
            f"num_devices = {count}; accepted: 1 to {len(devices)}, the devices that are here"
        )
    if jax.process_count() > 1 and count != len(devices):
        raise errors.ConfigError(
            f"num_devices = {count} with {jax.process_count()} processes; "
            f"accepted: all {len(devices)}"
        )
    return devices[:count]


def check_batch(batch_size: int, devices: int) -> None:
    """Check that the global batch splits evenly.

    Raises:
      ConfigError: it does not; the message names the nearest sizes that do.
    """
    if batch_size < 1 or batch_size % devices:
        below = batch_size // devices * devices
        near = " or ".join(str(n) for n in (below, below + devices) if n > 0)
        raise errors.ConfigError(
            f"train.batch_size = {batch_size} does not divide by the {devices} devices; "
            f"accepted: a multiple of {devices}, such as {near}"
        )


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the devices of a run are to each other.

    Attributes:
      replicas: independent runs that are trained in one program, each with a state of its own.
      fsdp: how one state is cut over devices.
    """

    replicas: int = 1
    fsdp: FSDP = dataclasses.field(default_factory=FSDP)

    @property
    def axis_name(self) -> Any:
        """The mapped axis over which the batch is split: a name, or JAX's tuple of several."""
        return (AXIS, fsdp.AXIS) if self.fsdp.enabled else AXIS

    def rows(self, devices: int) -> int:
        """Return into how many rows the devices are arranged, each with replicas of its own."""
        return math.gcd(self.replicas, devices)

    def check(self, mode: str, devices: int) -> None:
        """Check that the layout can be mapped over so many devices.

        Raises:
          ConfigError: it cannot; the message names the field.
        """
        if self.replicas < 1:
            raise errors.ConfigError(f"train.replicas = {self.replicas}; accepted: 1 or more")
        special = {"train.replicas": self.replicas, "fsdp.devices": self.fsdp.devices}
        chosen = {name: value for name, value in special.items() if value > 1}
        if len(chosen) == 2:
            raise errors.ConfigError(
                f"train.replicas = {self.replicas} with fsdp.devices = {self.fsdp.devices}; "
                "accepted: one of them above 1"
            )
        for name, value in chosen.items():
            if mode != "shard_map":
                raise errors.ConfigError(
                    f'parallel = {mode!r} with {name} = {value}; accepted: "shard_map"'
                )
        if devices % self.fsdp.devices:
            raise errors.ConfigError(
                f"fsdp.devices = {self.fsdp.devices}; accepted: a divisor of the {devices} devices"
            )

    def mesh(self, devices: Sequence[jax.Device]) -> Mesh:
        """Return the devices as an array with named axes."""
        count = len(devices)
        if self.replicas > 1:
            rows = self.rows(count)
            shape, axes = (rows, count // rows), (REPLICA_AXIS, AXIS)
        elif self.fsdp.enabled:
            shape, axes = (count // self.fsdp.devices, self.fsdp.devices), (AXIS, fsdp.AXIS)
        else:
            return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
        return jax.make_mesh(shape, axes, axis_types=(AxisType.Auto,) * 2, devices=devices)


@dataclasses.dataclass(frozen=True)
class Local:
    """What one process feeds.

    Attributes:
      replicas: that its devices train.
      share: which part of their batches it reads ...
      shares: ... of so many.
    """

    replicas: range
    share: int
    shares: int


class Parallel:
    """A train step mapped over devices, and the placement of what it takes.

    Args:
      train_step: the per-device step of `gan_jax.training.step.make_train_step`.
      mode: ``"shard_map"`` or ``"pmap"``.
      devices: over which the batch is split.
      layout: what they are to each other.
      specs: the partition of the state where it is cut; ``None``: that of the layout.

    Attributes:
      layout: as given.
      replicated: the sharding of what is whole on every device, as resident data are.
    """

    def __init__(
        self,
        train_step: step_lib.TrainStep,
        mode: str,
        devices: Sequence[jax.Device],
        layout: Layout | None = None,
        specs: TrainState | None = None,
    ) -> None:
        self.layout = layout or Layout()
        self._devices = list(devices)
        self._local = [d for d in devices if d.process_index == jax.process_index()]
        self._mesh = mesh = self.layout.mesh(self._devices)
        self.replicated = NamedSharding(mesh, PartitionSpec())
        metrics = PartitionSpec()
        if self.layout.replicas > 1:
            metrics = PartitionSpec(REPLICA_AXIS)
            specs = _stacked_fields(PartitionSpec(), metrics)
        self._specs = PartitionSpec() if specs is None else specs
        own = self.layout.replicas // self.layout.rows(len(self._devices))
        several = _of_replicas(partial(_several_steps, train_step, self.layout.axis_name), own)
        if self.layout.replicas == 1:
            several = partial(_several_steps, train_step, self.layout.axis_name)
        build = errors.lookup(MODES, mode, "parallel")
        if mode == "pmap" and jax.process_count() > 1:
            raise errors.ConfigError(
                f'parallel = "pmap" with {jax.process_count()} processes; accepted: "shard_map"'
            )
        self._mode = mode
        self._mapped, self._batch_sharding = build(
            several, mesh, self._devices, self._specs, metrics, self._batch_spec()
        )
        self._compiled: Any = None
        self._pick = jax.jit(
            lambda state, replica: _member(state, replica).replace(settings={}),
            out_shardings=self.replicated,
        )
        self._gathered = jax.jit(lambda x: x, out_shardings=self.replicated)

    def _batch_spec(self) -> PartitionSpec:
        spec = PartitionSpec(None, None, self.layout.axis_name)
        return PartitionSpec(REPLICA_AXIS, *spec) if self.layout.replicas > 1 else spec

    def local(self) -> Local:
        """Return what this process feeds of a batch.

        Raises:
          ConfigError: the replicas do not divide over the processes.
        """
        processes = jax.process_count()
        if self.layout.replicas == 1:
            return Local(range(1), jax.process_index(), processes)
        me = jax.process_index()
        mine = np.vectorize(lambda d: d.process_index == me)(self._mesh.devices)
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        each = self.layout.replicas // len(mine)
        whole = mine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        if not whole or len(mine[0]) % len(columns):
            raise errors.ConfigError(
                f"train.replicas = {self.layout.replicas} on {len(self._devices)} devices of "
                f"{processes} processes; accepted: a multiple of the devices"
            )
        return Local(
            range(int(rows[0]) * each, (int(rows[-1]) + 1) * each),
            int(columns[0]) // len(columns),
            len(mine[0]) // len(columns),
        )

    def put_replicated(self, tree: Any) -> Any:
        """Return ``tree`` with every array on every device."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.replicated)
        # Every process holds the same value: no process needs another's.
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.replicated, np.asarray(x)), tree
        )

    def put_batch(self, batch: HostBatch) -> dict[str, jax.Array]:
        """Return this process's share of a batch as arrays over all devices.

        Args:
          batch: arrays ``[steps per call, batches per step, examples of this process, ...]``; of
            several replicas with those of this process in front.
        """
        if self._mode == "pmap":
            batch = {name: _stacked(x, len(self._local)) for name, x in batch.items()}
            return {n: jax.device_put(x, self._batch_sharding) for n, x in batch.items()}
        # With several processes JAX takes this transfer for an implicit one.
        with jax.transfer_guard("allow"):
            return {
                name: jax.make_array_from_process_local_data(self._batch_sharding, x)
                for name, x in batch.items()
            }

    def init(self, build: Callable[[], TrainState]) -> TrainState:
        """Return ``build()``, made on every device alike, or in its parts."""
        shardings = jax.tree.map(self._sharding, self._specs, is_leaf=_is_spec)
        return jax.jit(build, out_shardings=shardings)()

    def abstract(self, build: Callable[[], TrainState]) -> TrainState:
        """Return the shapes, dtypes and shardings of ``build()``, computing nothing."""

        def placed(spec: PartitionSpec, part: Any) -> Any:
            sharding = self._sharding(spec)
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part
            )

        return jax.tree.map(placed, self._specs, jax.eval_shape(build), is_leaf=_is_spec)

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self._mesh, spec)

    def member(self, state: TrainState, replica: int) -> TrainState:
        """Return the state of one replica, as that of a run of its own: whole on every device."""
        if self.layout.replicas == 1:
            return state
        with jax.transfer_guard("allow"):
            return self._pick(state, np.int32(replica))

    def stack(self, members: Sequence[TrainState], settings: Mapping[str, Any]) -> TrainState:
        """Return the state of all replicas.

        Args:
          members: the state of each, as `on_host` gives it.
          settings: numbers by replica, ``[replicas]``.
        """
        sharding = self._sharding(PartitionSpec(REPLICA_AXIS))

        def stacked(*leaves: np.ndarray) -> jax.Array:
            # A device gets its own replicas alone: all may be more than it holds.
            def part(index: Any) -> np.ndarray:
                chosen = range(*index[0].indices(len(leaves)))
                return np.stack([leaves[i][index[1:]] for i in chosen])

            return jax.make_array_from_callback(
                (len(leaves), *leaves[0].shape), sharding, part, dtype=leaves[0].dtype
            )

        first = members[0]
        rest = [member.replace(step=(), key=(), settings={}) for member in members]
        keys = jax.jit(lambda *keys: jnp.stack(keys), out_shardings=sharding)
        return jax.tree.map(stacked, *rest).replace(
            step=self.put_replicated(first.step),
            key=keys(*(member.key for member in members)),
            settings={n: stacked(*map(np.asarray, x)) for n, x in settings.items()},
        )

    def fetch(self, tree: Any) -> Any:
        """Return arrays on the host, in every process, however they are split."""
        if jax.process_count() > 1 and self.layout.replicas > 1:
            tree = self._gathered(tree)
        return jax.device_get(tree)

    def whole(self, state: TrainState) -> TrainState:
        """Return a state that any process can read all of, one array after the other.

        Arrays that are cut over several processes come as NumPy arrays, the others as they are.
        """

        def readable(x: jax.Array) -> Any:
            if x.is_fully_addressable or x.is_fully_replicated:
                return x
            return np.asarray(self._gathered(x))

        with jax.transfer_guard("allow"):
            return jax.tree.map(readable, state)

    def compile(
        self,
        state: TrainState,
        data: Mapping[str, jax.ShapeDtypeStruct],
        batch: Mapping[str, jax.ShapeDtypeStruct],
    ) -> Any:
        """Compile the step ahead of time; return JAX's compiled object, which knows its memory.

        Args:
          state: as `abstract` gives it.
          data: shapes and dtypes of the resident data, ``{}`` when streamed.
          batch: those of a call's batch over all processes, ``[steps per call, batches per step,
            batch, ...]``; of several replicas with these in front.
        """

        def placed(x: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            shape = x.shape
            if sharding is self._batch_sharding and self._mode == "pmap":
                s, k, b, *rest = shape
                shape = (len(self._devices), s, k, b // len(self._devices), *rest)
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)

        abstract_data = {name: placed(x, self.replicated) for name, x in data.items()}
        abstract_batch = {name: placed(x, self._batch_sharding) for name, x in batch.items()}
        self._compiled = self._mapped.lower(state, abstract_data, abstract_batch).compile()
        return self._compiled

    def __call__(
        self, state: TrainState, data: Any, batch: Mapping[str, jax.Array]
    ) -> tuple[TrainState, step_lib.Metrics]:
        """Return the state after the call's train steps, and the means of their metrics.

        ``state`` is donated: its arrays are deleted. The metrics of several replicas are
        ``[replicas]``.
        """
        return (self._compiled or self._mapped)(state, data, batch)


def on_host(member: TrainState) -> TrainState:
    """Return the state of one replica as NumPy arrays, but for its key."""
    return jax.tree.map(np.asarray, member.replace(key=())).replace(key=member.key)


def over_replicas(function: Callable[..., TrainState]) -> Callable[..., TrainState]:
    """Return ``function`` of arrays, mapped over replicas to the state that they are kept in.

    Every replica is at the same train step, which therefore stays one number: what depends on it
    alone is decided once.
    """
    return jax.vmap(function, out_axes=_stacked_fields(None, 0))


def _stacked_fields(step: Any, rest: Any) -> Any:
    """Return a tree for the state of several replicas: one value for the step, one for the rest."""
    return TrainState(step, rest, rest, rest, rest)


def _of_replicas(several: step_lib.TrainStep, count: int) -> step_lib.TrainStep:
    """Return ``several`` for the states of a device's ``count`` replicas at once."""
    axes = _stacked_fields(None, 0)
    mapped = jax.vmap(several, in_axes=(axes, None, 0), out_axes=(axes, 0))

    def one(state: TrainState, data: Any, batch: Any) -> tuple[TrainState, step_lib.Metrics]:
        # Without the map: a convolution whose kernels are mapped is slower than a plain one.
        own, metrics = several(_member(state, 0), data, jax.tree.map(lambda x: x[0], batch))
        stacked, metrics = jax.tree.map(lambda x: x[None], (own, metrics))
        return stacked.replace(step=own.step), metrics

    return mapped if count > 1 else one


def _member(state: TrainState, replica: Any) -> TrainState:
    own = jax.tree.map(
        lambda x: jax.lax.dynamic_index_in_dim(x, replica, keepdims=False),
        state.replace(step=()),
    )
    return own.replace(step=state.step)


def _is_spec(x: Any) -> bool:
    return isinstance(x, PartitionSpec)


def _several_steps(
    train_step: step_lib.TrainStep, axis_name: Any, state: TrainState, data: Any, batch: Any
) -> tuple[TrainState, step_lib.Metrics]:
    """Take as many train steps as ``batch`` has on its leading axis; return their mean metrics."""

    def body(state: TrainState, batch: Any) -> tuple[TrainState, step_lib.Metrics]:
        return train_step(state, data, batch, axis_name=axis_name)

    state, metrics = step_lib.repeat(body, state, batch)
    return state, jax.tree.map(partial(jnp.mean, axis=0), metrics)


def _shard_map(
    several: Callable[..., Any],
    mesh: Mesh,
    devices: list[jax.Device],
    state: Any,
    metrics: PartitionSpec,
    batch: PartitionSpec,
) -> Any:
    del devices
    mapped = jax.shard_map(
        several,
        mesh=mesh,
        in_specs=(state, PartitionSpec(), batch),
        out_specs=(state, metrics),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0), NamedSharding(mesh, batch)


def _pmap(
    several: Callable[..., Any],
    mesh: Mesh,
    devices: list[jax.Device],
    state: Any,
    metrics: PartitionSpec,
    batch: PartitionSpec,
) -> Any:
    del state, metrics, batch
    mapped = jax.pmap(
        several,
        axis_name=AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=devices,
    )
    return mapped, NamedSharding(mesh, PartitionSpec(AXIS))


MODES = {"shard_map": _shard_map, "pmap": _pmap}


def _stacked(x: np.ndarray, devices: int) -> np.ndarray:
    """Return ``x`` ``[s, k, b, ...]`` as ``[devices, s, k, b / devices, ...]``."""
    s, k, b = x.shape[:3]
    split = x.reshape(s, k, devices, b // devices, *x.shape[3:])
    return np.ascontiguousarray(np.moveaxis(split, 2, 0))
