"""Fully connected generator and discriminator, as in the first GAN (Goodfellow 2014, 1406.2661).

They know nothing of pixels, so they serve images and points of the plane alike.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks.checks import check_choice, check_size, check_sizes
from gan_jax.networks.condition import (
    DISCRIMINATOR_CONDITIONING,
    Condition,
    check_conditioning,
    with_class,
)
from gan_jax.networks.verdict import MINIBATCH, Discriminator, Head, Verdict, scored_vector, verdict

_SLOPE = 0.2
# He initialization for LeakyReLU (1502.01852, equation 15): the signal keeps its size through the
# layers. Points of the plane are few numbers, and the tanh of an image wants inputs near 1.
_HIDDEN_INIT = nn.initializers.variance_scaling(2.0 / (1.0 + _SLOPE**2), "fan_in", "normal")


def _hidden(
    x: jax.Array, features: tuple[int, ...], dtype: Any, param_dtype: Any
) -> list[jax.Array]:
    """Return the activations of dense layers with LeakyReLU.

    The layers are owned by the module whose compact method calls this.
    """
    activations = []
    for width in features:
        layer = nn.Dense(width, dtype=dtype, param_dtype=param_dtype, kernel_init=_HIDDEN_INIT)
        x = nn.leaky_relu(layer(x), _SLOPE)
        activations.append(x)
    return activations


class MLPGenerator(nn.Module):
    """Latent vector to data point, through dense layers with LeakyReLU.

    Attributes:
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      latent_dim: length of the latent vector.
      features: widths of the hidden layers.
      output: `tanh` for images in [-1, 1], `linear` for points without bounds.
      conditioning: `none`, or `concat`: the class beside the latent vector.
      num_classes: of the data; None: they have no labels.
      dtype: of the computation; the output is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 16}

    shape: tuple[int, ...]
    latent_dim: int = 100
    features: tuple[int, ...] = (256, 512, 1024)
    output: str = "tanh"
    conditioning: str = "none"
    num_classes: int | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_sizes("data.shape", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        check_sizes("generator.mlp.features", self.features)
        check_choice("generator.mlp.output", self.output, ("tanh", "linear"))
        check_conditioning(
            "generator.conditioning", self.conditioning, ("none", "concat"), self.num_classes
        )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps latents `z` [batch, latent_dim] to float32 [batch, *shape].

        Args:
          z: latents.
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: ignored.
        """
        x = z.astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        x = _hidden(x, self.features, self.dtype, self.param_dtype)[-1]
        x = nn.Dense(math.prod(self.shape), dtype=self.dtype, param_dtype=self.param_dtype)(x)
        x = x.astype(jnp.float32).reshape(-1, *self.shape)
        return jnp.tanh(x) if self.output == "tanh" else x


class MLPDiscriminator(Discriminator):
    """Data point to score, through dense layers with LeakyReLU.

    Attributes:
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      features: widths of the hidden layers.
      minibatch: `none`, or what the score sees of the batch's other examples beside the last
        hidden layer: `stddev` or `discrimination`, see `gan_jax.networks.verdict.scored_vector`.
      conditioning: `none`, `concat` (the class beside the data point), or `projection`.
      num_classes: of the data; None: they have no labels.
      heads: further outputs.
      axis_name: mapped axis whose devices share one batch.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 16}

    shape: tuple[int, ...]
    features: tuple[int, ...] = (1024, 512, 256)
    minibatch: str = "none"
    conditioning: str = "none"
    num_classes: int | None = None
    heads: tuple[Head, ...] = ()
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_sizes("data.shape", self.shape)
        check_sizes("discriminator.mlp.features", self.features)
        check_choice("discriminator.mlp.minibatch", self.minibatch, MINIBATCH)
        check_conditioning(
            "discriminator.conditioning",
            self.conditioning,
            DISCRIMINATOR_CONDITIONING,
            self.num_classes,
        )
        super().__post_init__()

    @nn.compact
    def judge(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Returns the whole verdict on data points.

        Args:
          x: data points [batch, *shape].
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: False compares the examples of this call alone; without `minibatch` it changes
            nothing.
        """
        x = x.reshape(x.shape[0], -1).astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        activations = tuple(_hidden(x, self.features, self.dtype, self.param_dtype))
        phi = activations[-1].astype(jnp.float32)
        scored = scored_vector(
            activations[-1],
            phi,
            lambda x: x,
            minibatch=self.minibatch,
            field="discriminator.mlp.minibatch",
            train=train,
            initializing=self.is_initializing(),
            axis_name=self.axis_name,
            param_dtype=self.param_dtype,
        )
        return verdict(
            phi,
            activations,
            condition,
            scored=scored,
            conditioning=self.conditioning,
            num_classes=self.num_classes,
            heads=self.heads,
            param_dtype=self.param_dtype,
        )
