"""Fully sharded data parallelism: each device keeps a shard of parameters, moments and averages.

Every array of at least `FSDP.min_size` numbers is sharded along one dimension over the mapped axis
``fsdp`` (Rajbhandari 2019, 1910.02054). The batch is split over all devices as without it, and the
train step is written for whole parameters: a wrapper gathers these before a step and keeps this
device's shards after it. Wrapped optimizers update this device's shards of the moments and gather
the updates; a wrapped moving average follows this device's shards of the parameters. The shape of
an array alone decides how it is sharded: moments and averages are sharded like their parameters.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import optax
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from gan_jax import errors
from gan_jax.training import step
from gan_jax.training.ema import EMA
from gan_jax.training.optimizers import Optimizer
from gan_jax.training.parallel import Layout
from gan_jax.training.state import NetworkState, TrainState
from gan_jax.training.step import TrainStep

AXIS = "fsdp"  # The mesh axis over which arrays are sharded.
AXES = (step.AXIS, AXIS)  # The mesh axes over which the batch is split.
WHOLE = -1  # In place of a dimension: the array is replicated on every device.
Dims = Any  # A pytree with the dimension that an array is sharded along, or `WHOLE`, for each.


@dataclasses.dataclass(frozen=True)
class FSDP:
    """How the state is sharded.

    Attributes:
      devices: the number that share one copy of the state; 1: every device has a whole copy.
      min_size: smaller arrays are replicated on every device.
    """

    devices: int = 1
    min_size: int = 2**14

    def __post_init__(self):
        for name, value in (("devices", self.devices), ("min_size", self.min_size)):
            errors.require(value >= 1, f"fsdp.{name}", value, "1 or more")

    @property
    def enabled(self) -> bool:
        """Whether anything is sharded."""
        return self.devices > 1

    @property
    def batch_axes(self) -> Any:
        """The mapped axis over which the batch is split: a name, or a tuple of several."""
        return AXES if self.enabled else step.AXIS

    def dim(self, shape: tuple[int, ...]) -> int:
        """Return the dimension to shard an array along: the longest that divides, or `WHOLE`."""
        fitting = [d for d, size in enumerate(shape) if size and size % self.devices == 0]
        if not self.enabled or not fitting or math.prod(shape) < self.min_size:
            return WHOLE
        return max(fitting, key=lambda d: (shape[d], d))

    def dims(self, params: Any) -> Dims:
        """Return the dimension to shard each array, or each shape, of a tree along."""
        return jax.tree.map(lambda x: self.dim(x.shape), params)

    def _specs(self, state: TrainState) -> TrainState:
        """Return the partition of every leaf of a state, given its shapes."""

        def sharded(tree: Any) -> Any:
            return jax.tree.map(lambda x: _spec(self.dim(x.shape)), tree)

        def whole(tree: Any) -> Any:
            return jax.tree.map(lambda _: PartitionSpec(), tree)

        def network(own: NetworkState) -> NetworkState:
            ema = own.ema
            if ema is not None:
                ema = {n: (sharded if n == "params" else whole)(x) for n, x in ema.items()}
            return own.replace(
                params=sharded(own.params),
                mutable=whole(own.mutable),
                opt_state=sharded(own.opt_state),
                ema=ema,
            )

        networks = {name: network(own) for name, own in state.networks.items()}
        return whole(state.replace(networks={})).replace(networks=networks)

    def layout(self, devices: Sequence[jax.Device], state: TrainState) -> Layout:
        """Return the layout of a state, given its shapes; the batch is split over all devices."""
        mesh = jax.make_mesh(
            (len(devices) // self.devices, self.devices),
            AXES,
            axis_types=(AxisType.Auto,) * 2,
            devices=devices,
        )
        batch = PartitionSpec(None, None, AXES)
        return Layout(mesh, AXES, self._specs(state), PartitionSpec(), batch)

    def shard(self, tree: Any) -> Any:
        """Return this device's shards of whole arrays. Inside the map, as the following."""

        def own(x: jax.Array, dim: int) -> jax.Array:
            if dim == WHOLE:
                return x
            size = x.shape[dim] // self.devices
            return lax.dynamic_slice_in_dim(x, lax.axis_index(AXIS) * size, size, dim)

        return jax.tree.map(own, tree, self.dims(tree))

    def train_step(self, whole_step: TrainStep, state: TrainState) -> TrainStep:
        """Return a train step that keeps shards of the parameters between two steps.

        ``whole_step`` is that of whole parameters, whose shapes are in ``state``, with optimizers
        and an average that are wrapped by `optimizer` and `ema`.
        """
        dims = {name: self.dims(network.params) for name, network in state.networks.items()}

        def train_step(
            state: TrainState, data: Any, batch: Any, *, axis_name: Any = None
        ) -> tuple[TrainState, Any]:
            whole = {
                name: network.replace(params=_gather(network.params, dims[name]))
                for name, network in state.networks.items()
            }
            state, metrics = whole_step(
                state.replace(networks=whole), data, batch, axis_name=axis_name
            )
            shards = {
                name: network.replace(params=self.shard(network.params))
                for name, network in state.networks.items()
            }
            return state.replace(networks=shards), metrics

        return train_step

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return an optimizer of whole parameters whose state is sharded."""
        inner = optimizer.transformation

        def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            updates, state = inner.update(self.shard(gradients), state, self.shard(params))
            return _gather(updates, self.dims(gradients)), state

        wrapped = optax.GradientTransformation(inner.init, update)
        return dataclasses.replace(optimizer, transformation=wrapped)

    def ema(self, ema: EMA) -> EMA:
        """Return a moving average that follows this device's shard of whole parameters."""
        return _ShardedEMA(ema.half_life, ema.ramp_up, ema.start, fsdp=self)


@dataclasses.dataclass(frozen=True)
class _ShardedEMA(EMA):
    fsdp: FSDP = dataclasses.field(default_factory=FSDP)

    def update(self, average: Any, current: Any, decay: jax.Array) -> Any:
        shards = {**current, "params": self.fsdp.shard(current["params"])}
        return super().update(average, shards, decay)


def _spec(dim: int) -> PartitionSpec:
    return PartitionSpec() if dim == WHOLE else PartitionSpec(*[None] * dim, AXIS)


def _gather(shards: Any, dims: Dims) -> Any:
    """Return whole arrays, given every device's shards of them."""
    return jax.tree.map(
        lambda x, dim: x if dim == WHOLE else lax.all_gather(x, AXIS, axis=dim, tiled=True),
        shards,
        dims,
    )
