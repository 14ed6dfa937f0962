"""Weight normalization (Salimans and Kingma 2016, 1602.07868): length and direction of kernels.

The kernel of an output channel is used as ``scale * kernel / |kernel|``, with the norm over all its
entries. A scale starts as the kernel's norm, so that fresh layers compute what those without
normalization do.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv, ConvTranspose


def _norms(kernel: jax.Array) -> jax.Array:
    """Return the norm of each output channel's kernel, ``[out]``."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=range(kernel.ndim - 1)) + 1e-12)


class _Normalized:
    """Makes a layer's kernel normalized, with the further parameter ``scale`` ``[out]``."""

    def param(self, name: str, init: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Declare a parameter, and return its value as the layer uses it."""
        value = super().param(name, init, *args, **options)  # type: ignore[misc]
        if name != "kernel":
            return value
        scale = super().param("scale", lambda key: _norms(value))  # type: ignore[misc]
        return value * (scale / _norms(value))


class WeightConv(_Normalized, Conv):  # type: ignore[misc]
    """`Conv` with normalized weights."""


class WeightConvTranspose(_Normalized, ConvTranspose):  # type: ignore[misc]
    """`ConvTranspose` with normalized weights."""
