"""MidiNet's networks for piano rolls (Yang et al. 2017, 1703.10847), with binary neurons.

Both networks see all pitches of a step at once, and move in time alone: convolutions in time, which
are computed as products of matrices. The generator ends in binary neurons (Dong and Yang 2018,
1804.09399): outputs are -1 or 1, as real rolls are, so that a discriminator cannot recognise
samples by what lies between. Their gradient is that of a sigmoid, scaled to [-1, 1], whose slope
may rise during training (Chung et al. 2016, 1609.01704).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError, require
from gan_jax.networks.checks import check_size, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import ClassNormalized, he_leaky, wants_bias
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

NEURONS = "neurons"
"""The collection of the slope, which the game sets by `MidiNetGenerator.scheduled`."""


def binary(
    logits: jax.Array, slope: jax.Array | float, noise: jax.Array | float = 0.5
) -> jax.Array:
    """Return 1 where the sigmoid of scaled logits exceeds the noise, else -1; straight-through.

    The gradient is that of ``2 sigmoid(slope * logits) - 1``.

    Args:
      logits: float32 `[...]`.
      slope: of the sigmoid, above 0.
      noise: uniform in [0, 1) for a sample of the Bernoulli distribution; 0.5: the more probable.
    """
    soft = jnp.tanh(0.5 * slope * logits)
    hard = jnp.where(0.5 * (soft + 1.0) > noise, 1.0, -1.0)
    # The difference is exactly 0.
    return hard + (soft - lax.stop_gradient(soft))


def doublings(steps: int) -> int:
    """Return how often a generator doubles its steps: from 2, or an odd number, to this one."""
    count = 0
    while steps % 2 == 0 and steps > 2:
        steps, count = steps // 2, count + 1
    return count


class MidiNetGenerator(ClassNormalized):
    """Latent vector to piano roll: two dense layers, then steps are doubled, then pitches made.

    Normalization and ReLU after every layer but the last; the class is appended to the input of
    every layer with conditioning `concat`, as in MidiNet.

    Attributes:
      features: width of every layer; the first dense one has four times as many.
      stochastic: whether a neuron is 1 with the probability of its sigmoid, if there are keys;
        otherwise it is 1 where that is above one half.
      slope: of the sigmoid whose gradient is used, at first.
      end_slope: at last; in between it changes exponentially.
      anneal_images: real examples during which it changes.
      normalization: `none`, `batch` (the paper's), `layer`, `group` or `pixel`.
    """

    GROUP: ClassVar[str] = "generator.midinet"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    latent_dim: int = 100
    features: int = 256
    stochastic: bool = False
    slope: float = 1.0
    end_slope: float = 5.0
    anneal_images: int = 100_000

    def __post_init__(self) -> None:
        check_roll("generator.name = 'midinet'", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features", "anneal_images")
        self._check_normalization([self.features])
        for field in ("slope", "end_slope"):
            value = getattr(self, field)
            require(value > 0, f"{self.GROUP}.{field}", value, "a number above 0")
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        slope = self.variable(NEURONS, "value", lambda: jnp.float32(self.slope))
        norm = self._class_norms(condition)
        steps, pitches, _ = self.shape
        first, width = steps >> doublings(steps), self.features

        def layer(x: jax.Array, features: int, shape: tuple[int, ...]) -> jax.Array:
            dense = nn.Dense(features, use_bias=wants_bias(self.normalization), **self._types)
            x = dense(self._with_class(x, condition)).reshape(x.shape[0], *shape)
            return nn.relu(norm()(x, train))

        x = layer(z.astype(self.dtype), 4 * width, (4 * width,))
        x = layer(x, first * width, (first, width))
        while x.shape[1] < steps:
            x = layer(x, 2 * width, (2 * x.shape[1], width))
        last = nn.Dense(pitches, dtype=jnp.float32, param_dtype=self.param_dtype)
        logits = last(self._with_class(x.astype(jnp.float32), condition))[..., None]
        noise: jax.Array | float = 0.5
        if self.stochastic and keys is not None:
            noise = jax.vmap(lambda key: jax.random.uniform(key, self.shape))(keys)
        return binary(logits, slope.value, noise)

    def scheduled(self, images: jax.Array) -> dict[str, dict[str, jax.Array]]:
        """Return the slope after a number of real examples, in the collection of the neurons.

        Args:
          images: int32 scalar.
        """
        share = jnp.clip(images / self.anneal_images, 0.0, 1.0)
        ratio = self.end_slope / self.slope
        return {NEURONS: {"value": (self.slope * ratio**share).astype(jnp.float32)}}


class MidiNetDiscriminator(VectorDiscriminator):
    """Piano roll to score: convolutions in time of all pitches, over windows of 4 steps.

    Steps are halved, to 2 or an odd number, with LeakyReLU. There is no normalization, so that the
    gradient of each roll may be penalized.

    Attributes:
      features: width of every layer.
    """

    GROUP: ClassVar[str] = "discriminator.midinet"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int = 256

    def __post_init__(self) -> None:
        check_roll("discriminator.name = 'midinet'", self.shape)
        self._check_sizes("features")
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        steps, pitches, _ = self.shape
        types = {"kernel_init": he_leaky(SLOPE), **self._types}
        x = self._with_class(x.reshape(x.shape[0], steps, pitches).astype(self.dtype), condition)
        x = nn.leaky_relu(nn.Dense(self.features, **types)(x), SLOPE)
        features = [x]
        for _ in range(doublings(steps)):
            padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
            parts = [padded[:, i : i + x.shape[1] : 2] for i in range(4)]
            windows = jnp.concatenate(parts, axis=-1)
            x = nn.leaky_relu(nn.Dense(self.features, **types)(windows), SLOPE)
            features.append(x)
        return self._verdict(x, lambda x: x.reshape(x.shape[0], -1), features, condition, train)


def check_roll(what: str, shape: tuple[int, ...]) -> None:
    """Raise a `ConfigError` unless data points are piano rolls, `(steps, pitches, 1)`."""
    check_sizes("data.shape", shape)
    if len(shape) != 3 or shape[2] != 1:
        raise ConfigError(
            f"{what} is a network for piano rolls, but one data point has shape {shape}; accepted: "
            "(steps, pitches, 1), such as data.name = 'scales'"
        )
