"""Batch normalization (Ioffe and Szegedy 2015, 1502.03167) and layer normalization (Ba et al. 2016,
1607.06450) of NHWC images and of vectors.

Statistics and the arithmetic of normalizing are float32 whatever the compute dtype: the variance of
many bfloat16 numbers, summed in bfloat16, is wrong in the second digit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class BatchNorm(nn.Module):
    """Batch normalization over every axis but the last, synchronized between devices.

    Same variables as `flax.linen.BatchNorm` (`params`: scale, bias; `batch_stats`: mean, var), same
    numbers, and it runs under strict dtype promotion.

    Whoever makes the collection `moments` mutable gets the batch's mean and mean of squares there:
    of several batches together, their means are the moments (see `with_moments`).

    Attributes:
      axis_name: the mapped axis whose devices share one batch; statistics are then those of the
        whole batch, so that N devices compute what one does. None: this device's batch alone.
      momentum: weight of the old running average. 0.9, as PyTorch's default (0.1 for the new): the
        running statistics follow a generator that changes every step (half forgotten in 7 steps);
        0.99, TensorFlow's, lags by hundreds of steps.
      epsilon: added to the variance; 1e-5 as in the original WGAN-GP and DCGAN code.
      scale_init: initializer of the scale (DCGAN draws it from N(1, 0.02)).
      dtype: of the output; None keeps the input's.
      param_dtype: of scale and bias. The running statistics are always float32.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Callable[..., Any] = nn.initializers.ones
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels].

        Args:
          inputs: activations, any floating dtype.
          train: True uses the batch's statistics, and updates the running ones where the collection
            `batch_stats` is mutable; False uses the running ones.

        Returns:
          Activations of the same shape, of dtype `dtype`.
        """
        channels = inputs.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        x = inputs.astype(jnp.float32)
        if train:
            mean, mean_of_squares = self._batch_moments(x)
            var = jnp.maximum(mean_of_squares - jnp.square(mean), 0.0)
            if not self.is_initializing():
                for name, moment in (("mean", mean), ("mean_of_squares", mean_of_squares)):
                    self.sow("moments", name, moment, reduce_fn=_latest, init_fn=lambda: None)
            if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
                new = 1.0 - self.momentum
                running_mean.value = self.momentum * running_mean.value + new * mean
                running_var.value = self.momentum * running_var.value + new * var
        else:
            mean, var = running_mean.value, running_var.value
        # One multiply and one add per element; the rest is per channel.
        multiplier = scale.astype(jnp.float32) * lax.rsqrt(var + self.epsilon)
        y = x * multiplier + (bias.astype(jnp.float32) - mean * multiplier)
        return y.astype(self.dtype or inputs.dtype)

    def _batch_moments(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return mean and mean of squares [channels] of the whole batch."""
        axes = tuple(range(x.ndim - 1))
        # E[x^2] - E[x]^2 reads the activations once and needs one collective; the mean of all
        # devices' variances would be wrong, for it leaves out the spread of their means.
        moments = jnp.stack([jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)])
        # Variables are initialized outside the mapped function, where the axis does not exist.
        if self.axis_name is not None and not self.is_initializing():
            moments = lax.pmean(moments, self.axis_name)
        mean, mean_of_squares = moments
        return mean, mean_of_squares


def with_moments(batch_stats: Mapping[str, Any], moments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns running statistics that are replaced by those that `moments` tell.

    Args:
      batch_stats: a network's collection of running statistics.
      moments: its collection `moments`, of one batch or the mean over several.

    Returns:
      `batch_stats` with `mean` and (biased) `var` of every layer that `moments` knows.
    """
    result: dict[str, Any] = {}
    for name, old in batch_stats.items():
        new = moments.get(name)
        if new is None or not isinstance(old, Mapping):
            result[name] = old
        elif "mean_of_squares" in new:
            var = new["mean_of_squares"] - jnp.square(new["mean"])
            result[name] = {"mean": new["mean"], "var": jnp.maximum(var, 0.0)}
        else:
            result[name] = with_moments(old, new)
    return result


def _latest(old: Any, new: jax.Array) -> jax.Array:
    del old
    return new


class LayerNorm(nn.Module):
    """Layer normalization: each example by itself, over all its pixels and channels.

    Scale and bias are per channel. Examples stay independent, which the gradient penalty of WGAN-GP
    requires of a critic (section 4 of 1704.00028).

    Attributes:
      epsilon: added to the variance.
      dtype: of the output; None keeps the input's.
      param_dtype: of scale and bias.
    """

    epsilon: float = 1e-5
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels] to the same shape, of dtype `dtype`."""
        channels = inputs.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        x = inputs.astype(jnp.float32)
        axes = tuple(range(1, x.ndim))
        centered = x - jnp.mean(x, axes, keepdims=True)
        var = jnp.mean(jnp.square(centered), axes, keepdims=True)
        y = centered * lax.rsqrt(var + self.epsilon)
        y = y * scale.astype(jnp.float32) + bias.astype(jnp.float32)
        return y.astype(self.dtype or inputs.dtype)
