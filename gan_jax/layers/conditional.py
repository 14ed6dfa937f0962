"""Normalization whose scale and bias depend on each example's class, or on a vector of it.

Conditional normalization was introduced for style transfer (Dumoulin et al. 2016, 1610.07629) and
visual question answering (de Vries et al. 2017, 1707.00683), and used in class-conditional
generators by Miyato and Koyama (2018, 1802.05637). BigGAN (Brock et al. 2018, 1809.11096) computes
scale and bias from a vector that all layers share.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.layers.module import Module
from gan_jax.layers.normalization import batch_statistics
from gan_jax.layers.spectral import SpectralDense


class ConditionalBatchNorm(Module):
    """Batch normalization with a scale and a bias for every class.

    With `x_hat` the batch-normalized activations, `y = (1 + scale[label]) * x_hat + bias[label]`.
    Both tables are initialized to zero, so that an untrained layer is plain batch normalization.
    The statistics are those of the whole batch, over all classes: the variables of `BatchNorm` in
    `batch_stats`, and its collection `moments`.

    Of an example with attributes, scale and bias are the sums of the tables' rows, weighted by its
    attributes.

    Attributes:
      num_classes: number of rows of the tables: of classes, or of attributes.
      axis_name: the mapped axis whose devices share one batch; see `BatchNorm`.
      momentum: weight of the previous running average.
      epsilon: added to the variance.
      dtype: dtype of the output; None: that of the input.
      param_dtype: dtype of the tables `scale` and `bias`, both [num_classes, channels].
    """

    num_classes: int
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, labels: jax.Array, train: bool) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels], each example by its class.

        Args:
          inputs: activations, any floating dtype.
          labels: integers [batch], from 0 to `num_classes` - 1; an example whose label is not below
            `num_classes` becomes NaN. Or attributes, floats [batch, num_classes].
          train: as for `BatchNorm`.

        Returns:
          Activations of the same shape, of dtype `dtype`.

        Raises:
          ValueError: the labels are neither integers, one per example, nor attributes.
        """
        is_class = jnp.issubdtype(labels.dtype, jnp.integer)
        count = inputs.shape[0]
        if labels.shape != ((count,) if is_class else (count, self.num_classes)):
            raise ValueError(
                f"labels of shape {labels.shape} and dtype {labels.dtype} for inputs "
                f"{inputs.shape}; accepted: integers of shape {(count,)}, or floats of shape "
                f"{(count, self.num_classes)}"
            )
        table = (self.num_classes, inputs.shape[-1])
        scales = self.param("scale", nn.initializers.zeros, table, self.param_dtype)
        biases = self.param("bias", nn.initializers.zeros, table, self.param_dtype)
        scale, bias = (
            jnp.take(rows.astype(jnp.float32), labels, axis=0, mode="fill")
            if is_class
            else labels @ rows.astype(jnp.float32)
            for rows in (scales, biases)
        )
        return _normalized(self, inputs, scale, bias, train)


class LinearBatchNorm(nn.Module):
    """Batch normalization with a scale and a bias that are linear in a vector of each example.

    With `x_hat` the batch-normalized activations and `c` the vector, `y = (1 + A c) * x_hat + B c`:
    of a vector of zeros this is plain batch normalization. `A` and `B` have orthonormal rows or
    columns at first, and are spectrally normalized.

    Attributes:
      axis_name: the mapped axis whose devices share one batch; see `BatchNorm`.
      momentum: weight of the previous running average.
      epsilon: added to the variance.
      dtype: dtype of the output; None: that of the input.
      param_dtype: dtype of the kernels of `scale` and `bias`, both [length, channels].
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, vectors: jax.Array, train: bool) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels], each example by its vector.

        Args:
          inputs: activations, any floating dtype.
          vectors: [batch, length], any floating dtype.
          train: as for `BatchNorm`, and as for `SpectralDense`.

        Returns:
          Activations of the same shape, of dtype `dtype`.
        """
        scale, bias = (
            SpectralDense(
                inputs.shape[-1],
                use_bias=False,
                kernel_init=nn.initializers.orthogonal(),
                dtype=jnp.float32,
                param_dtype=self.param_dtype,
                train=train,
                name=name,
            )(vectors)
            for name in ("scale", "bias")
        )
        return _normalized(self, inputs, scale, bias, train)


def _normalized(
    module: ConditionalBatchNorm | LinearBatchNorm,
    inputs: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    train: bool,
) -> jax.Array:
    """Return the inputs of a layer, normalized, times 1 + scale, plus bias, [batch, channels]."""
    x = inputs.astype(jnp.float32)
    mean, var = batch_statistics(module, x, train, module.axis_name, module.momentum)
    # Combined per example and channel first: one multiplication and addition per element.
    multiplier = (1.0 + scale) * lax.rsqrt(var + module.epsilon)
    shift = bias - mean * multiplier
    per_example = (scale.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    y = x * multiplier.reshape(per_example) + shift.reshape(per_example)
    return y.astype(module.dtype or inputs.dtype)
