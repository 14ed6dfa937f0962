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
    """Return ``x`` with a plane per number that describes the example's class.

    Args:
      x: ``[batch, ..., channels]``.
      labels: int32 ``[batch]``, which are described by a one-hot vector, or attributes, float32
        ``[batch, num_classes]``.
      num_classes: number of classes, or of attributes.

    Returns:
      ``[batch, ..., channels + num_classes]``, of the dtype of ``x``.
    """
    is_class = jnp.issubdtype(labels.dtype, jnp.integer)
    vectors = jax.nn.one_hot(labels, num_classes) if is_class else labels
    vectors = vectors.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2), num_classes)
    planes = jnp.broadcast_to(vectors, (*x.shape[:-1], num_classes))
    return jnp.concatenate([x, planes], axis=-1)
