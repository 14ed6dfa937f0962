"""Sound as log-mel spectrograms, by which extractors of images see it.

Windows of 64 ms overlap by seven eighths, and bands are equally wide on the mel scale, as in the
Inception Score of WaveGAN (Donahue 2018, 1802.04208). Here there are 32 bands instead of 128, for
the small classifier, and levels are rounded to bytes, as those of images are.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.mel import mel_filters
from gan_jax.data.stft import frames_of, stft
from gan_jax.errors import MetricError
from gan_jax.metrics.extractor import Extractor

BANDS = 32
"""Number of mel bands."""

LOWEST = 40.0
"""Frequency at which the lowest band begins, in Hz; the highest ends at half the sample rate."""

RANGE_DB = 60.0
"""Levels below a sinusoid of amplitude 1 that are distinguished, in dB."""

_WINDOW = 0.064  # seconds
_OVERLAP = 8
_LEAST = 8  # frames
_LARGEST = 32  # frames of a picture


def window_of(sample_rate: int) -> tuple[int, int]:
    """Return the samples of a window, a power of two of about 64 ms, and those between windows."""
    window = 2 ** max(4, round(math.log2(_WINDOW * sample_rate)))
    return window, window // _OVERLAP


def log_mel(sound: jax.Array, sample_rate: int, bands: int = BANDS) -> jax.Array:
    """Return the levels of mel bands in dB, relative to a sinusoid of amplitude 1.

    Args:
      sound: float32 ``[n, samples]`` in [-1, 1].
      sample_rate: in Hz.
      bands: number of bands.

    Returns:
      float32 ``[n, frames, bands]``, -60 or more.
    """
    window, hop = window_of(sample_rate)
    spectrum = jnp.abs(stft(sound, window, hop)) * np.float32(4.0 / window)
    filters = mel_filters(sample_rate, window, bands, LOWEST).astype(np.float32)
    power = jnp.matmul(jnp.square(spectrum), filters, precision=jax.lax.Precision.HIGHEST)
    return 10.0 * jnp.log10(jnp.maximum(power, 10.0 ** (-RANGE_DB / 10.0)))


def pictures(sound: jax.Array, sample_rate: int) -> jax.Array:
    """Return sound as grey images: time to the right, bands downwards, white for 0 dB and above.

    More than 32 frames are averaged, in equal groups; the last ones may be left out.

    Args:
      sound: float32 ``[n, samples, channels]`` in [-1, 1]; channels are averaged.
      sample_rate: in Hz.

    Returns:
      uint8 ``[n, *picture_shape]``.
    """
    _, frames, _ = picture_shape(sound.shape[1], sample_rate)
    levels = 1.0 + log_mel(jnp.mean(sound, axis=-1), sample_rate) / RANGE_DB
    group = _group(levels.shape[1])
    levels = levels[:, : frames * group].reshape(len(sound), frames, group, -1).mean(axis=2)
    grey = jnp.round(255.0 * jnp.clip(levels, 0.0, 1.0)).astype(jnp.uint8)
    return jnp.swapaxes(grey, 1, 2)[..., None]


def picture_shape(samples: int, sample_rate: int) -> tuple[int, int, int]:
    """Return the shape of the picture of a sound: ``(bands, frames, 1)``.

    Raises:
      MetricError: the sound is shorter than a window.
    """
    window, hop = window_of(sample_rate)
    if samples < _LEAST * hop:
        raise MetricError(
            f"sounds of {samples} samples at {sample_rate} Hz; accepted: {window} samples or more"
        )
    frames = frames_of(samples, hop)
    return BANDS, frames // _group(frames), 1


def _group(frames: int) -> int:
    """Return how many frames are averaged, so that a picture has at most 32."""
    return -(-frames // _LARGEST)


def protocol_of(sample_rate: int) -> str:
    """Return what a picture shows, for records."""
    window, hop = window_of(sample_rate)
    return f"log-mel: {BANDS} bands, windows of {window} samples every {hop}, {RANGE_DB:g} dB"


def by_pictures(
    extractor: Extractor, sample_rate: int, to_float: Callable[[jax.Array], jax.Array]
) -> Extractor:
    """Return an extractor of stored sound, ``[n, samples, channels]``.

    Args:
      extractor: of the sound's pictures.
      sample_rate: in Hz.
      to_float: maps stored sound to float32 in [-1, 1].
    """

    def apply(variables: Any, stored: jax.Array, layers: tuple[str, ...]) -> dict[str, jax.Array]:
        return extractor.apply(variables, pictures(to_float(stored), sample_rate), layers)

    protocol = {**extractor.protocol, "input": protocol_of(sample_rate)}
    return dataclasses.replace(extractor, apply=apply, protocol=protocol, of_floats=None)


def strongest(sound: np.ndarray) -> np.ndarray:
    """Return where the spectrum of each whole sound is largest, in steps of it, int ``[n]``.

    A step is ``sample_rate / samples`` Hz.

    Args:
      sound: floating ``[n, samples, channels]``; channels are averaged.

    Raises:
      MetricError: there are no sounds, or a sample is not finite.
    """
    mono = np.asarray(sound, np.float64).mean(axis=-1)
    if not len(mono) or not np.isfinite(mono).all():
        raise MetricError(f"sound of shape {list(mono.shape)}; accepted: finite samples of one")
    return np.abs(np.fft.rfft(mono, axis=1)).argmax(axis=1)


def pitch_accuracy(sound: np.ndarray, sample_rate: int, pitches: np.ndarray) -> float:
    """Return the share of sounds whose strongest frequency is that of a class.

    That is the largest value of the spectrum of the whole sound, and at most one of its steps,
    ``sample_rate / samples`` Hz, away from a pitch.

    Args:
      sound: floating ``[n, samples, channels]``; channels are averaged.
      sample_rate: in Hz.
      pitches: of the classes, in Hz.

    Raises:
      MetricError: as `strongest`.
    """
    step = sample_rate / sound.shape[1]
    distance = np.abs(strongest(sound)[:, None] * step - np.asarray(pitches)).min(axis=1)
    return float((distance <= step).mean())
