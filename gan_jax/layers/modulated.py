"""Modulated convolution of StyleGAN2 (Karras et al. 2019, 1912.04958, section 2.2).

"Analyzing and Improving the Image Quality of StyleGAN". Each example scales the input channels of
the kernel by its style s, and demodulation divides each output channel by the length of its kernel:

    w'[k, i, o] = s[i] w[k, i, o],    w''[k, i, o] = w'[k, i, o] / sqrt(sum over k, i of w'^2)

Convolution is linear in the kernel, so that the examples need no kernels of their own: here the
input channels are scaled by s, convolved with w, and the output channels scaled by the reciprocal
lengths. The squared lengths are one matrix product of s^2 and the sums of w^2 over the taps.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.layers.convolution import convolve, convolve_transpose
from gan_jax.layers.equalized import EqualizedDense, equalized_scale
from gan_jax.layers.module import Module
from gan_jax.layers.resample import blur_binomial


def modulated_convolve(
    x: jax.Array,
    w: jax.Array,
    styles: jax.Array,
    *,
    demodulate: bool = True,
    upsample: bool = False,
    epsilon: float = 1e-8,
) -> jax.Array:
    """Convolve images with kernels that each example scales by its style.

    Args:
      x: images, `[batch, height, width, in]`.
      w: kernel, float32 `[size, size, in, out]`; a size of 3 where the resolution is doubled.
      styles: scales of the input channels, `[batch, in]`.
      demodulate: divide each output channel by the length of its scaled kernel: of inputs of unit
        variance that are not correlated, the outputs have unit variance.
      upsample: double the resolution: a transposed convolution of stride 2, then the binomial
        kernel 1, 3, 3, 1. Inside the image that is the convolution of `upsample_binomial(x)`.
      epsilon: added to the squared length.

    Returns:
      `[batch, height, width, out]`, or twice as high and wide, of the dtype of `x`.
    """
    scaled, kernel = x * styles.astype(x.dtype)[:, None, None], w.astype(x.dtype)
    if upsample:
        # Zeros between pixels take three quarters of the brightness.
        y = 4 * blur_binomial(convolve_transpose(scaled, kernel, (2, 2), "VALID"), 1)
    else:
        y = convolve(scaled, kernel)
    if not demodulate:
        return y
    squares = jnp.sum(jnp.square(w.astype(jnp.float32)), axis=(0, 1))
    lengths = jnp.matmul(
        jnp.square(styles.astype(jnp.float32)), squares, precision=lax.Precision.HIGHEST
    )
    return y * lax.rsqrt(lengths + epsilon).astype(x.dtype)[:, None, None]


class ModulatedConv(Module):
    """Modulated convolution, whose styles are affine in a vector of each example; without bias.

    Styles are 1 on average before training. Kernel and affine map have an equalized learning rate.

    Attributes:
      features: number of output channels.
      size: of the kernel, odd.
      demodulate: see `modulated_convolve`.
      upsample: likewise.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    size: int = 3
    demodulate: bool = True
    upsample: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, vectors: jax.Array) -> jax.Array:
        """Maps `x` [batch, h, w, in] by `vectors` [batch, n] to `features` channels."""
        styles = EqualizedDense(
            x.shape[-1],
            initial_bias=1.0,
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
            name="affine",
        )(vectors)
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, self.param_dtype)
        return modulated_convolve(
            x.astype(self.dtype),
            kernel * equalized_scale(shape),
            styles,
            demodulate=self.demodulate,
            upsample=self.upsample,
        )
