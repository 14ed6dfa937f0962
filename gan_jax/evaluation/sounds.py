"""Stored sound as extractors see it, and the metrics of sounds and pairs that need no extractor."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from gan_jax.data import kinds
from gan_jax.data.sources import ToneSource
from gan_jax.data.spec import Field
from gan_jax.metrics import enhancement, sound
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.extractors import Labelled

# Sounds whose pictures are made at once.
_AT_ONCE = 256


def sample_rate(field: Field) -> int:
    """Return the sample rate of sound, in Hz."""
    assert field.sample_rate is not None
    return field.sample_rate


def heard(field: Field, stored: jax.Array) -> jax.Array:
    """Return stored sound as float32 in [-1, 1]."""
    kind = kinds.of(field)
    assert isinstance(kind, kinds.Audio)
    return kind.sound(stored)


def picture_shape(field: Field) -> tuple[int, int, int]:
    """Return the shape of a sound's picture; raises as `gan_jax.metrics.sound.picture_shape`."""
    return sound.picture_shape(field.shape[0], sample_rate(field))


def pictures(field: Field, stored: np.ndarray) -> np.ndarray:
    """Return the pictures of stored sounds, uint8 ``[n, height, width, 1]``."""
    make = jax.jit(lambda part: sound.pictures(heard(field, part), sample_rate(field)))
    parts = (stored[first : first + _AT_ONCE] for first in range(0, len(stored), _AT_ONCE))
    return np.concatenate([np.asarray(make(part)) for part in parts])


def learnt(labelled: Labelled, field: Field) -> Labelled:
    """Return what a classifier of sounds' pictures learns from, given their sounds.

    Args:
      labelled: of stored sounds.
      field: of the sounds.
    """

    def read() -> tuple[np.ndarray, np.ndarray]:
        stored, labels = labelled.read()
        return pictures(field, stored), labels

    identity = f"{labelled.fingerprint}:{sound.protocol_of(sample_rate(field))}; shifted in time"
    # Shifted up or down, a sound has another pitch.
    return dataclasses.replace(
        labelled, read=read, fingerprint=identity, adapted=adapted(field), vertical=False
    )


def adapted(field: Field) -> Callable[[Extractor], Extractor]:
    """Return what makes an extractor of stored sounds from one of their pictures."""
    return functools.partial(
        sound.by_pictures,
        sample_rate=sample_rate(field),
        to_float=functools.partial(heard, field),
    )


def pitch_accuracy(source: ToneSource, stored: np.ndarray) -> float:
    """Return the share of stored sounds whose pitch is one of the source's classes'."""
    floats = np.asarray(heard(source.field, jax.numpy.asarray(stored)))
    return sound.pitch_accuracy(floats, sample_rate(source.field), source.pitches)


def pair_values(
    statistic: str, field: Field, outputs: np.ndarray, inputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Return a metric of pairs for each sound, float32 ``[n]``.

    Args:
      statistic: a key of `gan_jax.metrics.names.SOUND_PAIR_STATISTICS`.
      field: of the sounds.
      outputs: stored sounds ``[n, samples, channels]``.
      inputs: what they were made from.
      targets: what they should be.
    """
    made, given, clean = (heard(field, jax.numpy.asarray(x)) for x in (outputs, inputs, targets))
    if statistic == "si_sdr_gain":
        return np.asarray(enhancement.si_sdr(made, clean) - enhancement.si_sdr(given, clean))
    return enhancement.pair_values(statistic, made, clean, sample_rate(field))
