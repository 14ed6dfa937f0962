"""Log-mel spectrograms of sound, from which vocoders make sound."""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from typing_extensions import override

from gan_jax.data import stft
from gan_jax.data.degrade.degradation import Degradation, Degraded, within
from gan_jax.data.mel import mel_filters
from gan_jax.errors import ConfigError

_ITERATIONS = 60  # of Griffin and Lim's algorithm
_TINY = 1e-14  # added to powers, whose square roots then have finite gradients


@dataclasses.dataclass(frozen=True)
class Mel(Degradation):
    """Logarithms of the magnitudes of mel bands: phases and fine structure are lost.

    Magnitudes are those of Hann windows, where a sinusoid of amplitude 1 has about 1. Their natural
    logarithms are relative to the floor: silence is 0. Each frame is centred on ``hop`` samples.
    The defaults are those of HiFi-GAN (Kong 2020, 2010.05646), whose highest band ends at 8 kHz.

    Attributes:
      sample_rate: of the sounds, in Hz.
      window: samples of a window, a multiple of ``hop``.
      hop: samples from one window to the next, half a window or less.
      bands: number of mel bands.
      lowest: frequency at which the lowest band begins, in Hz.
      highest: frequency at which the highest band ends, in Hz; unset: half the sample rate.
      floor: magnitude below which levels are not distinguished.
    """

    name: ClassVar[str] = "mel"
    data: ClassVar[str] = "audio"
    analysis: ClassVar[bool] = True
    sample_rate: int = 22_050
    window: int = 1024
    hop: int = 256
    bands: int = 80
    lowest: float = 0.0
    highest: float | None = None
    floor: float = 1e-5

    def __post_init__(self) -> None:
        for option in ("window", "hop", "bands"):
            value = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise self._refuse(option, value, "a whole number above 0")
        if self.window % self.hop or self.window < 2 * self.hop:
            raise self._refuse(
                "window", self.window, f"a multiple of the hop {self.hop}, at least twice as long"
            )
        half = self.sample_rate / 2
        if not 0.0 <= self.lowest < half:
            raise self._refuse("lowest", self.lowest, f"0 to below {half:g} Hz")
        if self.highest is not None and not self.lowest < self.highest <= half:
            raise self._refuse(
                "highest", self.highest, f"above {self.lowest:g} and up to {half:g} Hz, or None"
            )
        if not 0.0 < self.floor < math.inf:
            raise self._refuse("floor", self.floor, "a number above 0")
        empty = int(np.sum(~self._filters(self.highest).any(axis=0)))
        if empty:
            raise self._refuse(
                "bands",
                self.bands,
                f"fewer: {empty} bands lie between the frequencies of windows of {self.window} "
                f"samples at {self.sample_rate} Hz",
            )

    @property
    @override
    def scale(self) -> int:
        return self.hop

    @override
    def inputs(self, channels: int) -> int:
        if channels != 1:
            raise ConfigError(
                f"data.sound.channels = {channels} with degrade.name = {self.name!r}; accepted: 1"
            )
        return self.bands

    @override
    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        if shape[0] % self.hop:
            raise ConfigError(
                f"data.sound.samples: sounds of {shape[0]} samples with degrade.mel.hop = "
                f"{self.hop}; accepted: a multiple of the hop"
            )

    @override
    def of_one(self, key: jax.Array, sound: jax.Array) -> Degraded:
        return Degraded(self.log_mel(sound[None], self.highest)[0], None)

    @override
    def represented(self, clean: jax.Array) -> jax.Array:
        """Return log-mel spectrograms up to half the sample rate."""
        return self.log_mel(clean)

    def log_mel(self, sound: jax.Array, highest: float | None = None) -> jax.Array:
        """Return log-mel spectrograms, float32 ``[n, samples / hop, bands]``.

        Args:
          sound: float32 ``[n, samples, 1]``.
          highest: as the field.
        """
        scaled = sound[..., 0] * np.float32(4.0 / self.window)
        spectrum = stft.stft(scaled, self.window, self.hop)
        magnitude = jnp.sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + _TINY)
        filters = self._filters(highest).astype(np.float32)
        mel = jnp.matmul(magnitude, filters, precision=lax.Precision.HIGHEST)
        return jnp.log(jnp.maximum(mel / self.floor, 1.0))

    @override
    def shown(self, inputs: jax.Array) -> jax.Array:
        """Return the sound that 60 iterations of Griffin and Lim's algorithm find.

        Magnitudes are those of the filters' pseudo-inverse, without negative ones.
        """
        inverse = np.linalg.pinv(self._filters(self.highest)).astype(np.float32)
        scale = np.float32(self.floor * self.window / 4.0)
        mel = jnp.where(inputs > 0.0, scale * jnp.exp(inputs), 0.0)
        magnitude = jnp.maximum(jnp.matmul(mel, inverse, precision=lax.Precision.HIGHEST), 0.0)
        samples = inputs.shape[1] * self.hop
        sound = stft.griffin_lim(magnitude, samples, self.window, self.hop, _ITERATIONS)
        return within(sound)[..., None]

    def _filters(self, highest: float | None) -> np.ndarray:
        return _filters(self.sample_rate, self.window, self.bands, self.lowest, highest)


_filters = functools.cache(mel_filters)
