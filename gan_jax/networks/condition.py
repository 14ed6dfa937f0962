"""What a network is conditioned on: arrays `[batch, ...]` by field name, or nothing."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

Condition = Mapping[str, jax.Array] | None

LABEL = "label"
"""The field of class labels, int32 ``[batch]``."""


def required(condition: Condition, name: str) -> jax.Array:
    """Return a field of the condition.

    Raises:
      ValueError: the condition does not have it.
    """
    if condition is None or name not in condition:
        given = "nothing" if condition is None else f"{', '.join(sorted(condition)) or 'no field'}"
        raise ValueError(f"this network is conditioned on {name!r}, but was given {given}.")
    return condition[name]


def joined(*conditions: Condition) -> Condition:
    """Return the condition of several batches with the same fields as that of one batch."""
    first, *others = conditions
    if first is None:
        return None
    return jax.tree.map(lambda *x: jnp.concatenate(x), first, *others)


def with_class(x: jax.Array, labels: jax.Array, num_classes: int) -> jax.Array:
    """Return ``x`` with a one-hot plane per class: ones for the example's class, else zeros.

    Args:
      x: ``[batch, ..., channels]``.
      labels: int32 ``[batch]``.
      num_classes: number of classes.

    Returns:
      ``[batch, ..., channels + num_classes]``, of the dtype of ``x``.
    """
    one_hot = jax.nn.one_hot(labels, num_classes, dtype=x.dtype)
    one_hot = one_hot.reshape(-1, *(1,) * (x.ndim - 2), num_classes)
    planes = jnp.broadcast_to(one_hot, (*x.shape[:-1], num_classes))
    return jnp.concatenate([x, planes], axis=-1)
