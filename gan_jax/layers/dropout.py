"""Dropout (Srivastava et al. 2014, JMLR 15) with one PRNG key per example.

Flax's dropout draws one mask for a device's batch, so that results depend on the number of devices.
Here an example has the same mask on whichever device it is computed.
"""

import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError


def check_rate(field: str, rate: object) -> None:
    """Raise a `ConfigError` unless `rate` is a number from 0 up to, but not including, 1."""
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not number or not 0 <= rate < 1:  # type: ignore[operator]
        raise ConfigError(f"{field} = {rate!r}; accepted: from 0 to below 1.")


def layer_keys(keys: jax.Array | None, layer: int) -> jax.Array | None:
    """Return the keys of one of several layers of a network.

    Args:
      keys: `[batch]` typed keys, or None.
      layer: the layer's number.

    Returns:
      `[batch]` typed keys, different for every layer; None if `keys` is.
    """
    if keys is None:
        return None
    return jax.vmap(lambda key: jax.random.fold_in(key, layer))(keys)


def dropout(x: jax.Array, keys: jax.Array | None, rate: float) -> jax.Array:
    """Set random activations to zero and scale the others up.

    Each element is kept independently with probability `1 - rate` and divided by that probability,
    so that the expectation is `x`.

    Args:
      x: activations [batch, ...], any floating dtype.
      keys: `[batch]` typed keys, one per example; None: nothing is dropped.
      rate: probability that an element is dropped, from 0 to below 1.

    Returns:
      Activations of the same shape and dtype; example `i` depends only on `keys[i]`.

    Raises:
      ConfigError: the rate is out of range.
      ValueError: the number of keys differs from the number of examples.
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
