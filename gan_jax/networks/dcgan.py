"""Deep convolutional networks (DCGAN, Radford et al. 2015, 1511.06434).

The generator doubles the resolution from 4x4 with transposed convolutions; the discriminator and
the encoder, which is also that of VAE/GAN (Larsen et al. 2015, 1512.09300), halve it back to 4x4
with strided ones. Sizes that are not powers of two have another coarsest map, whose shorter side is
4 to 7: 7x7 for 28x28, 6x4 for 96x64. The width at half the image's resolution is `features`, and it
doubles with every halving, up to `max_features`. Weights start from N(0, 0.02), batch-norm's scales
from N(1, 0.02), as in the paper.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.normalization import make_norm
from gan_jax.networks.checks import check_image_shape, check_size, halvings
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import (
    ClassNormalized,
    Layer,
    Network,
    Normalized,
    normal_scale,
    wants_bias,
)
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

_INIT = nn.initializers.normal(0.02)


def _widths(shape: Sequence[int], features: int, max_features: int) -> list[int]:
    """Return the widths at half the resolution, a quarter, ... that of the coarsest map."""
    return [min(features << level, max_features) for level in range(halvings(shape))]


def flattened(x: jax.Array) -> jax.Array:
    """Return maps `[batch, height, width, channels]` as vectors."""
    return x.reshape(x.shape[0], -1)


def strided(
    x: jax.Array,
    widths: Sequence[int],
    conv: Callable[..., nn.Module],
    norm: Callable[..., Layer],
    normalizations: Sequence[str],
    train: bool,
) -> list[jax.Array]:
    """Return the activations of convolutions of stride 2, each normalized, with LeakyReLU.

    The layers belong to the module whose compact method calls this.

    Args:
      x: `[batch, height, width, channels]`.
      widths: of the layers.
      conv: makes a convolution of a width; takes `use_bias`.
      norm: makes a normalization of a name.
      normalizations: the names, one per layer.
      train: whether the network is in train mode.
    """
    activations = []
    for width, normalization in zip(widths, normalizations, strict=True):
        x = conv(width, use_bias=wants_bias(normalization))(x)
        x = nn.leaky_relu(norm(normalization)(x, train), SLOPE)
        activations.append(x)
    return activations


class DCGANGenerator(ClassNormalized):
    """Latent vector to image: dense to 4x4, then transposed convolutions of stride 2.

    Normalization and ReLU after every layer but the last, tanh after that.

    Attributes:
      features: width at half the image's resolution, which doubles with every halving up to
        `max_features`; 128 is the paper's.
      max_features: the largest width; 1024 is the paper's.
      kernel_size: size of the transposed convolutions' kernels. 5 is the paper's; 4, a multiple of
        the stride, covers every pixel equally often, which avoids checkerboard patterns.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`.
    """

    GROUP: ClassVar[str] = "generator.dcgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    latent_dim: int = 100
    features: int = 64
    max_features: int = 512
    kernel_size: int = 4

    def __post_init__(self) -> None:
        check_image_shape("dcgan", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features", "max_features", "kernel_size")
        widths = _widths(self.shape, self.features, self.max_features)
        self._check_normalization(widths[::-1])
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        norm = self._class_norms(condition, scale_init=normal_scale)
        transposed = partial(
            ConvTranspose,
            kernel_size=(self.kernel_size, self.kernel_size),
            strides=(2, 2),
            kernel_init=_INIT,
            **self._types,
        )
        *widths, first = _widths(self.shape, self.features, self.max_features)
        use_bias = wants_bias(self.normalization)
        x = self._with_class(z.astype(self.dtype), condition)
        height, width = (side >> halvings(self.shape) for side in self.shape[:2])
        size = height * width * first
        x = nn.Dense(size, use_bias=use_bias, kernel_init=_INIT, **self._types)(x)
        x = x.reshape(-1, height, width, first)
        x = nn.relu(norm()(x, train))
        for width in reversed(widths):
            x = transposed(features=width, use_bias=use_bias)(x)
            x = nn.relu(norm()(x, train))
        x = transposed(features=self.shape[-1])(x)
        return jnp.tanh(x.astype(jnp.float32))


class DCGANDiscriminator(Normalized, VectorDiscriminator):
    """Image to score: strided convolutions down to 4x4, then one dense layer.

    LeakyReLU after every convolution; normalization before it, except in the first layer.

    Attributes:
      features: width at half the image's resolution, which doubles with every halving up to
        `max_features`.
      max_features: the largest width.
      kernel_size: size of the convolutions' kernels; 5 is the paper's.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel`,
        `local_response`, or `spectral` (of every layer's kernel). With a penalty on each image's
        gradient use any but `batch`, which makes the score of one image depend on the others.
    """

    GROUP: ClassVar[str] = "discriminator.dcgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int = 64
    max_features: int = 512
    kernel_size: int = 4

    def __post_init__(self) -> None:
        check_image_shape("dcgan", self.shape)
        self._check_sizes("features", "max_features", "kernel_size")
        _, *widths = _widths(self.shape, self.features, self.max_features)
        self._check_normalization(widths, "spectral")
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        spectral = self.normalization == "spectral"
        size = (self.kernel_size, self.kernel_size)
        conv = self._convolutions(
            spectral, train, kernel_size=size, strides=(2, 2), kernel_init=_INIT
        )
        x = self._with_class(x.astype(self.dtype), condition)
        first, *rest = _widths(self.shape, self.features, self.max_features)
        others = ["none" if spectral else self.normalization] * len(rest)
        norm = self._norms(scale_init=normal_scale)
        features = strided(x, [first, *rest], conv, norm, ["none", *others], train)
        return self._verdict(
            features[-1],
            flattened,
            features,
            condition,
            train,
            spectral=spectral,
            kernel_init=_INIT,
        )


class DCGANEncoder(Network):
    """Image to numbers: strided convolutions down to 4x4, then one dense layer.

    LeakyReLU after every convolution, batch-norm before it. The dense layer's weights start from
    N(0, 0.02), so that a posterior given by mean and logarithm of the variance starts near the
    standard normal.

    Attributes:
      outputs: length of the output for each image.
      features: width at half the image's resolution; it doubles with every halving, up to
        `max_features`.
      max_features: the largest width.
      kernel_size: size of the convolutions' kernels; 5 is VAE/GAN's.
      normalization: normalization of every convolution: `batch` or `none`.
    """

    GROUP: ClassVar[str] = "encoder.dcgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    outputs: int
    features: int = 64
    max_features: int = 512
    kernel_size: int = 4
    normalization: str = "batch"

    def __post_init__(self) -> None:
        check_image_shape("dcgan", self.shape)
        check_size("encoder.outputs", self.outputs)
        self._check_sizes("features", "max_features", "kernel_size")
        self._check_choice("normalization", ("batch", "none"))
        super().__post_init__()

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        size = (self.kernel_size, self.kernel_size)
        conv = partial(Conv, kernel_size=size, strides=(2, 2), kernel_init=_INIT, **self._types)
        norm = partial(make_norm, axis_name=self.axis_name, scale_init=normal_scale, **self._types)
        widths = _widths(self.shape, self.features, self.max_features)
        normalizations = [self.normalization] * len(widths)
        x = strided(x.astype(self.dtype), widths, conv, norm, normalizations, train)[-1]
        last = nn.Dense(
            self.outputs, kernel_init=_INIT, dtype=jnp.float32, param_dtype=self.param_dtype
        )
        return last(flattened(x).astype(jnp.float32))
