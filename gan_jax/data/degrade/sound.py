"""Noise in sound."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded, Range, draw, within


@dataclasses.dataclass(frozen=True)
class SoundNoise(Degradation):
    """Additive white Gaussian noise at a ratio of the sound's energy to that of the noise.

    Every example has just that ratio, before clipping; silence stays silent.

    Attributes:
      snr: range of the signal-to-noise ratio, in dB; one is drawn per example. Those of SEGAN's
        training are 0 to 15 (Pascual 2017, 1703.09452).
      clip: whether values are clipped to [-1, 1], as those of a sound file are.
    """

    name: ClassVar[str] = "noise"
    data: ClassVar[str] = "audio"
    snr: Range = (0.0, 15.0)
    clip: bool = True

    def __post_init__(self) -> None:
        self._check_range("snr", -100.0, 100.0)
        self._check_flag("clip")

    @override
    def of_one(self, key: jax.Array, sound: jax.Array) -> Degraded:
        snr_key, noise_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, sound.shape, jnp.float32)
        ratio = jnp.mean(jnp.square(sound)) / jnp.mean(jnp.square(noise))
        decibels = draw(snr_key, self.snr)
        noisy = sound + jnp.sqrt(ratio) * 10.0 ** (-decibels / 20.0) * noise
        return Degraded(within(noisy) if self.clip else noisy, None)
