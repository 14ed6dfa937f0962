"""SEGAN: an encoder and decoder of sound, and its discriminator (Pascual 2017, 1703.09452).

Convolutions of 31 samples halve the length several times, and transposed ones double it again; the
activations of a length on the way down are concatenated to those on the way up. The discriminator
sees a noisy sound beside a clean or an enhanced one, as channels, and has the encoder's layers.
Weights start from He's distribution (1502.01852).

The paper's discriminator has virtual batch normalization, and its sounds a pre-emphasis; here there
is neither. Sound is computed with as images of height 1, whose convolutions are fast on CPU.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.activation import PReLU
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.networks.checks import check_axes, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import he_leaky
from gan_jax.networks.translation import Translator, check_multiple
from gan_jax.networks.verdict import VectorDiscriminator, Verdict

_SLOPE = 0.3  # of the discriminator's LeakyReLU
_CONVOLUTION: dict[str, Any] = {"kernel_size": (1, 31), "strides": (1, 2)}


def _check(group: str, shape: Sequence[int], features: Sequence[int]) -> None:
    """Raise a `ConfigError` unless sounds of a shape can be halved as often as there are widths."""
    check_sizes(f"{group}.features", features)
    check_axes("segan", "sound", shape, "samples, channels")
    multiple = 1 << len(features)
    if shape[0] % multiple:
        raise ConfigError(
            f"data.sound.samples: sounds of {shape[0]} samples cannot be halved as often as the "
            f"{len(features)} widths of {group}.features require; accepted: multiples of {multiple}"
        )


class SEGANGenerator(Translator):
    """Sound to sound through a bottleneck, with skip connections around it; PReLU in between.

    Attributes:
      features: width after each halving of the length; the paper has eleven, up to 1,024.
      noise: whether noise of the innermost map's shape is concatenated to it: drawn from the keys,
        and 0 without keys, so that an enhanced sound is always the same.
    """

    GROUP: ClassVar[str] = "generator.segan"
    TINY: ClassVar[dict[str, int]] = {"features": 4}

    _: dataclasses.KW_ONLY
    features: tuple[int, ...] = (16, 32, 32, 64, 64)
    noise: bool = True
    normalization: str = "none"

    def __post_init__(self) -> None:
        _check(self.GROUP, self.shape, self.features)
        self._check_choice("normalization", ("none",))
        self._check_output(self.shape[-1])
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """The length of an input must be a multiple of this."""
        return 1 << len(self.features)

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        check_multiple(x, self.multiple)
        hidden = {**_CONVOLUTION, "kernel_init": he_leaky(0.25), **self._types}
        y, skipped = x[:, None].astype(self.dtype), []
        for width in self.features:
            y = PReLU(**self._types)(Conv(width, **hidden)(y))
            skipped.append(y)
        y = skipped.pop()
        if self.noise:
            y = jnp.concatenate([y, _noise(keys, y)], axis=-1)
        for width in reversed(self.features[:-1]):
            y = PReLU(**self._types)(ConvTranspose(width, **hidden)(y))
            y = jnp.concatenate([y, skipped.pop()], axis=-1)
        last = {**_CONVOLUTION, **self._last(he_leaky(1.0))}
        y = ConvTranspose(self.outputs, **last)(y.astype(jnp.float32))
        return self._finished(y[:, 0], x)


def _noise(keys: jax.Array | None, y: jax.Array) -> jax.Array:
    """Return normal noise of a map's shape, each example's from its own key; 0 without keys."""
    if keys is None:
        return jnp.zeros_like(y)
    return jax.vmap(lambda key: jax.random.normal(key, y.shape[1:], y.dtype))(keys)


class SEGANDiscriminator(VectorDiscriminator):
    """Sounds beside each other to a score: the encoder's convolutions, then one dense layer.

    LeakyReLU after every convolution. A convolution of one sample and one channel comes before the
    dense layer.

    Attributes:
      features: width after each halving of the length.
    """

    GROUP: ClassVar[str] = "discriminator.segan"
    TINY: ClassVar[dict[str, int]] = {"features": 4}

    features: tuple[int, ...] = (16, 32, 32, 64, 64)

    def __post_init__(self) -> None:
        _check(self.GROUP, self.shape, self.features)
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        conv = self._convolutions(False, train, **_CONVOLUTION, kernel_init=he_leaky(_SLOPE))
        x = self._with_class(x[:, None].astype(self.dtype), condition)
        activations = []
        for width in self.features:
            x = nn.leaky_relu(conv(width)(x), _SLOPE)
            activations.append(x)
        x = conv(1, kernel_size=(1, 1), strides=(1, 1))(x)
        return self._verdict(x, lambda x: x.reshape(x.shape[0], -1), activations, condition, train)
