"""Fully connected networks, as in the first GAN (Goodfellow 2014, 1406.2661).

They treat a data point as a vector, so they serve images and points of the plane alike.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks.checks import check_size, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator, Network, he_leaky
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict


def _vectors(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1)


def _hidden(x: jax.Array, widths: Sequence[int], types: dict[str, Any]) -> list[jax.Array]:
    """Return the activations of dense layers with LeakyReLU.

    The layers belong to the module whose compact method calls this. They keep the variance: points
    of the plane are few numbers, and the tanh of an image needs inputs near 1.
    """
    activations = []
    for width in widths:
        x = nn.leaky_relu(nn.Dense(width, kernel_init=he_leaky(SLOPE), **types)(x), SLOPE)
        activations.append(x)
    return activations


class MLPGenerator(Generator):
    """Latent vector to data point, through dense layers with LeakyReLU.

    Attributes:
      features: widths of the hidden layers.
      output: `tanh` for images in [-1, 1], `linear` for points without bounds.
      conditioning: `none`, or `concat`: the class beside the latent vector.
    """

    GROUP: ClassVar[str] = "generator.mlp"
    TINY: ClassVar[dict[str, int]] = {"features": 16}

    latent_dim: int = 100
    features: tuple[int, ...] = (256, 512, 1024)
    output: str = "tanh"

    def __post_init__(self) -> None:
        check_sizes("data.shape", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        check_sizes("generator.mlp.features", self.features)
        self._check_choice("output", ("tanh", "linear"))
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        z = self._with_class(z.astype(self.dtype), condition)
        x = _hidden(z, self.features, self._types)[-1]
        x = nn.Dense(math.prod(self.shape), **self._types)(x)
        x = x.astype(jnp.float32).reshape(-1, *self.shape)
        return jnp.tanh(x) if self.output == "tanh" else x


class MLPDiscriminator(VectorDiscriminator):
    """Data point to score, through dense layers with LeakyReLU.

    Attributes:
      features: widths of the hidden layers.
    """

    GROUP: ClassVar[str] = "discriminator.mlp"
    TINY: ClassVar[dict[str, int]] = {"features": 16}

    features: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        check_sizes("data.shape", self.shape)
        check_sizes("discriminator.mlp.features", self.features)
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        x = self._with_class(_vectors(x).astype(self.dtype), condition)
        features = _hidden(x, self.features, self._types)
        return self._verdict(features[-1], lambda x: x, features, condition, train)


class MLPEncoder(Network):
    """Data point to numbers, through dense layers with LeakyReLU.

    Attributes:
      outputs: length of the output for each data point.
      features: widths of the hidden layers.
    """

    GROUP: ClassVar[str] = "encoder.mlp"
    TINY: ClassVar[dict[str, int]] = {"features": 16}

    outputs: int
    features: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        check_sizes("data.shape", self.shape)
        check_size("encoder.outputs", self.outputs)
        check_sizes("encoder.mlp.features", self.features)
        super().__post_init__()

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        x = _hidden(_vectors(x).astype(self.dtype), self.features, self._types)[-1]
        last = nn.Dense(
            self.outputs,
            kernel_init=nn.initializers.normal(0.02),
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
        )
        return last(x.astype(jnp.float32))
