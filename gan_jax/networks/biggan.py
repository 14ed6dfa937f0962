"""The residual networks of BigGAN and BigGAN-deep (Brock et al. 2018, 1809.11096).

"Large Scale GAN Training for High Fidelity Natural Image Synthesis". All kernels are spectrally
normalized and start orthogonal. The class enters the generator through one embedding, which all
layers of batch normalization share and which is not spectrally normalized: their scales and biases
are linear in a vector of each example.

- BigGAN has one block per resolution. The latent is divided into chunks of equal length: the first
  is mapped to the coarsest map, and each other one, beside the embedding, is the vector of one
  block.
- BigGAN-deep has two bottleneck blocks per resolution, and the whole latent beside the embedding is
  mapped to the coarsest map and is the vector of every block. Shortcuts have no weights where
  channels are dropped, in the generator, and only those of the channels that are added, in the
  discriminator.

The discriminator sums its last features over the pixels; conditioning `projection` adds the class.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError, require
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.conditional import LinearBatchNorm
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
from gan_jax.networks.network import Generator, Layer, Network
from gan_jax.networks.resnet import DownBlock, UpBlock, check_attention
from gan_jax.networks.verdict import VectorDiscriminator, Verdict

_ORTHOGONAL = nn.initializers.orthogonal()
_BOTTLENECK = 4
"""Channels of a deep block over those between its convolutions."""


Make = Callable[..., nn.Module]


def _spectral(layer: Make, train: bool, dtype: Any, param_dtype: Any) -> Make:
    """Return what makes a spectrally normalized layer that starts orthogonal."""
    types = {"dtype": dtype, "param_dtype": param_dtype}
    return partial(layer, train=train, kernel_init=_ORTHOGONAL, **types)


class DeepUpBlock(nn.Module):
    """Bottleneck block of the generator: normalization, ReLU and convolution, four times.

    The shortcut keeps the first `features` channels.

    Attributes:
      features: channels of the output, at most those of the input.
      norm: makes a layer of normalization of a name.
      upsample: double the resolution.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    norm: Callable[..., Layer]
    upsample: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to `features` channels, at h, w or 2h, 2w pixels."""
        conv = _spectral(SpectralConv, train, self.dtype, self.param_dtype)
        hidden = x.shape[-1] // _BOTTLENECK
        y = nn.relu(self.norm(name="norm_1")(x, train))
        y = conv(hidden, (1, 1), name="conv_1")(y)
        y = nn.relu(self.norm(name="norm_2")(y, train))
        x = x[..., : self.features]
        if self.upsample:
            x = upsample_nearest(x)
        y = conv(hidden, (3, 3), upsample=self.upsample, name="conv_2")(y)
        y = nn.relu(self.norm(name="norm_3")(y, train))
        y = conv(hidden, (3, 3), name="conv_3")(y)
        y = nn.relu(self.norm(name="norm_4")(y, train))
        return x + conv(self.features, (1, 1), name="conv_4")(y)


class DeepDownBlock(nn.Module):
    """Bottleneck block of the discriminator: ReLU and convolution, four times.

    The shortcut keeps all channels, and gets those that are added by a 1x1 convolution.

    Attributes:
      features: channels of the output, at least those of the input.
      downsample: halve the resolution by mean pooling.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    downsample: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to `features` channels, at h, w or h/2, w/2 pixels."""
        conv = _spectral(SpectralConv, train, self.dtype, self.param_dtype)
        hidden = self.features // _BOTTLENECK
        y = conv(hidden, (1, 1), name="conv_1")(nn.relu(x))
        y = conv(hidden, (3, 3), name="conv_2")(nn.relu(y))
        y = nn.relu(conv(hidden, (3, 3), name="conv_3")(nn.relu(y)))
        if self.downsample:
            x, y = mean_pool(x), mean_pool(y)
        y = conv(self.features, (1, 1), name="conv_4")(y)
        if (more := self.features - x.shape[-1]) > 0:
            x = jnp.concatenate([x, conv(more, (1, 1), name="shortcut")(x)], axis=-1)
        return x + y


class _Big(Network):
    """What all four networks share.

    Attributes:
      attention: height of the map at which self-attention (Zhang et al. 2018, 1805.08318) follows
        the blocks that end there; 0: nowhere. Its memory grows with the square of the map's pixels.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int | tuple[int, ...] = 256
    attention: int = 0

    def _halvings(self) -> int:
        """Check the shape, and return how often an image is halved."""
        check_image_shape(self.GROUP.partition(".")[2], self.shape, least=2)
        return halvings(self.shape)

    def _check(self, meaning: str, ends: Iterable[int]) -> None:
        """Check widths and attention; blocks end at images that are halved `ends` times."""
        check_widths(f"{self.GROUP}.features", self.features, halvings(self.shape) + 1, meaning)
        accepted = [self.shape[0] >> level for level in ends]
        check_attention(f"{self.GROUP}.attention", self.attention, accepted)

    def _check_deep(self, order: str) -> None:
        """Check that widths only fall or rise, since shortcuts only drop or add channels."""
        widths = list(self._widths)
        if widths != sorted(widths, reverse=order == "falling") or any(
            width % _BOTTLENECK for width in widths
        ):
            raise ConfigError(
                f"{self.GROUP}.features = {self.features!r} cannot work; accepted: multiples of "
                f"{_BOTTLENECK}, never {'rising' if order == 'falling' else 'falling'}"
            )

    @property
    def _widths(self) -> tuple[int, ...]:
        return widths_of(self.features, halvings(self.shape) + 1)

    def _conv(self, features: int, train: bool) -> nn.Module:
        return _spectral(SpectralConv, train, self.dtype, self.param_dtype)(features, (3, 3))

    def _attended(self, x: jax.Array, train: bool) -> jax.Array:
        return SelfAttention(spectral=True, kernel_init=_ORTHOGONAL, **self._types)(x, train)


class BigGANGenerator(_Big, Generator):
    """Latent chunks and an embedding of the class to an image.

    Attributes:
      conditioning: `none`, or `batch_norm`: the scales and biases of normalization depend on the
        class's embedding, too.
      features: the widths at the coarsest map, then after each doubling, or one for all: the
        paper's for 128x128 are 1536, 1536, 768, 384, 192, 96.
      embedding: length of the class's embedding.
    """

    GROUP: ClassVar[str] = "generator.biggan"
    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "batch_norm")

    latent_dim: int = 120
    embedding: int = 128

    def __post_init__(self) -> None:
        doublings = self._halvings()
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("embedding")
        self._check("the widths from the coarsest map on", range(doublings - 1, -1, -1))
        self._check_blocks(doublings)
        super().__post_init__()

    def _check_blocks(self, doublings: int) -> None:
        if self.latent_dim % (doublings + 1):
            raise ConfigError(
                f"generator.latent_dim = {self.latent_dim} cannot be divided into a chunk for the "
                f"coarsest map and one for each of {doublings} blocks; accepted: a multiple of "
                f"{doublings + 1}"
            )

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        first, *widths = self._widths
        start, *vectors = self._vectors(z.astype(self.dtype), self._embedded(condition))
        sides = [side >> len(widths) for side in self.shape[:2]]
        dense = _spectral(SpectralDense, train, self.dtype, self.param_dtype)
        x = dense(sides[0] * sides[1] * first)(start).reshape(-1, *sides, first)
        for features, vector in zip(widths, vectors, strict=True):
            x = self._doubled(x, features, self._norms(vector), train)
            if x.shape[1] == self.attention:
                x = self._attended(x, train)
        plain = make_norm("batch", axis_name=self.axis_name, **self._types)
        x = self._conv(self.shape[-1], train)(nn.relu(plain(x, train)))
        return jnp.tanh(x.astype(jnp.float32))

    def _embedded(self, condition: Condition) -> list[jax.Array]:
        """Return the embeddings of the classes, `[batch, embedding]`, if there are any."""
        if self.conditioning == "none":
            return []
        labels, count = self._classes(condition)
        width, name = self.embedding, "embedding"
        if jnp.issubdtype(labels.dtype, jnp.integer):
            table = nn.Embed(count, width, embedding_init=_ORTHOGONAL, name=name, **self._types)
            return [table(labels)]
        fields = {"use_bias": False, "kernel_init": _ORTHOGONAL, **self._types}
        return [nn.Dense(width, name=name, **fields)(labels)]

    def _vectors(self, z: jax.Array, embedded: list[jax.Array]) -> list[jax.Array]:
        """Return what the coarsest map is made from, then the vector of each doubling."""
        first, *chunks = jnp.split(z, len(self._widths), axis=-1)
        return [first, *(jnp.concatenate([*embedded, chunk], -1) for chunk in chunks)]

    def _norms(self, vectors: jax.Array) -> Callable[..., Layer]:
        """Return what makes a layer of normalization by the examples' vectors."""
        fields = {"axis_name": self.axis_name, **self._types}

        def norm(name: str | None = None) -> Layer:
            layer = LinearBatchNorm(name=name, **fields)
            return lambda x, train: layer(x, vectors, train)

        return norm

    def _doubled(
        self, x: jax.Array, features: int, norm: Callable[..., Layer], train: bool
    ) -> jax.Array:
        """Return what the blocks of a resolution make of `x`, at twice that."""
        fields = {"spectral": True, "kernel_init": _ORTHOGONAL, **self._types}
        return UpBlock(features, norm, **fields)(x, train)


class BigGANDeepGenerator(BigGANGenerator):
    """Latent and an embedding of the class to an image, by bottleneck blocks.

    Attributes:
      features: the widths at the coarsest map, then after each doubling, never rising, or one for
        all: the paper's for 128x128 are 2048, 2048, 1024, 512, 256, 128.
    """

    GROUP: ClassVar[str] = "generator.biggan_deep"

    latent_dim: int = 128

    def _check_blocks(self, doublings: int) -> None:
        self._check_deep("falling")

    def _vectors(self, z: jax.Array, embedded: list[jax.Array]) -> list[jax.Array]:
        return [jnp.concatenate([*embedded, z], -1)] * len(self._widths)

    def _doubled(
        self, x: jax.Array, features: int, norm: Callable[..., Layer], train: bool
    ) -> jax.Array:
        x = DeepUpBlock(x.shape[-1], norm, **self._types)(x, train)
        return DeepUpBlock(features, norm, upsample=True, **self._types)(x, train)


class _BigDiscriminator(_Big, VectorDiscriminator):
    """Image to score: blocks, ReLU, the sum over the pixels, one dense layer."""

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        x = self._with_class(x.astype(self.dtype), condition)
        activations = []
        for index, width in enumerate(self._widths):
            height = x.shape[1]
            x = self._stage(x, width, index, train)
            if x.shape[1] == self.attention < height:
                x = self._attended(x, train)
            activations.append(x)
        return self._verdict(
            nn.relu(x),
            partial(jnp.sum, axis=(1, 2)),
            activations,
            condition,
            train,
            spectral=True,
            embedding_init=_ORTHOGONAL,
            kernel_init=_ORTHOGONAL,
        )

    def _stage(self, x: jax.Array, features: int, index: int, train: bool) -> jax.Array:
        """Return what the blocks with one index make of `x`."""
        raise NotImplementedError


class BigGANDiscriminator(_BigDiscriminator):
    """Image to score: a block per halving and `flat` more, ReLU, summed pixels, one dense layer.

    Attributes:
      features: the width of every block, or a tuple, from the image on: the paper's for 128x128 are
        96, 192, 384, 768, 1536, 1536.
      flat: the last blocks that keep the resolution; all blocks together are one more than the
        halvings to 4x4, or that coarsest size. The paper has 1, so that the last map is 4x4; the
        authors' networks for 32x32 have 2.
    """

    GROUP: ClassVar[str] = "discriminator.biggan"

    flat: int = 1

    def __post_init__(self) -> None:
        pooled = self._halvings() + 1 - self.flat
        require(self.flat in (1, 2), "discriminator.biggan.flat", self.flat, "1 or 2")
        self._check("the widths after each block", range(pooled, 0, -1))
        super().__post_init__()

    def _stage(self, x: jax.Array, features: int, index: int, train: bool) -> jax.Array:
        block = DownBlock(
            features,
            downsample=index < len(self._widths) - self.flat,
            first=index == 0,
            normalization="spectral",
            wide=True,
            kernel_init=_ORTHOGONAL,
            **self._types,
        )
        return block(x, train)


class BigGANDeepDiscriminator(_BigDiscriminator):
    """Image to score: a convolution, two bottleneck blocks per halving, summed pixels, dense layer.

    Attributes:
      features: the widths of the first convolution, then after each halving, never falling, or one
        for all: the paper's for 128x128 are 128, 256, 512, 1024, 2048, 2048.
    """

    GROUP: ClassVar[str] = "discriminator.biggan_deep"

    def __post_init__(self) -> None:
        self._check("the widths from the image on", range(self._halvings(), 0, -1))
        self._check_deep("rising")
        super().__post_init__()

    def _stage(self, x: jax.Array, features: int, index: int, train: bool) -> jax.Array:
        if index == 0:
            return self._conv(features, train)(x)
        x = DeepDownBlock(features, downsample=True, **self._types)(x, train)
        return DeepDownBlock(features, **self._types)(x, train)
