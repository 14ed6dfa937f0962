"""Functions over some of the eight devices that the tests have."""

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

REPLICATED = P()


def sharded(function, in_specs, out_specs=REPLICATED, count=8):
    """Return a function over devices, which are the axis "data", compiled."""
    mesh = jax.make_mesh(
        (count,), ("data",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,)
    )
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
    )


def on_two_devices(module):
    """Return a network in training as a function of variables and inputs, split over two devices.

    It returns outputs and batch statistics.
    """
    shared = module.clone(axis_name="data")
    return sharded(
        lambda variables, x: shared.apply(variables, x, train=True, mutable=["batch_stats"]),
        (P(), P("data")),
        (P("data"), P()),
        count=2,
    )
