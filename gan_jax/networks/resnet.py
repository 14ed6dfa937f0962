"""Residual networks: those of WGAN-GP (Gulrajani et al. 2017, 1704.00028) and SNGAN (Miyato et al.
2018, 1802.05957) for CIFAR-10, and their rule for other resolutions.

At 32x32 they are exactly the papers' (WGAN-GP: 128 features in both networks; SNGAN: 256 in the
generator). At any power of two from 16 up:

- the generator has one up-sampling block per doubling from 4x4;
- the discriminator has one down-sampling block per halving until 8x8, then two blocks at 8x8.

Residual branches start from He-uniform weights and all other layers from Glorot-uniform ones, both
by the mean of fan-in and fan-out, with zero biases, as in the WGAN-GP authors' code.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.conditional import ConditionalBatchNorm
from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import LayerNorm, make_norm
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.layers.spectral import SpectralConv
from gan_jax.networks.checks import (
    check_choice,
    check_image_shape,
    check_size,
    check_sizes,
)
from gan_jax.networks.condition import (
    DISCRIMINATOR_CONDITIONING,
    GENERATOR_CONDITIONING,
    LABEL,
    Condition,
    check_conditioning,
    required,
    with_class,
)
from gan_jax.networks.normalized import check_class_norm, check_normalization
from gan_jax.networks.verdict import MINIBATCH, Discriminator, Head, Verdict, scored_vector, verdict

RESOLUTIONS = (16, 32, 64, 128, 256)
"""The first resolutions that the architecture admits; the powers of two above are admitted too."""

_GENERATOR_START = 4
_DISCRIMINATOR_END = 8
_FLAT_BLOCKS = 2
_HE = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
_GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


def _doublings(low: int, high: int) -> int:
    """Return how many doublings lead from the power of two `low` to `high`."""
    return (high // low).bit_length() - 1


def _check_attention(field: str, value: int, accepted: list[int]) -> None:
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
      normalization: one of `gan_jax.layers.normalization.NORMALIZATIONS`.
      groups: of group normalization.
      num_classes: number of classes with batch-norm scales and shifts of their own; None: one pair
        for all.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    normalization: str = "batch"
    groups: int = 8
    num_classes: int | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, condition: Condition = None) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to [batch, 2h, 2w, features]."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def norm_relu(y: jax.Array, name: str) -> jax.Array:
            options = {"axis_name": self.axis_name, "name": name, **types}
            if self.num_classes is not None:
                norm = ConditionalBatchNorm(self.num_classes, **options)
                return nn.relu(norm(y, required(condition, LABEL), train))
            plain = make_norm(self.normalization, groups=self.groups, **options)
            return nn.relu(plain(y, train))

        y = norm_relu(x, "norm_1")
        y = upsample_nearest(y)
        y = Conv(self.features, (3, 3), kernel_init=_HE, name="conv_1", **types)(y)
        y = norm_relu(y, "norm_2")
        y = Conv(self.features, (3, 3), kernel_init=_HE, name="conv_2", **types)(y)
        # The papers up-sample first; a 1x1 convolution commutes with that, at a quarter of the
        # cost.
        shortcut = Conv(self.features, (1, 1), kernel_init=_GLOROT, name="shortcut", **types)(x)
        return upsample_nearest(shortcut) + y


class DownBlock(nn.Module):
    """Residual block of the discriminator, with or without halving the resolution.

    Attributes:
      features: channels of the output.
      downsample: halve the resolution by mean pooling.
      first: the block sees the image itself, so nothing is rectified or normalized before its first
        convolution, which widens at once to `features` (the papers' "optimized" block).
      normalization: `none`, `layer`, or `spectral` (of the kernels).
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    downsample: bool
    first: bool = False
    normalization: str = "none"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to `features` channels, at h/2, w/2 or h, w pixels."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(SpectralConv, train=train) if self.normalization == "spectral" else Conv

        def norm_relu(y: jax.Array, name: str) -> jax.Array:
            if self.normalization == "layer" and not self.first:
                y = LayerNorm(name=name, **types)(y)
            return nn.relu(y)

        channels = x.shape[-1]
        # As in the papers, a down-sampling block widens only in its second convolution.
        hidden = channels if self.downsample and not self.first else self.features
        y = x if self.first else norm_relu(x, "norm_1")
        y = conv(hidden, (3, 3), kernel_init=_HE, name="conv_1", **types)(y)
        y = norm_relu(y, "norm_2")
        pool = self.downsample
        y = conv(self.features, (3, 3), kernel_init=_HE, pool=pool, name="conv_2", **types)(y)
        if self.downsample:
            # Pooling before the 1x1 convolution equals pooling after it, at a quarter of the cost.
            x = mean_pool(x)
        if self.downsample or channels != self.features:
            x = conv(self.features, (1, 1), kernel_init=_GLOROT, name="shortcut", **types)(x)
        return x + y


class ResNetGenerator(nn.Module):
    """Latent vector to image: dense to 4x4, up-sampling blocks, one convolution, tanh.

    Attributes:
      shape: of one image: `(height, width, channels)`, square, a power of two from 16 up.
      latent_dim: length of the latent vector.
      features: width of every block, or a tuple: at 4x4, then after each block.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        papers' is `batch`.
      groups: number of groups of group normalization, a divisor of every width.
      attention: resolution at which self-attention (Zhang et al. 2018, 1805.08318) follows the
        block that ends there; 0: nowhere. Its memory grows with the fourth power of the resolution.
      conditioning: `none`, `concat` (the class beside the latent vector), or `batch_norm`
        (scales and shifts of each class, in every block; with normalization `batch` alone).
      num_classes: of the data; None: they have no labels.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation; the output is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    latent_dim: int = 128
    features: int | tuple[int, ...] = 128
    normalization: str = "batch"
    groups: int = 8
    attention: int = 0
    conditioning: str = "none"
    num_classes: int | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        resolution = check_image_shape("resnet", self.shape, RESOLUTIONS, more=True)
        check_size("generator.latent_dim", self.latent_dim)
        levels = _doublings(_GENERATOR_START, resolution) + 1
        if isinstance(self.features, int):
            check_size("generator.resnet.features", self.features)
        else:
            meaning = f" (the widths at 4x4, 8x8, ... {resolution}x{resolution}), or one number"
            check_sizes("generator.resnet.features", self.features, levels, meaning)
        widths = (self.features,) if isinstance(self.features, int) else self.features
        check_normalization("generator.resnet", self.normalization, self.groups, widths)
        check_class_norm("generator.resnet", self.conditioning, self.normalization)
        sides = [_GENERATOR_START << i for i in range(1, levels)]
        _check_attention("generator.resnet.attention", self.attention, sides)
        check_conditioning(
            "generator.conditioning", self.conditioning, GENERATOR_CONDITIONING, self.num_classes
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
        """Maps latents `z` [batch, latent_dim] to float32 images [batch, *shape] in [-1, 1].

        Args:
          z: latents.
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        blocks = _doublings(_GENERATOR_START, self.shape[0])
        widths = self.features
        if isinstance(widths, int):
            widths = (widths,) * (blocks + 1)
        start = _GENERATOR_START
        x = z.astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        x = nn.Dense(start * start * widths[0], kernel_init=_GLOROT, **types)(x)
        x = x.reshape(-1, start, start, widths[0])
        classes = self.num_classes if self.conditioning == "batch_norm" else None
        norm: dict[str, Any] = {
            "normalization": self.normalization,
            "groups": self.groups,
            "axis_name": self.axis_name,
        }
        for width in widths[1:]:
            block = UpBlock(width, num_classes=classes, **norm, **types)
            x = block(x, train, condition)
            if x.shape[1] == self.attention:
                x = SelfAttention(**types)(x, train)
        x = nn.relu(make_norm(**norm, **types)(x, train))
        x = Conv(self.shape[-1], (3, 3), kernel_init=_GLOROT, **types)(x)
        return jnp.tanh(x.astype(jnp.float32))


class ResNetDiscriminator(Discriminator):
    """Image to score: down-sampling blocks to 8x8, two more blocks, ReLU, pooling, one dense layer.

    Attributes:
      shape: of one image: `(height, width, channels)`, square, a power of two from 16 up.
      features: width of every block, or a tuple: after each down-sampling block, then after each
        of the two blocks at 8x8.
      normalization: `none`, `layer` (before each ReLU inside the blocks after the first), or
        `spectral` (of every layer's kernel, as in SNGAN). There is no batch-norm: it would make the
        score of one image depend on the others.
      pooling: pooling of the last 8x8 map: `mean` (WGAN-GP) or `sum` (SNGAN).
      attention: resolution at which self-attention (Zhang et al. 2018, 1805.08318) follows the
        first block that ends there, spectrally normalized where the others are; 0: nowhere. Its
        memory grows with the fourth power of the resolution.
      minibatch: `none`, or what the score sees of the batch's other examples: `stddev` (of the last
        8x8 map, pooled with it) or `discrimination` (after pooling), see
        `gan_jax.networks.verdict.scored_vector`.
      conditioning: `none`, `concat` (a plane per class beside the image), or `projection`.
      num_classes: of the data; None: they have no labels.
      heads: further outputs.
      axis_name: mapped axis whose devices share one batch.
      dtype: of the computation, save pooling and the last layer, which are float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    features: int | tuple[int, ...] = 128
    normalization: str = "none"
    pooling: str = "mean"
    attention: int = 0
    minibatch: str = "none"
    conditioning: str = "none"
    num_classes: int | None = None
    heads: tuple[Head, ...] = ()
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        resolution = check_image_shape("resnet", self.shape, RESOLUTIONS, more=True)
        halvings = _doublings(_DISCRIMINATOR_END, resolution)
        if isinstance(self.features, int):
            check_size("discriminator.resnet.features", self.features)
        else:
            blocks = halvings + _FLAT_BLOCKS
            meaning = " (the widths after each block), or one number"
            check_sizes("discriminator.resnet.features", self.features, blocks, meaning)
        normalizations = ("none", "layer", "spectral")
        check_choice("discriminator.resnet.normalization", self.normalization, normalizations)
        check_choice("discriminator.resnet.pooling", self.pooling, ("mean", "sum"))
        check_choice("discriminator.resnet.minibatch", self.minibatch, MINIBATCH)
        sides = [_DISCRIMINATOR_END << i for i in range(halvings)]
        _check_attention("discriminator.resnet.attention", self.attention, sides)
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
        """Returns the whole verdict on images.

        Args:
          x: images [batch, *shape] in [-1, 1].
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: True moves spectral normalization's vectors on, where the collection `spectral` is
            mutable; and, with `minibatch`, False compares the examples of this call alone. Without
            either it changes nothing.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        spectral = self.normalization == "spectral"
        halvings = _doublings(_DISCRIMINATOR_END, self.shape[0])
        widths = self.features
        if isinstance(widths, int):
            widths = (widths,) * (halvings + _FLAT_BLOCKS)
        x = x.astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        activations = []
        for index, width in enumerate(widths):
            block = DownBlock(
                width,
                downsample=index < halvings,
                first=index == 0,
                normalization=self.normalization,
                **types,
            )
            x = block(x, train)
            if index < halvings and x.shape[1] == self.attention:
                x = SelfAttention(spectral=spectral, **types)(x, train)
            activations.append(x)
        x = nn.relu(x).astype(jnp.float32)
        pool = partial(jnp.mean if self.pooling == "mean" else jnp.sum, axis=(1, 2))
        phi = pool(x)
        scored = scored_vector(
            x,
            phi,
            pool,
            minibatch=self.minibatch,
            field="discriminator.resnet.minibatch",
            train=train,
            initializing=self.is_initializing(),
            axis_name=self.axis_name,
            param_dtype=self.param_dtype,
        )
        return verdict(
            phi,
            tuple(activations),
            condition,
            scored=scored,
            conditioning=self.conditioning,
            num_classes=self.num_classes,
            heads=self.heads,
            spectral=spectral,
            train=train,
            kernel_init=_GLOROT,
            param_dtype=self.param_dtype,
        )
