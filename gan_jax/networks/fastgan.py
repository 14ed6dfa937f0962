"""Light networks for few images (FastGAN, Liu et al. 2021, 2101.04775).

"Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis". The
generator has one convolution per resolution; skip-layer excitation lets a coarse map scale the
channels of a fine one. The discriminator is also an encoder: two small decoders reconstruct the
real image, and one quarter of it, from its features (`gan_jax.games.terms.self_supervision`), so
that its features describe images instead of remembering them.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import mean_pool
from gan_jax.networks.checks import (
    check_count,
    check_image_shape,
    check_size,
    halvings,
    width_at,
)
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import ClassNormalized, Conditioned, Normalized, normal_scale
from gan_jax.networks.verdict import SLOPE, Discriminator, Head, Verdict

WHOLE = "whole"
"""Name of the output that reconstructs the image."""
PART = "part"
"""Name of the output that reconstructs one quarter of it."""

_INIT = nn.initializers.normal(0.02)
_BLOCKS = 5
"""The most blocks that halve a map in the discriminator, from a side of 256 to one of 8."""
_DECODINGS = 4
"""The most doublings in a decoder, to a side of 128."""


def quarters(keys: jax.Array | None, images: jax.Array) -> jax.Array:
    """Return one quarter of each image, or of each map, drawn by its key.

    Args:
      keys: `[batch]` typed keys, as the discriminator is given them; None: the upper left.
      images: `[batch, height, width, channels]`; height and width even.

    Returns:
      `[batch, height / 2, width / 2, channels]`.
    """
    batch, height, width, channels = images.shape
    cut = images.reshape(batch, 2, height // 2, 2, width // 2, channels)
    if keys is None:
        return cut[:, 0, :, 0]
    rows, columns = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2))(keys).T
    return jax.vmap(lambda x, row, column: x[row, :, column])(cut, rows, columns)


def _means(side: int) -> npt.NDArray[np.float32]:
    """Return the matrix `[4, side]` of four means along an axis, over parts that may overlap."""
    index, part = np.arange(side), np.arange(4)[:, None]
    inside = (index >= part * side // 4) & (index < -(-(part + 1) * side // 4))
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


class Excitation(nn.Module):
    """Skip-layer excitation: scales each channel of a fine map by a number from a coarse one.

    Attributes:
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, coarse: jax.Array, fine: jax.Array) -> jax.Array:
        """Returns `fine` [batch, H, W, channels], scaled by `coarse` [batch, h, w, c]."""
        rows, columns = (jnp.asarray(_means(side), coarse.dtype) for side in coarse.shape[1:3])
        # A 4x4 convolution of the 4x4 means to a single pixel is a dense layer.
        means = jnp.einsum("ih,jw,bhwc->bijc", rows, columns, coarse)
        means = means.reshape(means.shape[0], -1)
        dense = partial(
            nn.Dense,
            fine.shape[-1],
            use_bias=False,
            kernel_init=_INIT,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        hidden = nn.leaky_relu(dense()(means), 0.1)
        return fine * nn.sigmoid(dense()(hidden))[:, None, None]


class FastGANGenerator(ClassNormalized):
    """Latent vector to image: per resolution an upsampling, a 3x3 convolution and a gated unit.

    A gated linear unit follows each normalization, and halves the channels. The convolution that
    makes the image has a tanh.

    Attributes:
      features: width at 64x64; it is in inverse proportion to the side, up to `max_features`.
      max_features: the largest width.
      skip: a map scales the channels of the one whose side is this many times its own, a power of
        2; 16 is the paper's. In images too small for that, the coarsest map scales the finest.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel` or
        `local_response`.
    """

    GROUP: ClassVar[str] = "generator.fastgan"
    TINY: ClassVar[dict[str, int]] = {"features": 2}

    latent_dim: int = 256
    features: int = 64
    max_features: int = 1024
    skip: int = 16

    def __post_init__(self) -> None:
        check_image_shape("fastgan", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features", "max_features", "skip")
        if self.skip < 2 or self.skip & (self.skip - 1):
            raise ConfigError(
                f"{self.GROUP}.skip = {self.skip}; accepted: a power of 2 (2, 4, 8, 16, ...)"
            )
        self._check_normalization([2 * width for width in self._widths])
        super().__post_init__()

    @property
    def _sides(self) -> list[int]:
        """The shorter side of every map."""
        count = halvings(self.shape)
        return [min(self.shape[:2]) >> (count - index) for index in range(count + 1)]

    @property
    def _widths(self) -> list[int]:
        return [width_at(side, self.features, self.max_features) for side in self._sides]

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        norm = self._class_norms(condition, scale_init=normal_scale)
        options = {"use_bias": False, "kernel_init": _INIT, **self._types}
        first, *widths = self._widths
        height, width = (side >> halvings(self.shape) for side in self.shape[:2])

        z = self._with_class(z.astype(self.dtype), condition)
        x = nn.Dense(height * width * 2 * first, **options)(z)
        x = nn.glu(norm()(x.reshape(-1, height, width, 2 * first), train))
        maps = [x]
        reach = min(self.skip.bit_length() - 1, len(widths))
        for index, features in enumerate(widths, 1):
            x = Conv(2 * features, (3, 3), upsample=True, **options)(x)
            x = nn.glu(norm()(x, train))
            if index >= reach:
                x = Excitation(**self._types)(maps[index - reach], x)
            maps.append(x)
        x = Conv(self.shape[-1], (3, 3), **options)(x)
        return jnp.tanh(x.astype(jnp.float32))


class FastGANDiscriminator(Normalized, Conditioned, Discriminator):
    """Image to a map of scores, 5x5 for a side that is a power of 2, and two reconstructions.

    Convolutions of stride 2 lead to a side of 256, if the image is larger; from there to a side of
    8, blocks halve the map on two ways, whose mean they return: two convolutions, and a mean over
    2x2 pixels with a 1x1 convolution. Two further convolutions score the last map.

    The reconstructions are outputs of the `Verdict`: `whole`, of the last map, and `part`, of one
    quarter of the map before (see `quarters`), with sides of 128 at most.

    Attributes:
      features: width at 64x64; it is in inverse proportion to the side, up to `max_features`.
      max_features: the largest width.
      decoder_features: likewise of the decoders; 0: there are none.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel` or
        `local_response`; the first layer has none. With `batch` the scores of one image depend on
        the others.
      conditioning: `none`, or `concat` (a plane per class beside the input).
    """

    GROUP: ClassVar[str] = "discriminator.fastgan"
    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "concat")
    TINY: ClassVar[dict[str, int]] = {"features": 2, "decoder_features": 2}

    features: int = 64
    max_features: int = 1024
    decoder_features: int = 32
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        check_image_shape("fastgan", self.shape, least=2)
        self._check_sizes("features", "max_features")
        check_count(f"{self.GROUP}.decoder_features", self.decoder_features)
        if self.heads:
            raise ConfigError(
                f"discriminator.name = 'fastgan' cannot predict {self.heads[0].name}; accepted: a "
                "discriminator with a vector for each image, such as dcgan or resnet"
            )
        sides = [min(self.shape[:2]) >> index for index in range(self._halvings + 1)]
        widths = [width_at(side, self.features, self.max_features) for side in sides[1:]]
        if self.decoder_features:
            decoded = [width_at(side, self.decoder_features, self.max_features) for side in sides]
            widths += [2 * width for width in decoded]
        self._check_normalization(widths)
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        make_norm = self._norms(scale_init=normal_scale)
        options = {"use_bias": False, "kernel_init": _INIT, **self._types}

        def activated(x: jax.Array) -> jax.Array:
            return nn.leaky_relu(make_norm(self.normalization)(x, train), SLOPE)

        def strided(x: jax.Array) -> jax.Array:
            features = width_at(min(x.shape[1:3]) // 2, self.features, self.max_features)
            return Conv(features, (4, 4), (2, 2), **options)(x)

        def halved(x: jax.Array) -> jax.Array:
            """Return what a block makes of `x`."""
            y = activated(strided(x))
            y = activated(Conv(y.shape[-1], (3, 3), **options)(y))
            # A 1x1 convolution commutes with the mean.
            return (y + activated(Conv(y.shape[-1], (1, 1), **options)(mean_pool(x)))) / 2

        def decoded(x: jax.Array, times: int) -> jax.Array:
            """Return an image: the map `x`, doubled `times` times, up to a side of 128."""
            for _ in range(min(times, _DECODINGS)):
                side = 2 * min(x.shape[1:3])
                features = width_at(side, self.decoder_features, self.max_features)
                x = Conv(2 * features, (3, 3), upsample=True, **options)(x)
                x = nn.glu(make_norm(self.normalization)(x, train))
            return jnp.tanh(Conv(self.shape[-1], (3, 3), **options)(x).astype(jnp.float32))

        x = self._with_class(x.astype(self.dtype), condition)
        if self._stem == 0:
            features = width_at(min(self.shape[:2]), self.features, self.max_features)
            x = nn.leaky_relu(Conv(features, (3, 3), **options)(x), SLOPE)
        for index in range(self._stem):
            x = activated(strided(x)) if index else nn.leaky_relu(strided(x), SLOPE)
        activations = [x]
        for _ in range(self._halvings - self._stem):
            activations.append(halved(activations[-1]))
        before, last = activations[-2:]

        y = activated(Conv(last.shape[-1], (1, 1), **options)(last)).astype(jnp.float32)
        score = Conv(1, (4, 4), **{**options, "padding": "VALID", "dtype": jnp.float32})
        scores = score(y)[..., 0]
        if not self.decoder_features:
            return Verdict(scores, tuple(activations), {})
        outputs = {
            WHOLE: decoded(last, self._halvings),
            PART: decoded(quarters(keys, before), self._halvings - 1),
        }
        return Verdict(scores, tuple(activations), outputs)

    @property
    def _halvings(self) -> int:
        """How often an image is halved, to a shorter side of 8 to 15."""
        return halvings(self.shape) - 1

    @property
    def _stem(self) -> int:
        """How many of these come before the blocks."""
        return max(self._halvings - _BLOCKS, 0)
