"""What functions of scores rely on: guards of dtype and shape, and means over patches and batch."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


def as_scores(name: str, value: ArrayLike) -> jax.Array:
    """Return scores as float32 after guarding what a loss relies on.

    Args:
      name: what they are scores of, for the message.
      value: ``[batch]`` or ``[batch, ...]``, floating.

    Raises:
      ValueError: they are not floating or have no batch dimension.
    """
    scores = jnp.asarray(value)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(f"{name} scores have dtype {scores.dtype}; accepted: a floating dtype.")
    if scores.ndim < 1:
        raise ValueError(f"{name} scores have shape (); accepted: [batch] or [batch, ...].")
    return scores.astype(jnp.float32)


def as_pair(
    first_name: str, first: ArrayLike, second_name: str, second: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Return two arrays of scores as `as_scores` does, of which neither may be broadcast.

    Raises:
      ValueError: their shapes differ, or one is not floating or has no batch dimension.
    """
    one, other = as_scores(first_name, first), as_scores(second_name, second)
    if one.shape != other.shape:
        raise ValueError(
            f"{first_name} scores have shape {one.shape} and {second_name} scores {other.shape}; "
            "accepted: equal shapes."
        )
    return one, other


def mean_over_patches(values: jax.Array) -> jax.Array:
    """Return ``[batch, ...]`` averaged over all but the first dimension."""
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def mean_over_batch(values: jax.Array, axis_name: str | None) -> jax.Array:
    """Return ``[batch, ...]`` averaged over the global batch.

    Args:
      values: this device's share.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.
    """
    mean = jnp.mean(values, axis=0)
    return mean if axis_name is None else lax.pmean(mean, axis_name)
