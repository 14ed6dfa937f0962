"""Sound, as samples or as the spectrogram of it that networks see."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from gan_jax.data import stft
from gan_jax.data.kinds.kind import Kind
from gan_jax.report import grids, spectrograms, wav


class Audio(Kind):
    """Sound ``(samples, channels)`` in [-1, 1] for networks; int16 or float32 stored; WAV files.

    int16 is divided by 2^15, which is exact, so that every stored value comes back as it was.
    float32 is clipped to [-1, 1] when stored. A picture is a grid of log-magnitude spectrograms of
    the mean over channels.
    """

    @property
    @override
    def suffix(self) -> str:
        return wav.SUFFIX

    @property
    def _full_scale(self) -> float:
        """The stored value that stands for an amplitude of 1."""
        return 32768.0 if self.field.dtype == "int16" else 1.0

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return self.sound(stored)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return self.stored(data)

    def sound(self, stored: jax.Array) -> jax.Array:
        """Return stored sound ``[..., samples, channels]`` as float32 in [-1, 1]."""
        return stored.astype(jnp.float32) / self._full_scale

    def stored(self, data: jax.Array) -> jax.Array:
        """Return sound as the field stores it; inverse of `sound`."""
        if self.field.dtype == "int16":
            levels = jnp.round(data.astype(jnp.float32) * 32768.0)
            return jnp.clip(levels, -32768.0, 32767.0).astype(jnp.int16)
        return jnp.clip(data.astype(jnp.float32), -1.0, 1.0)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        assert self.field.sample_rate is not None
        return wav.wav(example, self.field.sample_rate)

    @override
    def is_complete(self, content: bytes) -> bool:
        return wav.is_complete(content)

    @override
    def facts(self) -> dict[str, np.ndarray]:
        return {"sample_rate": np.asarray(self.field.sample_rate, np.int32)}

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        sound = examples.astype(np.float32).mean(axis=-1) / self._full_scale
        return grids.grid(spectrograms.spectrograms(sound), columns)


class Spectrogram(Audio):
    """Sound of one channel, of which networks see log-magnitude spectrograms.

    These are arrays ``(frequencies, frames, 1)``: the logarithm of the magnitude of each frequency
    but the highest, less its mean, over three deviations of it, clipped to [-1, 1] (SpecGAN,
    Donahue 2018, 1802.04208). What networks make is stored as the sound that `griffin_lim` finds.
    """

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        window, hop = self._stft
        return window // 2, stft.frames_of(self.field.shape[0], hop), 1

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        sound = self.sound(stored)[..., 0]
        logs = log_magnitudes(sound.reshape(-1, sound.shape[-1]), *self._stft)
        mean, spread = self._scales
        scaled = jnp.clip((logs - mean) / spread, -1.0, 1.0)
        return jnp.swapaxes(scaled, 1, 2).reshape(*sound.shape[:-1], *self.shape)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        mean, spread = self._scales
        logs = jnp.swapaxes(data[..., 0].astype(jnp.float32), 1, 2) * spread + mean
        magnitude = jnp.pad(jnp.exp(logs), ((0, 0), (0, 0), (0, 1)))
        return self.stored(stft.griffin_lim(magnitude, self.field.shape[0], *self._stft)[..., None])

    @property
    def _stft(self) -> tuple[int, int]:
        assert self.field.stft is not None
        return self.field.stft

    @property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The means of the logarithms, and three deviations, float32 ``[frequencies]``."""
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return mean, np.float32(3.0) * deviation


def log_magnitudes(sound: jax.Array, window: int, hop: int) -> jax.Array:
    """Return the logarithms that `Spectrogram` scales: ``[n, samples]`` to ``[n, frames, bins]``.

    The highest frequency is left out, so that the others are as many as half the window.
    """
    return jnp.log(jnp.abs(stft.stft(sound, window, hop))[..., :-1] + 1e-6)
