"""WaveGAN: one-dimensional DCGANs of sound (Donahue, McAuley and Puckette 2018, 1802.04208).

The generator enlarges 16 steps of time fourfold with transposed convolutions of 25 samples, and the
discriminator reduces the sound likewise. A length that is not 16 times a power of 4 has another
coarsest map, of 16 to 63 steps. The width at a quarter of the length is `features`; it doubles with
every further reduction. Neither network is normalized.

Sound is computed with as images of height 1, whose convolutions are fast on CPU.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import ConvTranspose
from gan_jax.networks.checks import check_axes, check_count, check_size
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

_COARSEST = 16  # steps of the coarsest map, at least
_STRIDE = 4
_INIT = nn.initializers.glorot_uniform()
_CONVOLUTION: dict[str, Any] = {
    "kernel_size": (1, 25),
    "strides": (1, _STRIDE),
    "kernel_init": _INIT,
}


def reductions(samples: int) -> int:
    """Return how often a sound is reduced fourfold: to 16 to 63 steps."""
    count = 0
    while samples // _STRIDE ** (count + 1) >= _COARSEST:
        count += 1
    return count


def _check_shape(shape: Sequence[int]) -> None:
    """Raise a `ConfigError` unless the networks admit sounds of a shape."""
    check_axes("wavegan", "sound", shape, "samples, channels")
    samples, least = shape[0], _COARSEST * _STRIDE
    multiple = _STRIDE ** reductions(samples)
    if samples < least or samples % multiple:
        accepted = f"{least} or more"
        if samples >= least:
            below = samples // multiple * multiple
            accepted = f"at this length multiples of {multiple}, such as {below}"
        raise ConfigError(
            f"data.sound.samples: sounds of {samples} samples cannot be made by wavegan; accepted: "
            f"{accepted}"
        )


def phase_shuffle(x: jax.Array, keys: jax.Array, most: int) -> jax.Array:
    """Shift every example's activations in time, and fill the gap by reflection.

    The discriminator is then insensitive to the phase of a generator's artefacts, by which it would
    otherwise reject every sample (section 3.3 of the paper).

    Args:
      x: `[batch, 1, steps, channels]`.
      keys: `[batch]` typed keys; each draws one shift for all channels of its example.
      most: the shift is one of -most, ..., most, all equally likely; below `steps`.

    Returns:
      The same shape and dtype.
    """
    padded = jnp.pad(x, ((0, 0), (0, 0), (most, most), (0, 0)), mode="reflect")

    def shifted(key: jax.Array, example: jax.Array) -> jax.Array:
        start = jax.random.randint(key, (), 0, 2 * most + 1)
        return lax.dynamic_slice_in_dim(example, start, x.shape[2], axis=1)

    return jax.vmap(shifted)(keys, padded)


class WaveGANGenerator(Generator):
    """Latent vector to sound: dense to 16 steps, then transposed convolutions of stride 4.

    ReLU after every layer but the last, tanh after that.

    Attributes:
      features: width at a quarter of the sound's length; it doubles with every reduction. 64 is the
        paper's.
    """

    GROUP: ClassVar[str] = "generator.wavegan"
    TINY: ClassVar[dict[str, int]] = {"features": 2}

    latent_dim: int = 100
    features: int = 64

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features")
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        samples, channels = self.shape
        count = reductions(samples)
        steps, width = samples // _STRIDE**count, self.features << (count - 1)
        transposed = partial(ConvTranspose, **_CONVOLUTION, **self._types)
        z = self._with_class(z.astype(self.dtype), condition)
        x = nn.Dense(steps * width, kernel_init=_INIT, **self._types)(z)
        x = nn.relu(x.reshape(-1, 1, steps, width))
        for level in reversed(range(count - 1)):
            x = nn.relu(transposed(features=self.features << level)(x))
        x = transposed(features=channels)(x)
        return jnp.tanh(x[:, 0].astype(jnp.float32))


class WaveGANDiscriminator(VectorDiscriminator):
    """Sound to score: convolutions of stride 4 down to 16 steps, then one dense layer.

    LeakyReLU after every convolution, then, after all but the last, phase shuffle.

    Attributes:
      features: width at a quarter of the sound's length; it doubles with every reduction. 64 is the
        paper's.
      phase_shuffle: the largest shift of the activations, in steps of their map; 0: none. 2 is the
        paper's.
    """

    GROUP: ClassVar[str] = "discriminator.wavegan"
    TINY: ClassVar[dict[str, int]] = {"features": 2}

    features: int = 64
    phase_shuffle: int = 2

    def __post_init__(self) -> None:
        _check_shape(self.shape)
        self._check_sizes("features")
        check_count(f"{self.GROUP}.phase_shuffle", self.phase_shuffle, _COARSEST - 1)
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        conv = self._convolutions(False, train, **_CONVOLUTION)
        x = self._with_class(x[:, None].astype(self.dtype), condition)
        activations = []
        for level in range(count := reductions(self.shape[0])):
            x = nn.leaky_relu(conv(self.features << level)(x), SLOPE)
            activations.append(x)
            if keys is not None and self.phase_shuffle and level < count - 1:
                own = jax.vmap(jax.random.fold_in, (0, None))(keys, level)
                x = phase_shuffle(x, own, self.phase_shuffle)
        return self._verdict(
            x,
            lambda x: x.reshape(x.shape[0], -1),
            activations,
            condition,
            train,
            kernel_init=_INIT,
        )
