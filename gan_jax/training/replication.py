"""Independent runs in one program: their states stacked, and a train step of all of them at once.

Every replica is at the same train step, which therefore stays one number: what depends on it alone
is decided once.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gan_jax import errors
from gan_jax.device_map import replicate
from gan_jax.training import parallel
from gan_jax.training.state import TrainState
from gan_jax.training.step import AXIS, Metrics, TrainStep

REPLICA_AXIS = "replica"  # The mesh axis over which the replicas are split.


def _fields(step: Any, rest: Any) -> Any:
    """Return a tree for a stacked state: one value for the step, another for every other field."""
    return TrainState(step, rest, rest, rest, rest)


class Local(NamedTuple):
    """What one process feeds: part ``share`` of ``shares`` of the batches of some replicas."""

    replicas: range
    share: int
    shares: int


@dataclasses.dataclass(frozen=True)
class Replication:
    """How several replicas are trained on some devices.

    Attributes:
      count: of replicas; with 1, states are not stacked.
      devices: in as many rows as divide both numbers; a row trains a share of the replicas, and
        splits the batch of each over its devices.
    """

    count: int
    devices: tuple[jax.Device, ...]

    def __post_init__(self):
        errors.require(self.count >= 1, "train.replicas", self.count, "1 or more")

    @property
    def rows(self) -> int:
        """Rows of devices."""
        return math.gcd(self.count, len(self.devices))

    @property
    def sharing(self) -> int:
        """Devices over which the batch of a replica is split."""
        return len(self.devices) // self.rows

    @functools.cached_property
    def layout(self) -> parallel.Layout:
        """The layout of stacked states and batches ``[steps, replicas, batches, batch, ...]``."""
        mesh = jax.make_mesh(
            (self.rows, self.sharing),
            (REPLICA_AXIS, AXIS),
            axis_types=(AxisType.Auto,) * 2,
            devices=self.devices,
        )
        own = PartitionSpec(REPLICA_AXIS)
        return parallel.Layout(
            mesh,
            axis_name=AXIS,
            state=_fields(PartitionSpec(), own),
            metrics=own,
            batch=PartitionSpec(None, REPLICA_AXIS, None, AXIS),
        )

    def init(self, build: Callable[..., TrainState], *arguments: Any) -> TrainState:
        """Return the stacked states of ``build``, whose arguments are ``[replicas]``."""
        return jax.vmap(build, out_axes=_fields(None, 0))(*arguments)

    def train_step(self, own_step: TrainStep) -> TrainStep:
        """Return a train step of all replicas of a device, given that of one."""
        axes = _fields(None, 0)

        def train_step(
            state: TrainState, data: Any, batch: Any, *, axis_name: Any = None
        ) -> tuple[TrainState, Metrics]:
            step = functools.partial(own_step, axis_name=axis_name)
            if self.count > self.rows:
                return jax.vmap(step, in_axes=(axes, None, 0), out_axes=(axes, 0))(
                    state, data, batch
                )
            # Without the map: a convolution whose kernels are mapped is slower than a plain one.
            own, metrics = step(_pick(state, 0), data, jax.tree.map(lambda x: x[0], batch))
            stacked, metrics = jax.tree.map(lambda x: x[None], (own, metrics))
            return stacked.replace(step=own.step), metrics

        return train_step

    def member(self, state: TrainState, replica: int) -> TrainState:
        """Return the state of one replica, as that of a run of its own, replicated.

        It stays on the host where ``state`` is.
        """
        if isinstance(state.step, np.ndarray):
            rest = state.replace(step=(), settings={})
            return jax.tree.map(lambda x: x[replica], rest).replace(step=state.step)
        with jax.transfer_guard("allow"):
            return self._member(state, np.int32(replica))

    @functools.cached_property
    def _member(self) -> Callable[..., TrainState]:
        return jax.jit(
            lambda state, replica: _pick(state, replica).replace(settings={}),
            out_shardings=self.layout.replicated,
        )

    def stack(self, members: Sequence[TrainState], settings: Mapping[str, Any]) -> TrainState:
        """Return the state of all replicas, given those on the host and settings ``[replicas]``."""
        sharding = NamedSharding(self.layout.mesh, PartitionSpec(REPLICA_AXIS))

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
            step=replicate(first.step, self.layout.replicated),
            key=keys(*(member.key for member in members)),
            settings={n: stacked(*map(np.asarray, x)) for n, x in settings.items()},
        )

    def local(self) -> Local:
        """Return what this process feeds; the replicas must divide over the processes."""
        me, processes = jax.process_index(), jax.process_count()
        if self.count == 1:
            return Local(range(1), me, processes)
        mine = np.vectorize(lambda d: d.process_index == me)(self.layout.mesh.devices)
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        each = self.count // len(mine)
        whole = mine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        if not whole or len(mine[0]) % len(columns):
            raise errors.ConfigError(
                f"train.replicas = {self.count} on {len(self.devices)} devices of "
                f"{processes} processes; accepted: a multiple of the devices"
            )
        return Local(
            range(int(rows[0]) * each, (int(rows[-1]) + 1) * each),
            int(columns[0]) // len(columns),
            len(mine[0]) // len(columns),
        )


def on_host(member: TrainState) -> TrainState:
    """Return the state of one replica as NumPy arrays, but for its key."""
    return jax.tree.map(np.asarray, member.replace(key=())).replace(key=member.key)


def _pick(state: TrainState, replica: Any) -> TrainState:
    own = jax.tree.map(
        lambda x: jax.lax.dynamic_index_in_dim(x, replica, keepdims=False),
        state.replace(step=()),
    )
    return own.replace(step=state.step)
