"""Dropout (Srivastava et al. 2014, JMLR 15) that draws each example's mask from a key of its own.

Flax's dropout draws one mask for the batch that a device sees, which then depends on how many
devices there are. Here example `i` has the same mask wherever it is computed.
"""

import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError


def check_rate(field: str, rate: object) -> None:
    """Raise a `ConfigError` unless `rate` is a number from 0 up to, but not including, 1."""
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not number or not 0 <= rate < 1:  # type: ignore[operator]
        raise ConfigError(f"{field} = {rate!r} cannot work; accepted: from 0 to below 1.")


def layer_keys(keys: jax.Array | None, layer: int) -> jax.Array | None:
    """Return the keys of one of several layers that draw of the same examples.

    Args:
      keys: `[batch]` typed keys, or None.
      layer: the layer's number.

    Returns:
      `[batch]` typed keys that no other layer has; None if there are none.
    """
    if keys is None:
        return None
    return jax.vmap(lambda key: jax.random.fold_in(key, layer))(keys)


def dropout(x: jax.Array, keys: jax.Array | None, rate: float) -> jax.Array:
    """Return activations with some set to zero, and the others so much larger as makes up for it.

    Each number stays with probability `1 - rate`, on its own, and is divided by that probability:
    the expectation is `x`.

    Args:
      x: activations [batch, ...], any floating dtype.
      keys: `[batch]` typed keys, one per example; None: nothing is dropped.
      rate: probability that a number is dropped, from 0 to below 1; 0: nothing is.

    Returns:
      Activations of the same shape and dtype; example `i` depends on `keys[i]` alone.

    Raises:
      ConfigError: the rate is none.
      ValueError: there is not one key per example.
    """
    check_rate("rate", rate)
    if keys is None or rate == 0:
        return x
    if keys.shape != x.shape[:1]:
        raise ValueError(
            f"keys of shape {keys.shape} for activations {x.shape}; accepted: {x.shape[:1]}"
        )
    kept = 1.0 - rate
    stays = jax.vmap(lambda key: jax.random.bernoulli(key, kept, x.shape[1:]))(keys)
    return jnp.where(stays, x / kept, jnp.zeros((), x.dtype))
