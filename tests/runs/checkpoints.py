"""States, checkpoints of them, and what is compared of both."""

from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gan_jax.runs.checkpoint import Checkpoints


class Network(NamedTuple):
    params: Any
    batch_stats: Any
    optimizer: Any
    ema: Any


class State(NamedTuple):
    step: jax.Array
    key: jax.Array
    networks: Any
    scalars: Any


def make_state(seed: int = 0, width: int = 3) -> State:
    """A state with everything in it that a training state may hold, and some that is awkward."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {
        "Dense_0": {
            "kernel": jax.random.normal(keys[0], (4, width)),
            "bias": jnp.full((width,), -0.0),
        },
        "Dense_1": {"kernel": jax.random.normal(keys[1], (width, 2), jnp.bfloat16)},
    }
    optimizer = optax.chain(optax.identity(), optax.adam(1e-3), optax.clip(1.0))
    network = Network(params, {}, optimizer.init(params), jax.tree.map(lambda x: x + 1, params))
    odd = {
        "nan": jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, 1e-42]),
        "flag": jnp.asarray(True),
        "none": None,
        "empty": (),
        "no_elements": jnp.zeros((0, 3), jnp.float16),
        "keys": jax.random.split(jax.random.key(7, impl="rbg"), 8),
        "host": np.arange(3, dtype=np.int64),
        "python": 12,
        "by_number": {10: jnp.asarray(2, jnp.uint8), 9: [jnp.asarray(3, jnp.int8)]},
    }
    return State(jnp.asarray(seed), keys[2], {"generator": network, "critic": network}, odd)


def replicated(state: Any, devices: int) -> Any:
    """Put the JAX leaves of a state on a number of devices."""
    mesh = jax.make_mesh(
        (devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
    )
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda x: jax.device_put(x, sharding) if isinstance(x, jax.Array) else x, state
    )


def abstract(state: Any) -> Any:
    return jax.tree.map(
        lambda x: (
            jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
            if isinstance(x, jax.Array)
            else x
        ),
        state,
    )


def bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    data = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return str(leaf.dtype), tuple(leaf.shape), np.asarray(data).tobytes()


def assert_identical(actual: Any, expected: Any) -> None:
    """Same structure, types, shapes, dtypes and bits."""
    chex.assert_trees_all_equal_structs(actual, expected)
    pairs = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(actual), strict=True)
    for (path, two), one in pairs:
        if isinstance(two, int):
            assert type(one) is type(two), path
            assert one == two, path
            continue
        assert isinstance(one, jax.Array) == isinstance(two, jax.Array), path
        assert bits(one) == bits(two), path


def save_steps(directory: Path, state: dict[str, jax.Array], steps: list[int], **options: Any):
    """Save a state whose leaf "step" is its step, at every step."""
    with Checkpoints(directory, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, {**state, "step": jnp.asarray(step)}, {"kimg": step / 2})


def tree_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
