"""Layers with an equalized learning rate (Karras et al. 2017, 1710.10196, section 4.1).

"Progressive Growing of GANs for Improved Quality, Stability, and Variation". A stored kernel is
drawn from N(0, 1), whatever the size of the layer, and is multiplied by gain / sqrt(fan in), as He
initialization would scale it (1502.01852), each time that it is used. An optimizer that normalizes
gradients, such as Adam, then changes all layers at the same relative speed.

A learning-rate multiplier m (Karras et al. 2018, 1812.04948, has 0.01 in its mapping network)
slows a layer: its kernel is drawn from N(0, 1 / m^2), and kernel and bias are multiplied by m when
they are used. Fresh layers compute the same for any m; a step of Adam changes the kernel and the
bias that are used m times as much.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from gan_jax.layers.convolution import convolve
from gan_jax.layers.module import Module


def equalized_scale(
    shape: Sequence[int], gain: float = 1.0, learning_rate_multiplier: float = 1.0
) -> float:
    """Return the number that a stored kernel is multiplied by when it is used.

    Args:
      shape: of the kernel, [..., out]; the product of the other sizes is the fan in.
      gain: standard deviation of the outputs of a fresh layer for inputs of mean square 1.
      learning_rate_multiplier: of the layer, above 0.
    """
    return learning_rate_multiplier * gain / math.sqrt(math.prod(shape[:-1]))


class _Equalized(Module):
    """What the layers share.

    Attributes:
      features: number of output channels.
      gain: see `equalized_scale`; sqrt(2) keeps the mean square through a ReLU.
      learning_rate_multiplier: of kernel and bias, above 0.
      use_bias: whether a bias per output channel is added.
      initial_bias: the bias that is used before training.
      dtype: dtype of the computation; None: that of the inputs and parameters.
      param_dtype: dtype of the parameters.
    """

    features: int
    gain: float = 1.0
    learning_rate_multiplier: float = 1.0
    use_bias: bool = True
    initial_bias: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def _scaled(
        self, inputs: jax.Array, shape: Sequence[int]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Declare the parameters; return inputs, kernel and bias as they are used."""
        multiplier = self.learning_rate_multiplier
        normal = nn.initializers.normal(1.0 / multiplier)
        kernel = self.param("kernel", normal, shape, self.param_dtype)
        kernel = kernel * equalized_scale(shape, self.gain, multiplier)
        bias = jnp.zeros((self.features,), self.param_dtype)
        if self.use_bias:
            constant = nn.initializers.constant(self.initial_bias / multiplier)
            bias = multiplier * self.param("bias", constant, bias.shape, self.param_dtype)
        inputs, kernel, bias = promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        return inputs, kernel, bias


class EqualizedDense(_Equalized):
    """Dense layer with an equalized learning rate."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., in] to [..., features]."""
        x, kernel, bias = self._scaled(inputs, (inputs.shape[-1], self.features))
        return x @ kernel + bias


class EqualizedConv(_Equalized):
    """Convolution layer with an equalized learning rate, for NHWC images; see `convolve`.

    Attributes:
      kernel_size: (height, width) of the kernel.
      strides: (vertical, horizontal).
      padding: `"SAME"` or `"VALID"`.
      pool: as for `gan_jax.layers.convolution.Conv`.
      upsample: likewise.
    """

    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    pool: bool = False
    upsample: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [batch, height, width, in] to [batch, height', width', features]."""
        shape = (*self.kernel_size, inputs.shape[-1], self.features)
        x, kernel, bias = self._scaled(inputs, shape)
        y = convolve(x, kernel, self.strides, self.padding, pool=self.pool, upsample=self.upsample)
        return y + bias
