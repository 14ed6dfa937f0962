"""Normalization of activations, [batch, ..., channels], of images and vectors alike.

Batch normalization (Ioffe and Szegedy 2015, 1502.03167) depends on the whole batch. Layer
normalization (Ba et al. 2016, 1607.06450), instance, group, pixel and local response normalization
depend on one example alone: a critic with a gradient penalty may have those.

Statistics and the arithmetic of normalizing are float32 whatever the compute dtype: the variance of
many bfloat16 numbers, summed in bfloat16, is wrong in the second digit.
"""

import functools
import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError, lookup
from gan_jax.layers.module import Module


class BatchNorm(Module):
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
        x = inputs.astype(jnp.float32)
        mean, var = batch_statistics(self, x, train, self.axis_name, self.momentum)
        # One multiply and one add per element; the rest is per channel.
        multiplier = scale.astype(jnp.float32) * lax.rsqrt(var + self.epsilon)
        y = x * multiplier + (bias.astype(jnp.float32) - mean * multiplier)
        return y.astype(self.dtype or inputs.dtype)


def batch_statistics(
    module: nn.Module, x: jax.Array, train: bool, axis_name: str | None, momentum: float
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and variance that a batch-norm layer normalizes by, and keeps running ones.

    What every layer of batch normalization shares, whatever it does with scale and bias. It has a
    side effect on `module`: the variables `mean` and `var` in its collection `batch_stats`, and,
    in train mode, the batch's moments in `moments`, where these collections are mutable.

    Args:
      module: the layer, inside its compact `__call__`.
      x: float32 activations [batch, ..., channels].
      train: True takes the batch's statistics, and updates the running ones; False the running.
      axis_name: the mapped axis whose devices share one batch, or None.
      momentum: weight of the old running average.

    Returns:
      `(mean, var)`, both float32 [channels]; the variance is biased, and not below 0.
    """
    shape = (x.shape[-1],)
    running_mean = module.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
    running_var = module.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
    if not train:
        return running_mean.value, running_var.value
    # Variables are initialized outside the mapped function, where the axis does not exist.
    initializing = module.is_initializing()
    mean, mean_of_squares = _batch_moments(x, None if initializing else axis_name)
    var = jnp.maximum(mean_of_squares - jnp.square(mean), 0.0)
    if not initializing:
        for name, moment in (("mean", mean), ("mean_of_squares", mean_of_squares)):
            module.sow("moments", name, moment, reduce_fn=_latest, init_fn=lambda: None)
    if not initializing and module.is_mutable_collection("batch_stats"):
        new = 1.0 - momentum
        running_mean.value = momentum * running_mean.value + new * mean
        running_var.value = momentum * running_var.value + new * var
    return mean, var


def _batch_moments(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Return mean and mean of squares [channels] of the whole batch."""
    axes = tuple(range(x.ndim - 1))
    # E[x^2] - E[x]^2 reads the activations once and needs one collective; the mean of all
    # devices' variances would be wrong, for it leaves out the spread of their means.
    moments = jnp.stack([jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)])
    if axis_name is not None:
        moments = lax.pmean(moments, axis_name)
    mean, mean_of_squares = moments
    return mean, mean_of_squares


def with_moments(batch_stats: Mapping[str, Any], moments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns running statistics replaced by those in `moments`.

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


class GroupNorm(Module):
    """Group normalization: each group of neighbouring channels of each example, over the pixels.

    "Group Normalization", Wu and He 2018, 1803.08494. Scale and bias are per channel.

    Attributes:
      groups: number of groups of equal size; None: one for each channel.
      scale_init: initializer of the scale.
      dtype: of the output; None keeps the input's.
      param_dtype: of scale and bias.
    """

    groups: int | None
    scale_init: Callable[..., Any] = nn.initializers.ones
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels] to the same shape, of dtype `dtype`.

        Raises:
          ConfigError: the channels cannot be divided into that number of groups of equal size.
          ValueError: a group has one number only, which would become 0.
        """
        channels = inputs.shape[-1]
        groups = channels if self.groups is None else self.groups
        if groups < 1 or channels % groups:
            raise ConfigError(
                f"groups = {groups} for {channels} channels; accepted: a divisor of {channels}."
            )
        if math.prod(inputs.shape[1:]) < 2 * groups:
            raise ValueError(
                f"activations of shape {inputs.shape} have fewer than two numbers in each of the "
                f"{groups} groups that are normalized: all would become 0; accepted: two or more"
            )
        scale = self.param("scale", self.scale_init, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        y = _in_groups(inputs.astype(jnp.float32), scale, bias, groups)
        return y.astype(self.dtype or inputs.dtype)


@functools.partial(jax.jit, static_argnums=3)
def _in_groups(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int) -> jax.Array:
    """Normalize float32 activations [batch, ..., channels] within groups of channels."""
    shape = x.shape
    x = x.reshape(*shape[:-1], groups, -1)
    axes = (*range(1, x.ndim - 2), x.ndim - 1)
    # Statistics are [batch, groups]: with axes of length 1 in them, XLA takes the forward pass of a
    # gradient for another computation than the same pass alone, and would not share it.
    centered = x - jnp.expand_dims(jnp.mean(x, axes), axes)
    var = jnp.mean(jnp.square(centered), axes)
    y = (centered * jnp.expand_dims(lax.rsqrt(var + 1e-5), axes)).reshape(shape)
    return y * scale.astype(jnp.float32) + bias.astype(jnp.float32)


class LayerNorm(GroupNorm):
    """Layer normalization: each example by itself, over all its pixels and channels.

    Examples stay independent, which the gradient penalty of WGAN-GP requires of a critic (section 4
    of 1704.00028).
    """

    groups: int | None = 1


class InstanceNorm(GroupNorm):
    """Instance normalization: each channel of each example by itself, over the pixels.

    "Instance Normalization: The Missing Ingredient for Fast Stylization", Ulyanov et al. 2016,
    1607.08022.
    """

    groups: int | None = None


class PixelNorm(nn.Module):
    """Scales each pixel's vector of features to a mean square of 1; without parameters.

    "Progressive Growing of GANs", Karras et al. 2017, section 4.2, 1710.10196. A vector whose mean
    square is far below `epsilon` stays near 0.

    Attributes:
      epsilon: added to the mean square.
      dtype: of the output; None keeps the input's.
    """

    epsilon: float = 1e-8
    dtype: Any = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels] to the same shape, of dtype `dtype`."""
        x = inputs.astype(jnp.float32)
        y = x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        return y.astype(self.dtype or inputs.dtype)


class LocalResponseNorm(nn.Module):
    """Divides each number by a power of the squares in the channels around it; without parameters.

    "ImageNet Classification with Deep Convolutional Neural Networks", Krizhevsky et al. 2012,
    section 3.3, in the form of `torch.nn.LocalResponseNorm`: `x / (k + alpha * mean) ** beta`,
    where the mean is over the squares of `size` channels, `size // 2` of them before the number's
    own; channels beyond the first and the last count as zeros. The paper multiplies its alpha by
    the sum: its 1e-4 is 5e-4 here.

    Attributes:
      size: number of channels that are summed.
      alpha: weight of the mean square.
      beta: the power.
      k: added to the weighted mean square.
      dtype: of the output; None keeps the input's.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    dtype: Any = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalizes `inputs` [batch, ..., channels] to the same shape, of dtype `dtype`.

        Raises:
          ConfigError: `size` is below 1, `alpha` is negative, or `k` is not positive.
        """
        for field, value, accepted, works in (
            ("size", self.size, "1 or more", self.size >= 1),
            ("alpha", self.alpha, "0 or more", self.alpha >= 0),
            ("k", self.k, "a number above 0", self.k > 0),
        ):
            if not works:
                raise ConfigError(f"{field} = {value} cannot work; accepted: {accepted}.")
        x = inputs.astype(jnp.float32)
        before = self.size // 2
        pads = [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)]
        squares = jnp.pad(jnp.square(x), pads)
        # Shifted copies, not a windowed sum: XLA makes one loop of them with the rest.
        sums = reduce(jnp.add, [squares[..., i : i + x.shape[-1]] for i in range(self.size)])
        y = x * jnp.power(self.k + self.alpha / self.size * sums, -self.beta)
        return y.astype(self.dtype or inputs.dtype)


NORMALIZATIONS = ("none", "batch", "instance", "layer", "group", "pixel", "local_response")
"""The names that `make_norm` knows."""


def make_norm(
    normalization: str,
    *,
    axis_name: str | None = None,
    groups: int = 32,
    scale_init: Callable[..., Any] = nn.initializers.ones,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> Callable[[jax.Array, bool], jax.Array]:
    """Returns the normalization of that name, so that a network's setting can choose it.

    Each call makes one layer, with parameters of its own: call it in a module's compact method,
    where a layer would be constructed.

    Args:
      normalization: one of `NORMALIZATIONS`; "none" is the identity.
      axis_name: for batch normalization, as there.
      groups: number of groups of group normalization; 32 as in its paper.
      scale_init: initializer of the scale, where there is one.
      dtype: of the output; None keeps the input's. The identity always does.
      param_dtype: of scale and bias.
      name: the layer's name among the module's parameters; None: Flax's own.

    Returns:
      `(x, train) -> x`, on activations [batch, ..., channels]; only batch normalization heeds
      `train`.

    Raises:
      ConfigError: the name is unknown.
    """
    output: dict[str, Any] = {"dtype": dtype, "name": name}
    affine: dict[str, Any] = {"scale_init": scale_init, "param_dtype": param_dtype, **output}
    layers: dict[str, Callable[[], Callable[..., jax.Array]]] = {
        "none": lambda: lambda x: x,
        "batch": lambda: BatchNorm(axis_name=axis_name, **affine),
        "instance": lambda: InstanceNorm(**affine),
        "layer": lambda: LayerNorm(**affine),
        "group": lambda: GroupNorm(groups, **affine),
        "pixel": lambda: PixelNorm(**output),
        "local_response": lambda: LocalResponseNorm(**output),
    }
    layer = lookup(layers, normalization, "normalization")()
    return layer if normalization == "batch" else lambda x, train: layer(x)
