"""Discriminator layers that compare the examples of a batch, against mode collapse.

A generator whose samples are all similar can fool a discriminator that judges each sample alone,
but not one that also sees how close the samples are to each other.

Behind these layers the scores of a batch are not independent: the gradient of all scores with
respect to one image then includes its effect on the scores of other images.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class MinibatchDiscrimination(nn.Module):
    """Minibatch discrimination: appends learned measures of closeness to the rest of the batch.

    "Improved Techniques for Training GANs", Salimans et al. 2016, section 3.2, 1606.03498. A
    learned tensor T maps the features f(x_i) [A] to a matrix M_i [B, C]; the B sums

        o_b(x_i) = sum_j exp(-|M_ib - M_jb|_1)

    over all examples j of the batch are appended. As in the paper, j = i is included, with the
    constant 1, so each sum is between 1 and the batch size.

    Attributes:
      features: number of appended features, B of the paper.
      kernel_dims: length of the compared vectors, C of the paper.
      axis_name: the mapped axis whose devices share one batch: examples of all devices are
        compared, so that N devices agree with one. None: this device's batch alone.
      kernel_init: initializer of T, stored as a matrix [A, B * C].
      dtype: dtype of the output; None: that of the input. Distances are float32.
      param_dtype: dtype of T.
    """

    features: int
    kernel_dims: int
    axis_name: str | None = None
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [batch, A] to [batch, A + features].

        Raises:
          ValueError: the inputs are not vectors.
        """
        if inputs.ndim != 2:
            raise ValueError(f"inputs of shape {inputs.shape}; accepted: [batch, features]")
        shape = (inputs.shape[-1], self.features * self.kernel_dims)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        # Differences of close numbers need full precision; accelerators would use fewer bits.
        views = jnp.matmul(
            inputs.astype(jnp.float32),
            kernel.astype(jnp.float32),
            precision=lax.Precision.HIGHEST,
        ).reshape(-1, self.features, self.kernel_dims)
        others = views
        # Parameters are initialized outside the mapped function, where the axis does not exist.
        if self.axis_name is not None and not self.is_initializing():
            others = lax.all_gather(views, self.axis_name, tiled=True)
        distances = jnp.sum(jnp.abs(views[:, None] - others[None]), axis=-1)
        nearness = jnp.sum(jnp.exp(-distances), axis=1)
        dtype = self.dtype or inputs.dtype
        return jnp.concatenate([inputs.astype(dtype), nearness.astype(dtype)], axis=-1)


class MinibatchStddev(nn.Module):
    """Minibatch standard deviation: appends the deviation over a group as constant channels.

    "Progressive Growing of GANs", Karras et al. 2017, section 3, 1710.10196: the standard deviation
    of each feature at each pixel over the examples of a group is averaged over pixels and features
    to one number, which is appended to every pixel of the group's examples. A batch is divided into
    groups of consecutive examples: if each device's share of the batch is a multiple of the group
    size, N devices agree with one.

    Attributes:
      group_size: examples per group.
      num_channels: number of appended channels; each averages over an equal share of consecutive
        features.
      dtype: dtype of the output; None: that of the input. The deviation is float32.
    """

    group_size: int = 4
    num_channels: int = 1
    dtype: Any = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [batch, ..., channels] to [batch, ..., channels + num_channels].

        Raises:
          ValueError: the device's batch is not a multiple of the group size, or the number of
            channels not a multiple of `num_channels`.
        """
        batch, channels = inputs.shape[0], inputs.shape[-1]
        # Networks are initialized with one or two examples, whatever the batch size.
        group = batch if self.is_initializing() else self.group_size
        if group < 1 or batch % group:
            raise ValueError(
                f"a batch of {batch} examples (on each device) and group_size = {group}; "
                "accepted: a batch that is a multiple of the group"
            )
        if self.num_channels < 1 or channels % self.num_channels:
            raise ValueError(
                f"num_channels = {self.num_channels} for {channels} features; "
                f"accepted: a divisor of {channels}"
            )
        x = inputs.astype(jnp.float32).reshape(batch // group, group, -1, channels)
        centered = x - jnp.mean(x, axis=1, keepdims=True)
        # The derivative of the root is infinite at 0, where all examples of a group are equal.
        deviation = jnp.sqrt(jnp.mean(jnp.square(centered), axis=1) + 1e-8)
        shares = deviation.reshape(*deviation.shape[:-1], self.num_channels, -1)
        statistic = jnp.repeat(jnp.mean(shares, axis=(1, 3)), group, axis=0)
        per_example = (batch, *(1,) * (inputs.ndim - 2), self.num_channels)
        appended = jnp.broadcast_to(
            statistic.reshape(per_example), (*inputs.shape[:-1], self.num_channels)
        )
        dtype = self.dtype or inputs.dtype
        return jnp.concatenate([inputs.astype(dtype), appended.astype(dtype)], axis=-1)
