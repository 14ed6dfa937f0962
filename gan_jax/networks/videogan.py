"""VideoGAN: a moving foreground before a background that stands still (Vondrick 2016, 1609.02612).

The generator has two streams. One makes a foreground and a mask from a latent vector by transposed
convolutions in space and time, the other a picture, the background, by those in space alone. A
pixel of a video is `mask * foreground + (1 - mask) * background`. The discriminator reduces a video
by strided convolutions in space and time.

Height, width and the number of frames are halved as often as a DCGAN (`gan_jax.networks.dcgan`)
halves an image of that size, whose widths these networks have, too.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import ConvTranspose
from gan_jax.layers.normalization import make_norm
from gan_jax.networks.checks import check_size, check_video_shape, halvings
from gan_jax.networks.condition import Condition
from gan_jax.networks.dcgan import flattened, strided
from gan_jax.networks.network import Generator, Normalized, wants_bias
from gan_jax.networks.verdict import VectorDiscriminator, Verdict

_INIT = nn.initializers.normal(0.02)
_KERNEL = 4


def _check_shape(shape: Sequence[int]) -> None:
    """Raise a `ConfigError` unless the networks admit videos of a shape."""
    check_video_shape("videogan", shape)
    frames, multiple = shape[0], 1 << halvings(shape[1:])
    if frames < multiple or frames % multiple:
        raise ConfigError(
            f"data.name: the videos have {frames} frames; accepted by videogan at "
            f"{shape[1]}x{shape[2]} pixels: a multiple of {multiple}"
        )


def _widths(shape: Sequence[int], features: int, max_features: int) -> list[int]:
    """Return the widths at half the resolution, a quarter, ... that of the coarsest map."""
    return [min(features << level, max_features) for level in range(halvings(shape[1:]))]


class VideoGANGenerator(Generator):
    """Latent vector to video: two streams of dense and transposed convolutions of stride 2.

    Batch normalization and ReLU after every layer but the last; tanh after the last ones of
    foreground and background, sigmoid after that of the mask.

    Attributes:
      features: width at half the resolution, which doubles with every halving up to `max_features`.
      max_features: the largest width.
      normalization: `batch` (the paper's) or `none`.
      background: whether there is one; without, the foreground is all.
    """

    GROUP: ClassVar[str] = "generator.videogan"
    TINY: ClassVar[dict[str, int]] = {"features": 2}

    latent_dim: int = 100
    features: int = 64
    max_features: int = 512
    normalization: str = "batch"
    background: bool = True

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features", "max_features")
        self._check_choice("normalization", ("none", "batch"))
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        z = self._with_class(z.astype(self.dtype), condition)
        channels = self.shape[-1]
        x = self._stream("foreground", self.shape[:3], z, train)
        foreground = self._doubled(3, channels, "foreground")(x).astype(jnp.float32)
        if not self.background:
            return jnp.tanh(foreground)
        mask = jax.nn.sigmoid(self._doubled(3, 1, "mask")(x).astype(jnp.float32))
        y = self._stream("background", self.shape[1:3], z, train)
        still = self._doubled(2, channels, "background")(y).astype(jnp.float32)[:, None]
        return mask * jnp.tanh(foreground) + (1 - mask) * jnp.tanh(still)

    def _stream(self, name: str, space: Sequence[int], z: jax.Array, train: bool) -> jax.Array:
        """Return a stream's map at half the resolution, `[batch, *space / 2, features]`."""
        *widths, first = _widths(self.shape, self.features, self.max_features)
        use_bias = wants_bias(self.normalization)
        fields = {"axis_name": self.axis_name, **self._types}

        def activated(x: jax.Array, index: int) -> jax.Array:
            norm = make_norm(self.normalization, name=f"{name}_norm_{index}", **fields)
            return nn.relu(norm(x, train))

        coarsest = [side >> halvings(self.shape[1:]) for side in space]
        size = math.prod(coarsest) * first
        options = {"use_bias": use_bias, "kernel_init": _INIT, **self._types}
        x = nn.Dense(size, name=f"{name}_dense", **options)(z)
        x = activated(x.reshape(-1, *coarsest, first), 0)
        for index, width in enumerate(reversed(widths), 1):
            x = self._doubled(len(space), width, f"{name}_{index}", use_bias=use_bias)(x)
            x = activated(x, index)
        return x

    def _doubled(self, axes: int, features: int, name: str, **options: Any) -> nn.Module:
        """Return a transposed convolution that doubles all axes."""
        size, name = (_KERNEL,) * axes, f"{name}_convolution"
        return ConvTranspose(
            features, size, 2, kernel_init=_INIT, name=name, **options, **self._types
        )


class VideoGANDiscriminator(Normalized, VectorDiscriminator):
    """Video to score: convolutions of stride 2 in space and time, then one dense layer.

    LeakyReLU after every convolution; normalization before it, except in the first layer.

    Attributes:
      features: width at half the resolution, which doubles with every halving up to `max_features`.
      max_features: the largest width.
      normalization: as in `gan_jax.networks.dcgan.DCGANDiscriminator`; `batch` is the paper's.
    """

    GROUP: ClassVar[str] = "discriminator.videogan"
    TINY: ClassVar[dict[str, int]] = {"features": 2}

    features: int = 64
    max_features: int = 512

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        self._check_sizes("features", "max_features")
        _, *widths = _widths(self.shape, self.features, self.max_features)
        self._check_normalization(widths, "spectral")
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        spectral = self.normalization == "spectral"
        conv = self._convolutions(
            spectral, train, kernel_size=(_KERNEL,) * 3, strides=2, kernel_init=_INIT
        )
        x = self._with_class(x.astype(self.dtype), condition)
        widths = _widths(self.shape, self.features, self.max_features)
        others = ["none" if spectral else self.normalization] * (len(widths) - 1)
        features = strided(x, widths, conv, self._norms(), ["none", *others], train)
        return self._verdict(
            features[-1],
            flattened,
            features,
            condition,
            train,
            spectral=spectral,
            kernel_init=_INIT,
        )
