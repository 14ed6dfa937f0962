"""What a network is conditioned on, and how it finds it.

Every network is called as ``module(x, condition=None, *, keys=None, train=True)``, and a
discriminator's method ``judge`` likewise:

- ``condition`` is a dict of arrays ``[batch, ...]`` by field name (``label``, attributes, token
  ids, a blurred image ...), or ``None``. A network takes the fields that it needs and ignores the
  others; one that needs a field that is missing raises a ``ValueError`` that names it.
- ``keys`` are typed PRNG keys ``[batch]``, one per example, for noise inputs, style mixing, dropout
  and phase shuffle; ``None``: the network is deterministic.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_choice

Condition = Mapping[str, jax.Array] | None

LABEL = "label"
"""The field of class labels, int32 ``[batch]``."""

GENERATOR_CONDITIONING = ("none", "concat", "batch_norm")
"""How a generator uses the class: not, beside its latent, or by conditional batch-norm."""

DISCRIMINATOR_CONDITIONING = ("none", "concat", "projection")
"""How a discriminator uses it: not, by one-hot planes beside its input, or by projection."""


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


def check_conditioning(
    name: str, value: str, accepted: tuple[str, ...], num_classes: int | None
) -> None:
    """Raise a `ConfigError` unless the conditioning is known and the data have classes for it."""
    check_choice(name, value, accepted)
    if value != "none" and num_classes is None:
        raise ConfigError(
            f"{name} = {value!r} needs classes, but the data have no labels; accepted: 'none', or "
            "a labelled data set."
        )


def class_planes(labels: jax.Array, num_classes: int, like: jax.Array) -> jax.Array:
    """Return a one-hot plane per class: ones for the example's class, zeros for the others.

    Args:
      labels: int32 ``[batch]``.
      num_classes: number of classes.
      like: the input, ``[batch, ..., channels]``.

    Returns:
      ``[batch, ..., num_classes]``, of the dtype of ``like``.
    """
    one_hot = jax.nn.one_hot(labels, num_classes, dtype=like.dtype)
    one_hot = one_hot.reshape(-1, *(1,) * (like.ndim - 2), num_classes)
    return jnp.broadcast_to(one_hot, (*like.shape[:-1], num_classes))


def with_class(x: jax.Array, condition: Condition, num_classes: int | None) -> jax.Array:
    """Return ``x`` with the one-hot planes of its examples' classes as further channels.

    Raises:
      ValueError: the condition has no labels.
    """
    assert num_classes is not None  # Checked by `check_conditioning`.
    return jnp.concatenate([x, class_planes(required(condition, LABEL), num_classes, x)], axis=-1)
