"""Orthogonal regularisation of kernels, in the form of BigGAN.

"Large Scale GAN Training for High Fidelity Natural Image Synthesis", Brock et al. 2018,
https://arxiv.org/abs/1809.11096, equation 3.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


@jax.jit
def off_diagonal(kernel: ArrayLike) -> jax.Array:
    """Sum of the squared inner products of different filters: ``|| W W^T * (1 - I) ||_F^2``.

    The rows of ``W`` are the filters, of all taps and input channels. Their lengths are free, in
    contrast to ``|| W W^T - I ||_F^2``. The gradient is ``4 (W W^T * (1 - I)) W``. The authors'
    PyTorch program adds ``2 (W W^T * (1 - I)) W``: a weight of it is half that weight here.

    Args:
      kernel: ``[..., in, out]``, floating, of rank 2 or more: a filter per output.

    Returns:
      A float32 scalar; 0 if all filters are orthogonal.

    Raises:
      ValueError: the kernel has rank 1 or 0.
    """
    kernel = jnp.asarray(kernel, jnp.float32)
    if kernel.ndim < 2:
        raise ValueError(f"a kernel of shape {kernel.shape}; accepted: [..., in, out]")
    filters = kernel.reshape(-1, kernel.shape[-1])
    rest, out = filters.shape
    if out <= rest:
        products = jnp.matmul(filters.T, filters, precision=lax.Precision.HIGHEST)
        return jnp.sum(jnp.square(products * (1.0 - jnp.eye(out))))
    # The sum of all squares is that of the smaller matrix W^T W. A generator's first layer has
    # 24,576 outputs of 20 inputs in the paper.
    products = jnp.matmul(filters, filters.T, precision=lax.Precision.HIGHEST)
    lengths = jnp.sum(jnp.square(filters), axis=0)
    return jnp.sum(jnp.square(products)) - jnp.sum(jnp.square(lengths))
