"""Random draws: a pure function of (seed, train step, use, example), on any number of devices.

The root key never advances. Whatever belongs to one example (its latent, its interpolation weight,
whether it is flipped) is drawn from a key of its own, made from the example's index in the *global*
batch: so a run gives the same draws on one device and on many, and goes on with them when it is
resumed on another number.
"""

import zlib

import jax
import jax.numpy as jnp
from jax import lax


def named(key: jax.Array, name: str) -> jax.Array:
    """Return the key of one use of randomness, told apart by its name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def example_keys(
    key: jax.Array,
    count: int,
    axis_name: str | None = None,
    *,
    first: jax.Array | int = 0,
    share: int | None = None,
) -> jax.Array:
    """Return one key per example of this device's share of the batch.

    Args:
      key: the key of this use.
      count: examples on this device.
      axis_name: the mapped axis over which the batch is split; ``None``: this is the whole batch.
      first: where the examples begin in this device's share.
      share: examples in this device's share; ``None``: these.

    Returns:
      ``[count]`` keys; example ``i`` of the global batch has the same key however it is split.
    """
    if axis_name is not None:
        first = first + lax.axis_index(axis_name) * (count if share is None else share)
    index = jnp.arange(count, dtype=jnp.int32) + first
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def latents(keys: jax.Array, size: int, truncation: float | None = None) -> jax.Array:
    """Return standard normal latents, float32 ``[len(keys), size]``, row ``i`` from ``keys[i]``.

    Args:
      keys: one per row.
      size: of one latent.
      truncation: the normal is restricted to within so much of zero; ``None``: it is whole.
    """
    if truncation is None:
        return jax.vmap(lambda key: jax.random.normal(key, (size,), jnp.float32))(keys)
    return jax.vmap(
        lambda key: jax.random.truncated_normal(key, -truncation, truncation, (size,), jnp.float32)
    )(keys)
