"""Sound of piano rolls, by additive synthesis.

Each note is a sum of sine waves at the multiples of the frequency of its pitch, 440 Hz for A4 (MIDI
number 69), of half the amplitude for each further one. It fades in and out within its own time, so
that it begins and ends without a click. A step lasts as long as in the MIDI file of the roll.
"""

import numpy as np

from gan_jax.report import midi

#: In Hz; half of it is above the highest pitch of MIDI.
SAMPLE_RATE = 32_000
STEP = SAMPLE_RATE // 8
"""Samples of a sixteenth note, at 120 quarter notes a minute."""
_AMPLITUDES = 0.5 ** np.arange(6)
# Seconds.
_FADE_IN, _FADE_OUT = 0.01, 0.04
_PEAK = 0.9


def frequency(pitch: int) -> float:
    """Return the frequency in Hz of a MIDI number, in equal temperament."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def sound(roll: np.ndarray, lowest_pitch: int) -> np.ndarray:
    """Return the sound of a piano roll, float32 ``[steps * STEP]`` in [-0.9, 0.9].

    All notes are equally loud: the softer, the more of them sound together at any time of the roll.

    Args:
      roll: 0 or 1, ``[steps, pitches]``; successive steps of one pitch are one note.
      lowest_pitch: the MIDI number of the first column.
    """
    samples = np.zeros(len(roll) * STEP)
    together = max(1, int((roll != 0).sum(axis=1).max(initial=0)))
    for start, end, column in midi.notes(roll):
        samples[start * STEP : end * STEP] += _note(lowest_pitch + column, (end - start) * STEP)
    return (samples * (_PEAK / (together * _AMPLITUDES.sum()))).astype(np.float32)


def _note(pitch: int, count: int) -> np.ndarray:
    """Return ``count`` samples of a note."""
    seconds = np.arange(count) / SAMPLE_RATE
    left = count / SAMPLE_RATE - seconds
    fades = [np.clip(seconds / _FADE_IN, 0, 1), np.clip(left / _FADE_OUT, 0, 1)]
    envelope = np.prod([0.5 - 0.5 * np.cos(np.pi * fade) for fade in fades], axis=0)
    note = np.zeros(count)
    for multiple, amplitude in enumerate(_AMPLITUDES, start=1):
        if (partial := multiple * frequency(pitch)) < SAMPLE_RATE / 2:
            note += amplitude * np.sin(2 * np.pi * partial * seconds)
    return envelope * note
