"""A function of examples, mapped over devices: samples, translations, features, pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gan_jax import compiler

#: The axis over which examples are sharded.
AXIS = "data"
# An axis of size 1, which networks built for sharded parameters name as well.
_FSDP = "fsdp"

# (shared, *rows [examples on this device, ...]) -> arrays [examples on this device, ...].
Function = Callable[..., Any]


def device_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """Return the mesh over which examples are sharded."""
    return jax.make_mesh(
        (len(devices), 1), (AXIS, _FSDP), axis_types=(AxisType.Auto,) * 2, devices=devices
    )


def replicate(tree: Any, sharding: NamedSharding) -> Any:
    """Return a pytree with every array on every device; each process holds the same values."""

    def placed(x: Any) -> jax.Array:
        if isinstance(x, jax.Array):
            return jax.device_put(x, sharding)
        # `jax.device_put` would ask the other processes whether they have the same values.
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, x.__getitem__)

    # JAX counts a transfer by callback as an implicit one.
    with jax.transfer_guard("allow"):
        return jax.tree.map(placed, tree)


class DeviceMap:
    """``function(shared, *rows)``, its rows sharded over devices and its result on all of them.

    Args:
      function: what to compute on one device, under the mapped axis `AXIS`; ``shared`` is any
        pytree, the same everywhere.
      batch_size: rows at a time, rounded up to a multiple of the devices.
      devices: over which rows are sharded, ``None``: the first one; all processes call alike.
      gather: whether results have a row per example, which are gathered; otherwise they have to be
        the same on every device already.

    Attributes:
      batch_size: as rounded.
    """

    def __init__(
        self,
        function: Function,
        *,
        batch_size: int,
        devices: Sequence[jax.Device] | None = None,
        gather: bool = True,
    ) -> None:
        devices = list(devices or jax.devices()[:1])
        self.batch_size = -(-batch_size // len(devices)) * len(devices)
        mesh = device_mesh(devices)
        everywhere, sharded = PartitionSpec(), PartitionSpec(AXIS)
        self._replicated = NamedSharding(mesh, everywhere)
        self._sharded = NamedSharding(mesh, sharded)

        def share(shared: Any, rows: tuple[Any, ...]) -> Any:
            found = function(shared, *rows)
            return lax.all_gather(found, AXIS, tiled=True) if gather else found

        self._mapped = jax.jit(
            jax.shard_map(
                share,
                mesh=mesh,
                in_specs=(everywhere, sharded),
                out_specs=everywhere,
                check_vma=False,
            ),
            compiler_options=compiler.options(),
        )

    def place(self, tree: Any) -> Any:
        """Return a pytree with every array on every device, as `replicate` does."""
        return replicate(tree, self._replicated)

    def __call__(self, shared: Any, *rows: Any) -> Any:
        """Return the result for one batch, ``[batch_size, ...]`` on every device.

        Args:
          shared: as `place` returns it.
          *rows: pytrees of NumPy arrays ``[n, ...]`` of at most ``batch_size`` rows, the same in
            every process, which are filled up; or of device arrays of ``batch_size`` rows.
        """

        def placed(x: Any) -> jax.Array:
            if isinstance(x, jax.Array):
                return x
            filled = np.resize(x, (self.batch_size, *x.shape[1:]))
            return jax.make_array_from_callback(filled.shape, self._sharded, filled.__getitem__)

        with jax.transfer_guard("allow"):
            return self._mapped(shared, jax.tree.map(placed, rows))

    def on_host(
        self, shared: Any, *rows: Any, advance: Callable[[int], None] = lambda done: None
    ) -> Any:
        """Return the result for any number of rows as NumPy arrays, a batch at a time.

        Args:
          shared: as `place` returns it.
          *rows: pytrees of NumPy arrays ``[n, ...]``, ``n`` above 0, the same in every process.
          advance: called with the number of rows done.
        """

        def batch(first: int) -> Any:
            chosen = jax.tree.map(lambda x: x[first : first + self.batch_size], rows)
            found = jax.device_get(self(shared, *chosen))
            advance(min(first + self.batch_size, count))
            return jax.tree.map(lambda x: x[: count - first], found)

        count = len(jax.tree.leaves(rows)[0])
        batches = [batch(first) for first in range(0, count, self.batch_size)]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
