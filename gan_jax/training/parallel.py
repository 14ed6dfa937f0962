"""How the per-device train step is mapped over devices; the only file that knows.

Both ways, ``shard_map`` (the default) and ``pmap``, keep the state unstacked and replicated:
checkpoints, sampling and averages never see which one ran. ``check_vma=False`` is needed: with
JAX's default, the gradient of a replicated parameter comes already summed over devices, and the
step's own mean would leave it N times too large.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gan_jax import errors
from gan_jax.training import step as step_lib
from gan_jax.training.state import TrainState
from gan_jax.training.step import AXIS

HostBatch = Mapping[str, np.ndarray]


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


class Parallel:
    """A train step mapped over devices, and the placement of what it takes.

    Args:
      train_step: the per-device step of `gan_jax.training.step.make_train_step`.
      mode: ``"shard_map"`` or ``"pmap"``.
      devices: over which the batch is split.

    Attributes:
      replicated: the sharding of the state and of resident data.
    """

    def __init__(
        self, train_step: step_lib.TrainStep, mode: str, devices: Sequence[jax.Device]
    ) -> None:
        self._devices = list(devices)
        self._local = [d for d in devices if d.process_index == jax.process_index()]
        mesh = jax.make_mesh(
            (len(self._devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=self._devices
        )
        self.replicated = NamedSharding(mesh, PartitionSpec())
        several = partial(_several_steps, train_step)
        build = errors.lookup(MODES, mode, "parallel")
        if mode == "pmap" and jax.process_count() > 1:
            raise errors.ConfigError(
                f'parallel = "pmap" with {jax.process_count()} processes; accepted: "shard_map"'
            )
        self._mode = mode
        self._mapped, self._batch_sharding = build(several, mesh, self._devices)
        self._compiled: Any = None

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
          batch: arrays ``[steps per call, batches per step, examples of this process, ...]``.
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
        """Return ``build()``, made on every device alike."""
        return jax.jit(build, out_shardings=self.replicated)()

    def abstract(self, build: Callable[[], TrainState]) -> TrainState:
        """Return the shapes, dtypes and shardings of ``build()``, computing nothing."""
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated),
            jax.eval_shape(build),
        )

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
            batch, ...]``.
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

    def __call__(self, state: TrainState, data: Any, batch: Mapping[str, jax.Array]) -> TrainState:
        """Return the state after the call's train steps; ``state`` is donated, and gone."""
        return (self._compiled or self._mapped)(state, data, batch)


def _several_steps(
    train_step: step_lib.TrainStep, state: TrainState, data: Any, batch: Any
) -> TrainState:
    """Return the state after as many train steps as ``batch`` has on its leading axis."""

    def body(state: TrainState, batch: Any) -> tuple[TrainState, tuple[()]]:
        return train_step(state, data, batch, axis_name=AXIS), ()

    return step_lib.repeat(body, state, batch)[0]


def _shard_map(several: Callable[..., Any], mesh: Mesh, devices: list[jax.Device]) -> Any:
    del devices
    spec = PartitionSpec(None, None, AXIS)
    mapped = jax.shard_map(
        several,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(), spec),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0), NamedSharding(mesh, spec)


def _pmap(several: Callable[..., Any], mesh: Mesh, devices: list[jax.Device]) -> Any:
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
