"""Maps a per-device train step over devices, and places what it takes.

Both ways, ``shard_map`` (the default) and ``pmap``, keep the state unstacked and replicated:
checkpoints, sampling and averages do not depend on which one ran. ``check_vma=False`` is needed:
with JAX's default, the gradient of a replicated parameter comes already summed over devices, and
the step's own mean would leave it N times too large.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gan_jax import compiler, errors
from gan_jax.device_map import replicate
from gan_jax.training import step as step_lib
from gan_jax.training.state import TrainState
from gan_jax.training.step import AXIS

HostBatch = Mapping[str, np.ndarray]
# Compiles a program that was lowered. Any thread may call it, beside Python's other work.
Compile = Callable[[], jax.stages.Compiled]
_LEVEL = "xla_backend_optimization_level"


def choose_devices(count: int | None) -> list[jax.Device]:
    """Return the devices of a run: all, or the first ``count`` of them.

    Raises:
      ConfigError: there are fewer, or several processes would be left without one.
    """
    devices = jax.devices()
    if count is None:
        return devices
    accepted = f"1 to {len(devices)}, the devices of this machine"
    errors.require(1 <= count <= len(devices), "num_devices", count, accepted)
    if jax.process_count() > 1 and count != len(devices):
        raise errors.ConfigError(
            f"num_devices = {count} with {jax.process_count()} processes; "
            f"accepted: all {len(devices)}"
        )
    return devices[:count]


def check_batch(batch_size: int, devices: int) -> None:
    """Raise a `ConfigError` with the nearest sizes if the global batch does not split evenly."""
    if batch_size % devices:
        below = batch_size // devices * devices
        near = " or ".join(str(n) for n in (below, below + devices) if n > 0)
        raise errors.ConfigError(
            f"train.batch_size = {batch_size} does not divide by the {devices} devices; "
            f"accepted: a multiple of {devices}, such as {near}"
        )


def of_first_process(decision: bool) -> bool:
    """Return the decision of process 0, for numbers and times that differ between processes.

    All processes must call it, in the same order.
    """
    if jax.process_count() == 1:
        return decision
    return bool(multihost_utils.broadcast_one_to_all(np.int32(decision)))


@dataclasses.dataclass(frozen=True)
class Layout:
    """How state, batches and metrics are laid out on a mesh of devices.

    Attributes:
      mesh: the devices.
      axis_name: the mapped axis over which the batch is split: a name, or a tuple of several.
      state: the partition of every leaf of the state, or a tree of partitions.
      metrics: the partition of every metric.
      batch: the partition of a call's batch, whose first axis is the steps of the call.
    """

    mesh: Mesh
    axis_name: Any
    state: Any
    metrics: PartitionSpec
    batch: PartitionSpec

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of an array that is whole on every device."""
        return NamedSharding(self.mesh, PartitionSpec())


def data_parallel(devices: Sequence[jax.Device]) -> Layout:
    """Return the layout in which the state is replicated and the batch split over all devices."""
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    replicated = PartitionSpec()
    return Layout(mesh, AXIS, replicated, replicated, PartitionSpec(None, None, AXIS))


class Parallel:
    """A train step mapped over devices, and the placement of what it takes.

    Args:
      train_step: the per-device step of `gan_jax.training.step.make_train_step`.
      mode: ``"shard_map"`` or ``"pmap"``; the latter takes the layout of `data_parallel` alone.
      layout: of the state, the batches and the metrics.

    Attributes:
      replicated: the sharding of what is whole on every device, as resident data are.
    """

    def __init__(self, train_step: step_lib.TrainStep, mode: str, layout: Layout) -> None:
        self.replicated = layout.replicated
        self._layout = layout
        self._mode = mode
        build = errors.lookup(MODES, mode, "parallel")
        if mode == "pmap" and (count := jax.process_count()) > 1:
            raise errors.ConfigError(
                f'parallel = "pmap" with {count} processes; accepted: "shard_map"'
            )
        several = partial(_several_steps, train_step, layout.axis_name)
        self._mapped, self._batch_sharding = build(several, layout)
        self._compiled: Any = None
        self._gathered = jax.jit(lambda x: x, out_shardings=self.replicated)

    def put_replicated(self, tree: Any) -> Any:
        """Return ``tree`` with every array on every device."""
        return replicate(tree, self.replicated)

    def put_batch(self, batch: HostBatch) -> dict[str, jax.Array]:
        """Return this process's share of a batch as arrays over all devices.

        It is ``[steps per call, batches per step, examples of this process, ...]``; several
        replicas have theirs on the second axis.
        """
        if self._mode == "pmap":
            batch = {name: _stacked(x, self._layout.mesh.size) for name, x in batch.items()}
            return {n: jax.device_put(x, self._batch_sharding) for n, x in batch.items()}
        # With several processes JAX takes this transfer for an implicit one.
        with jax.transfer_guard("allow"):
            return {
                name: jax.make_array_from_process_local_data(self._batch_sharding, x)
                for name, x in batch.items()
            }

    def trace_init(self, build: Callable[[], TrainState]) -> jax.stages.Traced:
        """Trace ``build()``, whose result is placed as the layout says; compute nothing."""
        shardings = jax.tree.map(self._sharding, self._layout.state, is_leaf=_is_spec)
        return jax.jit(build, out_shardings=shardings).trace()

    def lower_init(self, traced: jax.stages.Traced, *, has_sums: bool = True) -> Compile:
        """Lower what `trace_init` returns, and return a function that compiles it.

        Without sums, whose order changes their last bits, XLA:CPU need not optimize it: of a
        DCGAN's random parameters it makes a program in 3 s instead of 20.
        """
        is_cpu = self._layout.mesh.devices.flat[0].platform == "cpu"
        is_chosen = _LEVEL in os.environ.get("XLA_FLAGS", "")
        options = None if has_sums or is_chosen or not is_cpu else {_LEVEL: 1}
        return partial(traced.lower().compile, options)

    def abstract(self, state: Any) -> TrainState:
        """Return the shapes, dtypes and shardings of a state of which the first two are known."""

        def placed(spec: PartitionSpec, part: Any) -> Any:
            sharding = self._sharding(spec)
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part
            )

        return jax.tree.map(placed, self._layout.state, state, is_leaf=_is_spec)

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self._layout.mesh, spec)

    def whole(self, tree: Any) -> Any:
        """Return arrays that any process can read all of, one after the other.

        Arrays that are sharded over several processes come as NumPy arrays, others as they are.
        """

        def readable(x: jax.Array) -> Any:
            if x.is_fully_addressable or x.is_fully_replicated:
                return x
            return np.asarray(self._gathered(x))

        with jax.transfer_guard("allow"):
            return jax.tree.map(readable, tree)

    def fetch(self, tree: Any) -> Any:
        """Return arrays on the host, in every process, however they are sharded."""
        return jax.device_get(self.whole(tree))

    def lower(
        self,
        state: TrainState,
        data: Mapping[str, jax.ShapeDtypeStruct],
        batch: Mapping[str, jax.ShapeDtypeStruct],
    ) -> Compile:
        """Trace and lower the step ahead of time, and return a function that compiles it.

        From then on, calls use what was compiled.

        Args:
          state: as `abstract` gives it.
          data: shapes and dtypes of the resident data, ``{}`` when streamed.
          batch: those of a call's batch over all processes (`put_batch`).
        """

        def placed(x: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            shape = x.shape
            if sharding is self._batch_sharding and self._mode == "pmap":
                s, k, b, *rest = shape
                devices = self._layout.mesh.size
                shape = (devices, s, k, b // devices, *rest)
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)

        abstract_data = {name: placed(x, self.replicated) for name, x in data.items()}
        abstract_batch = {name: placed(x, self._batch_sharding) for name, x in batch.items()}
        lowered = self._mapped.lower(state, abstract_data, abstract_batch)

        def compiled() -> jax.stages.Compiled:
            self._compiled = lowered.compile(compiler.options())
            return self._compiled

        return compiled

    def __call__(
        self, state: TrainState, data: Any, batch: Mapping[str, jax.Array]
    ) -> tuple[TrainState, step_lib.Metrics]:
        """Return the state after the call's train steps, and the means of their metrics.

        ``state`` is donated: its arrays are deleted. The metrics of several replicas are
        ``[replicas]``.
        """
        return (self._compiled or self._mapped)(state, data, batch)


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


def _shard_map(several: Callable[..., Any], layout: Layout) -> tuple[Any, NamedSharding]:
    mapped = jax.shard_map(
        several,
        mesh=layout.mesh,
        in_specs=(layout.state, PartitionSpec(), layout.batch),
        out_specs=(layout.state, layout.metrics),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0), NamedSharding(layout.mesh, layout.batch)


def _pmap(several: Callable[..., Any], layout: Layout) -> tuple[Any, NamedSharding]:
    mapped = jax.pmap(
        several,
        axis_name=AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=list(layout.mesh.devices.flat),
    )
    return mapped, NamedSharding(layout.mesh, PartitionSpec(AXIS))


MODES = {"shard_map": _shard_map, "pmap": _pmap}


def _stacked(x: np.ndarray, devices: int) -> np.ndarray:
    """Return ``x`` ``[s, k, b, ...]`` as ``[devices, s, k, b / devices, ...]``."""
    s, k, b = x.shape[:3]
    split = x.reshape(s, k, devices, b // devices, *x.shape[3:])
    return np.ascontiguousarray(np.moveaxis(split, 2, 0))
