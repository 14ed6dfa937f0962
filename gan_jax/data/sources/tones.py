"""Synthetic tones of ten pitches: audio for tests and first experiments, computed from a seed.

A tone is a sum of four harmonics with random amplitudes and phases under a random attack and decay.
Its class is its pitch, C5 to the A5 above it in semitones.
"""

import numpy as np

from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.data.spec import Field, labelled
from gan_jax.errors import ConfigError, lookup

SAMPLE_RATE = 8_000
SAMPLES = 1_024
NAMES = ("C5", "C#5", "D5", "D#5", "E5", "F5", "F#5", "G5", "G#5", "A5")
#: Frequencies of the classes, in Hz, in equal temperament with A5 = 880 Hz.
PITCHES = 880.0 * 2.0 ** ((np.arange(10) - 9) / 12)
# The seeds of the splits: tones of one are not those of the other.
SPLITS = {"train": 0, "test": 1}
_HARMONICS = 4
# Tones that are made at a time: arrays of all would not fit into a processor's cache.
_TOGETHER = 256


class ToneSource(ArraySource):
    """A source of tones.

    Attributes:
      pitches: of the classes, in Hz.
    """

    pitches = PITCHES


def tones(split: str, size: int, dtype: str = "int16") -> ToneSource:
    """Return tones ``audio`` ``[1024, 1]`` at 8 kHz, with their ``label``.

    The fundamental is the strongest harmonic. In a set the classes take turns.

    Args:
      split: "train" or "test".
      size: number of tones.
      dtype: "int16", or "float32" in [-1, 1].

    Raises:
      ConfigError: the split is unknown, or the size is not positive.
    """
    seed = lookup(SPLITS, split, "data.split")
    if size < 1:
        raise ConfigError(f"data.toy_size = {size}; accepted: 1 or more")
    labels = np.arange(size) % len(PITCHES)
    draws = uniform(seed, (2 * _HARMONICS + 3, size))
    parts = range(_TOGETHER, size, _TOGETHER)
    drawn = zip(np.split(labels, parts), np.split(draws, parts, axis=1), strict=True)
    sound = np.concatenate([_stored(*part, dtype) for part in drawn])
    field = Field("audio", (SAMPLES, 1), dtype, sample_rate=SAMPLE_RATE)
    arrays = {"audio": sound[:, :, None], "label": labels.astype(np.int32)}
    return ToneSource("tones", split, arrays, labelled("audio", field, NAMES))


def _stored(labels: np.ndarray, draws: np.ndarray, dtype: str) -> np.ndarray:
    """Return tones ``[n, 1024]`` of pitches ``[n]``, by random numbers in [0, 1) ``[11, n]``."""
    time = np.arange(SAMPLES) / SAMPLE_RATE
    k = np.arange(1, _HARMONICS + 1)[:, None]
    levels = np.where(k == 1, 1.0, 0.5 * draws[:_HARMONICS] / k)
    phases = 2.0 * np.pi * draws[_HARMONICS : 2 * _HARMONICS]
    # sin(a + phase) of the same angles for all tones of a pitch.
    parts = np.concatenate([levels * np.cos(phases), levels * np.sin(phases)])
    sound = np.empty((len(labels), SAMPLES))
    for label in np.unique(labels):
        angles = 2.0 * np.pi * k * PITCHES[label] * time
        own = labels == label
        sound[own] = parts[:, own].T @ np.concatenate([np.sin(angles), np.cos(angles)])
    attack = 0.002 + 0.018 * draws[-3]  # seconds
    decay = 0.05 + 0.2 * draws[-2]
    envelope = np.minimum(1.0, time / attack[:, None]) * np.exp(-time / decay[:, None])
    sound *= envelope
    peak = np.abs(sound).max(axis=1, keepdims=True)
    sound *= (0.3 + 0.7 * draws[-1][:, None]) / peak
    stored = sound if dtype == "float32" else np.round(sound * 32767.0)
    return stored.astype(dtype)
