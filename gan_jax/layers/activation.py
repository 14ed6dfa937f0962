"""Activations that have parameters."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class PReLU(nn.Module):
    """LeakyReLU with a learned slope for negative inputs, one per channel.

    "Delving Deep into Rectifiers", He et al. 2015, 1502.01852, equation 1, with the paper's initial
    slope of 0.25.

    Attributes:
      dtype: dtype of the output; None: that of the input.
      param_dtype: dtype of the slopes.
    """

    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., channels] to activations of the same shape."""
        initial = nn.initializers.constant(0.25)
        slope = self.param("slope", initial, inputs.shape[-1:], self.param_dtype)
        x = inputs.astype(self.dtype or inputs.dtype)
        return jnp.where(x >= 0, x, x * slope.astype(x.dtype))
