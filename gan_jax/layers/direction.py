"""The last layer of a discriminator whose direction is trained by an objective of its own (SAN)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class DirectionDense(nn.Module):
    """Dense layer to a score; it has two outputs, which train its kernel in different ways.

    "SAN: Inducing Metrizability of GAN with Discriminative Normalized Linear Layer", Takida et al.
    2023, 2301.12811. Of a kernel w let omega = w / ||w||, and h(x) = ||w|| x. Then

        score     = <h(x), stop(omega)> + bias
        direction = <stop(h(x)), omega>

    Both are <w, x>, but for the bias. The gradient of the score reaches x and the kernel's norm,
    that of the direction turns the kernel.

    Attributes:
      unit: whether ||w|| is left out of h, as it is with spectral normalization.
      use_bias: whether the score has a bias.
      kernel_init: initializer of the kernel [features, 1].
      dtype: of the computation and the outputs.
      param_dtype: of the parameters.
    """

    unit: bool = False
    use_bias: bool = True
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps `x` [batch, features] to scores and directions, [batch, 1] each."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], 1), self.param_dtype)
        kernel = kernel.astype(self.dtype)
        norm = jnp.linalg.norm(kernel)
        omega = kernel / norm
        h = x.astype(self.dtype) if self.unit else norm * x.astype(self.dtype)
        score = h @ lax.stop_gradient(omega)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (1,), self.param_dtype)
            score = score + bias.astype(self.dtype)
        return score, lax.stop_gradient(h) @ omega
