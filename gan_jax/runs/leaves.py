"""The leaves of a state, by path: their records, and their way to the host and back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

PyTree = Any

# Differing leaves that a message lists.
_LISTED = 10


@dataclasses.dataclass(frozen=True)
class Leaf:
    """The record of one leaf: enough to refuse a wrong state and to find damage."""

    shape: tuple[int, ...]
    dtype: str
    generator: str | None = None  # of random keys, as `jax.random.wrap_key_data` wants it

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def is_key(value: Any) -> bool:
    """Return whether a leaf is an array of typed random keys."""
    return hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def leaf_of(value: Any) -> Leaf:
    """Return the record of a concrete or abstract leaf."""
    if isinstance(value, bool | int | float):
        value = np.asarray(value)
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(f"A leaf of the state is a {type(value).__name__}; accepted: arrays.")
    return Leaf(tuple(value.shape), str(value.dtype))


def stored_leaf(value: Any) -> Leaf:
    """Return the record of what is stored of a leaf: of random keys, their data."""
    return leaf_of(jax.eval_shape(jax.random.key_data, value) if is_key(value) else value)


def named_leaves(state: PyTree) -> dict[str, Any]:
    """Return the leaves of a state by their path, in the order of ``jax.tree.leaves``."""
    leaves: dict[str, Any] = {}
    for path, value in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "state"
        if name in leaves:
            raise TypeError(f"Two leaves of the state have the path {name!r}.")
        leaves[name] = value
    return leaves


def to_host(state: PyTree) -> tuple[dict[str, Leaf], dict[str, np.ndarray]]:
    """Return, by path, each leaf's record and its value (a key's data) in host memory."""
    data = named_leaves(state)
    records = {name: leaf_of(value) for name, value in data.items()}
    for name, value in data.items():
        if is_key(value):
            generator = str(jax.random.key_impl(value))
            records[name] = dataclasses.replace(records[name], generator=generator)
            data[name] = jax.random.key_data(value)
    return records, {name: np.asarray(value) for name, value in jax.device_get(data).items()}


def place(array: np.ndarray, abstract: Any, generator: str | None) -> Any:
    """Return a host array as the kind of leaf, and where, the abstract leaf asks for."""
    if isinstance(abstract, bool | int | float):
        return type(abstract)(array.item())
    if isinstance(abstract, np.ndarray | np.generic):
        return array
    sharding = getattr(abstract, "sharding", None)
    if sharding is None:
        placed = jax.device_put(array)
    else:
        # A key's data have axes behind those of the key, which no sharding of the key mentions.
        placed = jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
    if is_key(abstract):
        return jax.random.wrap_key_data(placed, impl=generator)
    return placed


def mismatch(directory: Path, saved: Mapping[str, Leaf], expected: Mapping[str, Leaf]) -> str:
    """Return the message that a checkpoint has other leaves than the state."""
    lines = []
    for name in {**expected, **saved}:
        found, wanted = saved.get(name, "not"), expected.get(name, "not")
        if found != wanted:
            lines.append(f"{name}: {found} in the checkpoint, {wanted} in the state")
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return (
        f"Checkpoint {directory} is of another model, {len(lines)} of its leaves differ: "
        f"{'; '.join(lines[:_LISTED])}{more}."
    )
