"""Random draws: a pure function of (seed, train step, use, example), on any number of devices.

The root key never advances. The draws of one example (its latent, its interpolation weight, whether
it is flipped) use a key made from the example's index in the *global* batch, so they do not depend
on the number of devices, also when a run is resumed.
"""

import zlib

import jax
import jax.numpy as jnp
from jax import lax


def named(key: jax.Array, name: str) -> jax.Array:
    """Return the key of one use of randomness, which is identified by its name."""
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


def latents(keys: jax.Array, size: int) -> jax.Array:
    """Return standard normal latents, float32 ``[len(keys), size]``, row ``i`` from ``keys[i]``."""
    return jax.vmap(lambda key: jax.random.normal(key, (size,), jnp.float32))(keys)


def truncate(z: jax.Array, limit: float | jax.Array) -> jax.Array:
    """Map normal entries to entries of the normal distribution truncated to ``[-limit, limit]``.

    The truncation trick (BigGAN, Brock et al. 2018, https://arxiv.org/abs/1809.11096). An entry is
    mapped to the entry of the same quantile, so that a latent changes continuously with the limit,
    and the result is what `jax.random.truncated_normal` draws from the same key, up to rounding.

    Args:
      z: standard normal, float32 of any shape.
      limit: above 0, a scalar.

    Returns:
      float32 of the same shape.
    """
    root = jnp.sqrt(jnp.float32(2.0))
    limit = jnp.asarray(limit, jnp.float32)
    quantile = jax.lax.erf(z / root) * jax.lax.erf(limit / root)
    return jnp.clip(root * jax.lax.erf_inv(quantile), -limit, limit)
