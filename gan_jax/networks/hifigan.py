"""HiFi-GAN: mel spectrogram to wave, judged by period and by scale (Kong 2020, 2010.05646).

The generator enlarges a log-mel spectrogram in time by transposed convolutions, each followed by
the mean of residual blocks of several kernel sizes. The discriminator has parts that see the sound
in rows of a period each, and parts that see means of neighbouring samples.

A dilated convolution is that of a sound in rows of as many samples as the dilation. Weights start
from He's distribution (1502.01852), the paper's from N(0, 0.01).
"""

import dataclasses
import math
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.spectral import SpectralConv
from gan_jax.layers.weight_norm import WeightConv, WeightConvTranspose
from gan_jax.networks.checks import check_axes, check_count, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Network, he_leaky
from gan_jax.networks.translation import Translator
from gan_jax.networks.verdict import Discriminator, Verdict

_SLOPE, _LAST_SLOPE = 0.1, 0.01  # of LeakyReLU; the second before the generator's last layer
_NORMALIZATIONS = ("none", "weight")
# Of the convolutions of a part that sees a scale.
_KERNELS, _STRIDES, _GROUPS = (15, *(41,) * 5, 5), (1, 2, 2, 4, 4, 1, 1), (1, 4, *(16,) * 4, 1)


def rows(x: jax.Array, period: int, mode: str = "constant") -> jax.Array:
    """Return a sound in rows of ``period`` samples, padded at its end to whole rows.

    Args:
      x: `[batch, samples, channels]`.
      period: 1 or more.
      mode: of the padding, as that of `jnp.pad`: "constant" pads zeros.

    Returns:
      `[batch, ceil(samples / period), period, channels]`.
    """
    batch, samples, channels = x.shape
    count = (samples + period - 1) // period
    padded = jnp.pad(x, ((0, 0), (0, count * period - samples), (0, 0)), mode=mode)
    return padded.reshape(batch, count, period, channels)


def halved(x: jax.Array) -> jax.Array:
    """Return the means of four samples, every two samples, of a sound padded by two zeros.

    Args:
      x: `[batch, samples, channels]`.

    Returns:
      `[batch, ceil(samples / 2) + 1, channels]`.
    """
    pairs = jnp.mean(rows(jnp.pad(x, ((0, 0), (2, 2), (0, 0))), 2), axis=2)
    return (pairs[:, :-1] + pairs[:, 1:]) / 2.0


def _check_network(network: Network) -> None:
    """Raise a `ConfigError` unless a network's data are sounds or spectrograms."""
    check_axes("hifigan", "sound", network.shape, "samples, channels")


class HiFiGANGenerator(Translator):
    """Spectrograms `[batch, frames, bands]` to sounds `[batch, factor * frames, outputs]`.

    Attributes:
      factor: samples of a frame, the product of the rates.
      features: width at the rate of the frames; it is halved with every enlargement.
      rates: of the transposed convolutions, whose kernels are twice as long.
      kernels: kernel size of each residual block that follows one; odd numbers.
      dilations: of the convolutions of every residual block.
      double: whether each of them is followed by another one, without dilation.
      normalization: `weight`, of all kernels, or `none`.
    """

    GROUP: ClassVar[str] = "generator.hifigan"
    TINY: ClassVar[dict[str, int]] = {"features": 16}

    _: dataclasses.KW_ONLY
    factor: int = 256
    features: int = 512
    rates: tuple[int, ...] = (8, 8, 2, 2)
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    double: bool = True
    normalization: str = "weight"

    def __post_init__(self) -> None:
        _check_network(self)
        self._check_sizes("features")
        for field in ("rates", "kernels", "dilations"):
            check_sizes(f"{self.GROUP}.{field}", getattr(self, field))
        self._check_choice("normalization", _NORMALIZATIONS)
        self._check_choice("output", ("tanh", "linear"))
        if math.prod(self.rates) != self.factor:
            raise ConfigError(
                f"{self.GROUP}.rates = {self.rates}, whose product is {math.prod(self.rates)}, but "
                f"targets are {self.factor} times as long as inputs (degrade.mel.hop); accepted: "
                f"rates whose product is {self.factor}"
            )
        if any(size % 2 == 0 for size in self.kernels):
            raise ConfigError(f"{self.GROUP}.kernels = {self.kernels}; accepted: odd numbers")
        if self.features % (parts := 1 << len(self.rates)):
            raise ConfigError(
                f"{self.GROUP}.features = {self.features} cannot be halved {len(self.rates)} "
                f"times; accepted: multiples of {parts}"
            )
        super().__post_init__()

    @property
    def scale(self) -> int:
        """Length of an output over that of its input."""
        return self.factor

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        weight = self.normalization == "weight"
        plain, transposed = (WeightConv, WeightConvTranspose) if weight else (Conv, ConvTranspose)
        fields = {"kernel_init": he_leaky(_SLOPE), **self._types}

        def conv(x: jax.Array, kernel: int, dilation: int = 1) -> jax.Array:
            layer = plain(x.shape[-1], kernel_size=(kernel, 1), **fields)
            y = layer(rows(x, dilation))
            return y.reshape(x.shape[0], y.shape[1] * dilation, x.shape[-1])[:, : x.shape[1]]

        def block(x: jax.Array, kernel: int) -> jax.Array:
            for dilation in self.dilations:
                y = conv(nn.leaky_relu(x, _SLOPE), kernel, dilation)
                x = x + (conv(nn.leaky_relu(y, _SLOPE), kernel) if self.double else y)
            return x

        y = plain(self.features, kernel_size=(7, 1), **fields)(x[:, :, None].astype(self.dtype))
        for level, rate in enumerate(self.rates, 1):
            up = transposed(
                self.features >> level, kernel_size=(2 * rate, 1), strides=(rate, 1), **fields
            )
            y = up(nn.leaky_relu(y, _SLOPE))[:, :, 0]
            blocks = jnp.stack([block(y, kernel) for kernel in self.kernels])
            y = jnp.mean(blocks, axis=0)[:, :, None]
        y = nn.leaky_relu(y, _LAST_SLOPE).astype(jnp.float32)
        last = plain(self.outputs, kernel_size=(7, 1), **self._last(he_leaky(1.0)))
        return self._finished(last(y)[:, :, 0], x)


class HiFiGANDiscriminator(Discriminator):
    """Sounds to the scores of all parts, float32 `[batch, n]`; hidden features include the scores.

    A part of a period sees `rows` and convolves every column by itself: kernels of 5 with stride 3,
    in the last layer 1. Since strides are alike, parts have about as many scores. A part of a scale
    sees means of four samples of the scale before it, of which every other one is kept.

    Attributes:
      periods: of the parts; () for none.
      features: widths of a part of a period.
      scales: number of parts of a scale.
      scale_features: widths of a part of a scale, seven.
      normalization: `weight`, of all kernels but those of the first scale, which are normalized
        spectrally; or `none`.
    """

    GROUP: ClassVar[str] = "discriminator.hifigan"
    TINY: ClassVar[dict[str, int]] = {"features": 4, "scales": 1, "scale_features": 16}

    _: dataclasses.KW_ONLY
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    features: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    scales: int = 3
    scale_features: tuple[int, ...] = (128, 128, 256, 512, 1024, 1024, 1024)
    normalization: str = "weight"

    def __post_init__(self) -> None:
        _check_network(self)
        for field in ("periods", "features"):
            check_sizes(f"{self.GROUP}.{field}", getattr(self, field))
        check_sizes(f"{self.GROUP}.scale_features", self.scale_features, len(_STRIDES))
        check_count(f"{self.GROUP}.scales", self.scales)
        self._check_choice("normalization", _NORMALIZATIONS)
        if not self.periods and not self.scales:
            raise ConfigError(
                f"{self.GROUP}.periods = () with scales = 0; accepted: one part or more"
            )
        if any(period >= self.shape[0] for period in self.periods):
            raise ConfigError(
                f"{self.GROUP}.periods = {self.periods} with sounds of {self.shape[0]} samples; "
                "accepted: shorter periods"
            )
        super().__post_init__()
        if self.scales and any(width % 16 for width in self.scale_features):
            raise ConfigError(
                f"{self.GROUP}.scale_features = {self.scale_features}; accepted: multiples of 16, "
                "since layers have up to 16 groups"
            )

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        x = x.astype(self.dtype)
        scores: list[jax.Array] = []
        features: list[jax.Array] = []

        def judged(y: jax.Array, conv: Any, sizes: list[tuple[int, int, int, int]]) -> None:
            """Add what a part makes of its input: of layers (width, kernel, stride, groups)."""
            for width, kernel, stride, groups in sizes:
                layer = conv(width, kernel_size=(kernel, 1), strides=(stride, 1), groups=groups)
                y = nn.leaky_relu(layer(y), _SLOPE)
                features.append(y)
            y = conv(1, kernel_size=(3, 1), dtype=jnp.float32)(y.astype(jnp.float32))
            features.append(y)
            scores.append(y.reshape(y.shape[0], -1))

        fields = {"kernel_init": he_leaky(_SLOPE), **self._types}
        weight = self.normalization == "weight"
        plain = partial(WeightConv if weight else Conv, **fields)
        first = partial(SpectralConv, train=train, **fields) if weight else plain
        *strided, last = self.features
        for period in self.periods:
            sizes = [*((width, 5, 3, 1) for width in strided), (last, 5, 1, 1)]
            judged(rows(x, period, "reflect"), plain, sizes)
        sizes = list(zip(self.scale_features, _KERNELS, _STRIDES, _GROUPS, strict=True))
        for scale in range(self.scales):
            judged(x[:, :, None], plain if scale else first, sizes)
            x = halved(x)
        return Verdict(jnp.concatenate(scores, axis=1), tuple(features), {})
