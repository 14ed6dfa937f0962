"""Residual networks: those of WGAN-GP (Gulrajani et al. 2017, 1704.00028) and SNGAN (Miyato et al.
2018, 1802.05957) for CIFAR-10, and their rule for other resolutions.

At 32x32 they are exactly the papers' (WGAN-GP: 128 features in both networks; SNGAN: 256 in the
generator). At any size from 16x16 up that can be halved until its shorter side is 4 to 7:

- the generator has one up-sampling block per doubling from 4x4, or that coarsest size;
- the discriminator has one down-sampling block per halving until twice that, 8x8, then two blocks
  at that size.

Residual branches start from He-uniform weights and all other layers from Glorot-uniform ones, both
by the mean of fan-in and fan-out, with zero biases, as in the WGAN-GP authors' code.

With `attention`, and spectral normalization in both networks, they are those of SAGAN (Zhang et al.
2018, 1805.08318).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.layers.spectral import SpectralConv, SpectralDense
from gan_jax.networks.checks import (
    check_image_shape,
    check_size,
    check_widths,
    halvings,
    widths_of,
)
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import ClassNormalized, Layer
from gan_jax.networks.verdict import VectorDiscriminator, Verdict

_FLAT_BLOCKS = 2
_HE = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
_GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


def check_attention(field: str, value: int, accepted: list[int]) -> None:
    """Raise a `ConfigError` unless a block ends at that resolution, or the value is 0."""
    if isinstance(value, bool) or value not in (0, *accepted):
        raise ConfigError(
            f"{field} = {value!r}: no block ends at this resolution; accepted: 0 (none), "
            f"{', '.join(map(str, accepted))}."
        )


class UpBlock(nn.Module):
    """Residual block that doubles the resolution: normalization, ReLU and convolution, twice.

    Attributes:
      features: channels of the output.
      norm: makes a layer of normalization of a name.
      spectral: whether the kernels are spectrally normalized.
      kernel_init: initializer of the kernels; None: the one that the module's docstring names.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    norm: Callable[..., Layer] = partial(make_norm, "batch")
    spectral: bool = False
    kernel_init: Callable[..., Any] | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to [batch, 2h, 2w, features]."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(SpectralConv, train=train) if self.spectral else Conv
        residual, shortcut = self.kernel_init or _HE, self.kernel_init or _GLOROT
        conv_3x3 = partial(conv, self.features, (3, 3), kernel_init=residual, **types)
        y = nn.relu(self.norm(name="norm_1")(x, train))
        y = conv_3x3(upsample=True, name="conv_1")(y)
        y = nn.relu(self.norm(name="norm_2")(y, train))
        y = conv_3x3(name="conv_2")(y)
        # The papers up-sample first; a 1x1 convolution commutes with that, at a quarter of the
        # cost.
        x = conv(self.features, (1, 1), kernel_init=shortcut, name="shortcut", **types)(x)
        return upsample_nearest(x) + y


class DownBlock(nn.Module):
    """Residual block of the discriminator, with or without halving the resolution.

    Attributes:
      features: channels of the output.
      downsample: halve the resolution by mean pooling.
      first: the input is the image, so nothing is rectified or normalized before the first
        convolution, which widens at once to `features` (the papers' "optimized" block).
      normalization: `none`, `layer`, or `spectral` (of the kernels).
      wide: whether the first convolution widens to `features` in any case (BigGAN).
      kernel_init: initializer of the kernels; None: the one that the module's docstring names.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    downsample: bool
    first: bool = False
    normalization: str = "none"
    wide: bool = False
    kernel_init: Callable[..., Any] | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to `features` channels, at h/2, w/2 or h, w pixels."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(SpectralConv, train=train) if self.normalization == "spectral" else Conv
        residual, shortcut = self.kernel_init or _HE, self.kernel_init or _GLOROT

        def norm_relu(y: jax.Array, name: str) -> jax.Array:
            if self.normalization == "layer" and not self.first:
                y = make_norm("layer", name=name, **types)(y, train)
            return nn.relu(y)

        channels = x.shape[-1]
        # As in the papers, a down-sampling block widens only in its second convolution.
        late = self.downsample and not self.first and not self.wide
        hidden = channels if late else self.features
        y = x if self.first else norm_relu(x, "norm_1")
        y = conv(hidden, (3, 3), kernel_init=residual, name="conv_1", **types)(y)
        y = norm_relu(y, "norm_2")
        pool = self.downsample
        y = conv(self.features, (3, 3), kernel_init=residual, pool=pool, name="conv_2", **types)(y)
        if self.downsample:
            # Pooling before the 1x1 convolution equals pooling after it, at a quarter of the cost.
            x = mean_pool(x)
        if self.downsample or channels != self.features:
            x = conv(self.features, (1, 1), kernel_init=shortcut, name="shortcut", **types)(x)
        return x + y


class ResNetGenerator(ClassNormalized):
    """Latent vector to image: dense to 4x4, up-sampling blocks, one convolution, tanh.

    Attributes:
      features: width of every block, or a tuple: at the coarsest map, then after each block.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        papers' is `batch`.
      spectral: whether every layer's kernel is spectrally normalized, too, as in SAGAN; the tables
        of scales and shifts of the classes are not.
      attention: height of the map at which self-attention (Zhang et al. 2018, 1805.08318) follows
        the block that ends there; 0: nowhere. Its memory grows with the square of the map's pixels.
    """

    GROUP: ClassVar[str] = "generator.resnet"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    latent_dim: int = 128
    features: int | tuple[int, ...] = 128
    spectral: bool = False
    attention: int = 0

    def __post_init__(self) -> None:
        check_image_shape("resnet", self.shape, least=2)
        check_size("generator.latent_dim", self.latent_dim)
        doublings = halvings(self.shape)
        sides = [
            (self.shape[0] >> level, self.shape[1] >> level) for level in range(doublings, -1, -1)
        ]
        meaning = "the widths at " + ", ".join(f"{height}x{width}" for height, width in sides)
        check_widths("generator.resnet.features", self.features, doublings + 1, meaning)
        self._check_normalization(widths_of(self.features, 1))
        heights = [height for height, _ in sides[1:]]
        check_attention("generator.resnet.attention", self.attention, heights)
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        doublings = halvings(self.shape)
        first, *widths = widths_of(self.features, doublings + 1)
        height, width = (side >> doublings for side in self.shape[:2])
        x = self._with_class(z.astype(self.dtype), condition)
        dense = partial(SpectralDense, train=train) if self.spectral else nn.Dense
        conv = partial(SpectralConv, train=train) if self.spectral else Conv
        x = dense(height * width * first, kernel_init=_GLOROT, **self._types)(x)
        x = x.reshape(-1, height, width, first)
        norm = self._class_norms(condition)
        for features in widths:
            x = UpBlock(features, norm, self.spectral, **self._types)(x, train)
            if x.shape[1] == self.attention:
                x = SelfAttention(self.spectral, **self._types)(x, train)
        x = nn.relu(self._norms()(self.normalization)(x, train))
        x = conv(self.shape[-1], (3, 3), kernel_init=_GLOROT, **self._types)(x)
        return jnp.tanh(x.astype(jnp.float32))


class ResNetDiscriminator(VectorDiscriminator):
    """Image to score: down-sampling blocks to 8x8, two more blocks, ReLU, pooling, one dense layer.

    With minibatch `stddev` the deviation is a channel of the last map, pooled with it.

    Attributes:
      features: width of every block, or a tuple: after each down-sampling block, then after each
        of the two blocks at 8x8.
      normalization: `none`, `layer` (before each ReLU inside the blocks after the first), or
        `spectral` (of every layer's kernel, as in SNGAN). There is no batch-norm: it would make the
        score of one image depend on the others.
      pooling: pooling of the last 8x8 map: `mean` (WGAN-GP) or `sum` (SNGAN).
      attention: height of the map at which self-attention (Zhang et al. 2018, 1805.08318) follows
        the first block that ends there, spectrally normalized where the others are; 0: nowhere. Its
        memory grows with the square of the map's pixels.
    """

    GROUP: ClassVar[str] = "discriminator.resnet"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int | tuple[int, ...] = 128
    normalization: str = "none"
    pooling: str = "mean"
    attention: int = 0

    def __post_init__(self) -> None:
        check_image_shape("resnet", self.shape, least=2)
        pooled = halvings(self.shape) - 1
        meaning = "the widths after each block"
        check_widths("discriminator.resnet.features", self.features, pooled + _FLAT_BLOCKS, meaning)
        self._check_choice("normalization", ("none", "layer", "spectral"))
        self._check_choice("pooling", ("mean", "sum"))
        sides = [self.shape[0] >> level for level in range(pooled, 0, -1)]
        check_attention("discriminator.resnet.attention", self.attention, sides)
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        spectral = self.normalization == "spectral"
        pooled = halvings(self.shape) - 1
        x = self._with_class(x.astype(self.dtype), condition)
        activations = []
        for index, width in enumerate(widths_of(self.features, pooled + _FLAT_BLOCKS)):
            block = DownBlock(
                width,
                downsample=index < pooled,
                first=index == 0,
                normalization=self.normalization,
                **self._types,
            )
            x = block(x, train)
            if index < pooled and x.shape[1] == self.attention:
                x = SelfAttention(spectral=spectral, **self._types)(x, train)
            activations.append(x)
        pool = partial(jnp.mean if self.pooling == "mean" else jnp.sum, axis=(1, 2))
        return self._verdict(
            nn.relu(x), pool, activations, condition, train, spectral=spectral, kernel_init=_GLOROT
        )
