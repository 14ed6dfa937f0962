"""Parameters, optimizer state and averages in parts: each device keeps a share of every large one.

Every array of at least `FSDP.min_size` numbers is cut along one of its dimensions over the mapped
axis ``fsdp`` (Rajbhandari 2019, 1910.02054, stage 3). The batch is split over all devices as ever.
A player's turn gathers the parameters, computes its gradient on whole ones, and sums the gradients
so that each device gets the part that it keeps; optimizers work on the parts alone. What is cut how
follows from an array's shape alone, so that moments and averages are cut like their parameters.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from gan_jax import errors
from gan_jax.training.state import NetworkState, TrainState

AXIS = "fsdp"  # The mapped axis; the batch is split over it too.
WHOLE = -1  # In place of a dimension: the array is on every device, whole.
Dims = Any  # A pytree of a network's parameters, with a dimension or `WHOLE` for each.


@dataclasses.dataclass(frozen=True)
class FSDP:
    """How the state is cut.

    Attributes:
      devices: that share one copy of the state; 1: it is on every device, whole.
      min_size: smaller arrays stay whole on every device.
    """

    devices: int = 1
    min_size: int = 2**14

    def __post_init__(self):
        for name, value in (("devices", self.devices), ("min_size", self.min_size)):
            if value < 1:
                raise errors.ConfigError(f"fsdp.{name} = {value}; accepted: 1 or more")

    @property
    def enabled(self) -> bool:
        """Whether anything is cut."""
        return self.devices > 1

    def dim(self, shape: tuple[int, ...]) -> int:
        """Return the dimension that an array is cut along: the longest that divides, or `WHOLE`."""
        fitting = [d for d, size in enumerate(shape) if size and size % self.devices == 0]
        if not self.enabled or not fitting or math.prod(shape) < self.min_size:
            return WHOLE
        return max(fitting, key=lambda d: (shape[d], d))

    def dims(self, params: Any) -> Dims:
        """Return how each of a network's parameters, or their shapes, is cut."""
        return jax.tree.map(lambda x: self.dim(x.shape), params)

    def specs(self, state: TrainState) -> TrainState:
        """Return the partition of every leaf of a state, given its shapes."""

        def cut(tree: Any) -> Any:
            return jax.tree.map(lambda x: _spec(self.dim(x.shape)), tree)

        def whole(tree: Any) -> Any:
            return jax.tree.map(lambda _: PartitionSpec(), tree)

        def network(own: NetworkState) -> NetworkState:
            ema = own.ema
            if ema is not None:
                ema = {name: (cut if name == "params" else whole)(x) for name, x in ema.items()}
            return own.replace(
                params=cut(own.params),
                mutable=whole(own.mutable),
                opt_state=cut(own.opt_state),
                ema=ema,
            )

        networks = {name: network(own) for name, own in state.networks.items()}
        return whole(state.replace(networks={})).replace(networks=networks)


def _spec(dim: int) -> PartitionSpec:
    return PartitionSpec() if dim == WHOLE else PartitionSpec(*[None] * dim, AXIS)


def gather(params: Any, dims: Dims) -> Any:
    """Return parameters whole, of this device's parts. Inside the map, as all of the following."""
    return jax.tree.map(
        lambda x, dim: x if dim == WHOLE else lax.all_gather(x, AXIS, axis=dim, tiled=True),
        params,
        dims,
    )


def part(params: Any, dims: Dims) -> Any:
    """Return this device's parts of whole parameters."""

    def own(x: jax.Array, dim: int) -> jax.Array:
        if dim == WHOLE:
            return x
        size = x.shape[dim] // lax.axis_size(AXIS)
        return lax.dynamic_slice_in_dim(x, lax.axis_index(AXIS) * size, size, dim)

    return jax.tree.map(own, params, dims)


def mean_part(gradients: Any, dims: Dims, others: str) -> Any:
    """Return this device's parts of the gradients' mean over all devices.

    Args:
      gradients: of this device's share of the batch, whole.
      dims: how they are cut.
      others: the axis of the devices that keep copies.
    """

    def mean(x: jax.Array, dim: int) -> jax.Array:
        if dim == WHOLE:
            return lax.pmean(x, (others, AXIS))
        total = lax.psum_scatter(x, AXIS, scatter_dimension=dim, tiled=True)
        return lax.pmean(total / lax.axis_size(AXIS), others)

    return jax.tree.map(mean, gradients, dims)


def norm(gradients: Any, dims: Dims) -> jax.Array:
    """Return the L2 norm of all numbers in ``gradients``, of which this device has its parts."""
    cut, whole = jnp.float32(0), jnp.float32(0)
    for x, dim in zip(jax.tree.leaves(gradients), jax.tree.leaves(dims), strict=True):
        square = jnp.sum(jnp.square(x))
        if dim == WHOLE:
            whole += square
        else:
            cut += square
    return jnp.sqrt(lax.psum(cut, AXIS) + whole)
