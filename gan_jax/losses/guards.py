"""What losses rely on: guards of settings, dtypes and shapes, means and norms."""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError


def check_number(field: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` as a float if it is a finite number with ``low <= value < high``.

    Raises:
      ConfigError: it is not; the message names the field and the range.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and low <= value < high):
        bounds = "" if low == -math.inf and high == math.inf else f" in [{low:g}, {high:g})"
        raise ConfigError(f"{field} = {value!r}; accepted: a finite number{bounds}.")
    return float(value)


def floating(
    name: str, value: ArrayLike | None, rank: int = 2, accepted: str = "[batch, ...]"
) -> jax.Array:
    """Return an array after guarding that it is floating, and of that rank or more.

    Args:
      name: of the array, in the plural, for the message.
      value: the array.
      rank: the least rank.
      accepted: the shapes accepted, for the message.

    Raises:
      ValueError: there is no array, or it has another dtype or a lower rank.
    """
    if value is None:
        raise ValueError(f"{name} are needed, got None.")
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} have dtype {array.dtype}; accepted: a floating dtype.")
    if array.ndim < rank:
        raise ValueError(f"{name} have shape {array.shape}; accepted: {accepted}.")
    return array


def check_equal_shapes(
    first_name: str, first: jax.Array, second_name: str, second: jax.Array
) -> None:
    """Raise a `ValueError` unless two arrays have the same shape, so that neither is broadcast."""
    if first.shape != second.shape:
        raise ValueError(
            f"{first_name} have shape {first.shape} and {second_name} {second.shape}; accepted: "
            "equal shapes."
        )


def as_scores(name: str, value: ArrayLike) -> jax.Array:
    """Return scores ``[batch]`` or ``[batch, ...]`` as float32, after guarding what they are.

    Raises:
      ValueError: they are not floating or have no batch dimension.
    """
    scores = floating(f"{name} scores", value, 1, "[batch] or [batch, ...]")
    return scores.astype(jnp.float32)


def as_pair(
    first_name: str, first: ArrayLike, second_name: str, second: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Return two arrays of scores as `as_scores` does, of which neither may be broadcast.

    Raises:
      ValueError: their shapes differ, or one is not floating or has no batch dimension.
    """
    one, other = as_scores(first_name, first), as_scores(second_name, second)
    check_equal_shapes(f"{first_name} scores", one, f"{second_name} scores", other)
    return one, other


def mean_over_patches(values: jax.Array) -> jax.Array:
    """Return ``[batch, ...]`` averaged over all but the first dimension."""
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def global_mean(values: jax.Array, axis_name: str | None, axis: int | None = None) -> jax.Array:
    """Return ``[batch, ...]`` averaged over the global batch.

    Args:
      values: this device's share.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.
      axis: 0 to average over the batch only; None: over all dimensions.
    """
    mean = jnp.mean(values, axis=axis)
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def safe_norm(x: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Euclidean norm over ``axes`` whose gradient at 0 is 0 instead of NaN.

    The derivative of ``sqrt`` at 0 is infinite, and ``inf * 0`` poisons the gradient even where a
    single ``where`` discards the value; so the zero is also replaced *before* the root. Elsewhere
    value and gradient are exact, down to norms of about 1e-19, whose squares float32 can no longer
    hold: those count as 0.

    Args:
      x: any floating array.
      axes: the dimensions to reduce.

    Returns:
      The norms, in the dtype of ``x`` and without ``axes``.
    """
    squares = jnp.sum(jnp.square(x), axis=axes)
    is_zero = squares == 0.0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))
