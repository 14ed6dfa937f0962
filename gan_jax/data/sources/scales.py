"""Bars of music in four scales, of a small grammar: piano rolls for lessons and tests.

A bar has 16 steps, each a sixteenth note, and 16 pitches from C4 to D#5. Its class is its scale.

- Chords: each half of the bar has, with probability 0.9, a third that is held: the first and third,
  the second and fourth, or the third and fifth degree of the scale, with equal probability.
- Melody: each of four beats is a quarter note (0.4), two eighth notes (0.4) or a rest (0.2), on the
  pitches of the scale from its fifth degree upwards. The first note is any of them with equal
  probability. The next note is one pitch of the scale higher or lower (0.8), or two (0.2), up and
  down alike; where there is no such pitch, it moves by as much the other way.

No note of the melody is repeated at once.
"""

import numpy as np

from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.data.spec import labelled, music
from gan_jax.errors import lookup, require

STEPS = PITCHES = 16
#: The MIDI number of the first column: C4.
LOWEST_PITCH = 60
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
#: By the name of a class, its tonic above C, and its scale above the tonic, both in semitones.
SCALES = {"C major": (0, _MAJOR), "C minor": (0, _MINOR), "D major": (2, _MAJOR)}
SCALES["D minor"] = (2, _MINOR)
NAMES = tuple(SCALES)
# The seeds of the splits: bars of one are drawn apart from those of the other.
SPLITS = {"train": 0, "test": 1}
_CHORD, _CHORDS = 0.9, 3
_QUARTER, _EIGHTHS = 0.4, 0.4
_STEP = 0.8
_BEATS, _BEAT = 4, 4


def membership() -> np.ndarray:
    """Return which pitches are of each scale, bool ``[classes, PITCHES]``."""
    pitches = np.arange(PITCHES)
    return np.stack([np.isin((pitches - tonic) % 12, scale) for tonic, scale in SCALES.values()])


class ScaleSource(ArraySource):
    """A source of bars.

    Attributes:
      scales: which pitches are of the scale of each class, bool ``[classes, pitches]``.
    """

    scales = membership()


def scales(split: str, size: int) -> ScaleSource:
    """Draw bars ``music`` ``[16, 16, 1]`` with their ``label``; the same on every machine.

    In a set the classes take turns.

    Args:
      split: "train" or "test".
      size: number of bars.

    Raises:
      ConfigError: the split is unknown, or the size is not positive.
    """
    seed = lookup(SPLITS, split, "data.split")
    require(size >= 1, "data.toy_size", size, "1 or more")
    labels = np.arange(size) % len(SCALES)
    # Of each half, whether there is a chord, and which; of each beat, its rhythm, and of its two
    # eighths how far and whether up; of the melody its first note.
    draws = uniform(seed, (size, 2 * 2 + _BEATS * 5 + 1))
    rolls = np.zeros((size, STEPS, PITCHES, 1), np.uint8)
    for roll, label, numbers in zip(rolls[..., 0], labels, draws, strict=True):
        tonic, _ = SCALES[NAMES[label]]
        degrees = np.flatnonzero(ScaleSource.scales[label])
        _play(roll, degrees[degrees >= tonic], numbers.tolist())
    spec = labelled("music", music((STEPS, PITCHES), LOWEST_PITCH), NAMES)
    return ScaleSource("scales", split, {"music": rolls, "label": labels.astype(np.int32)}, spec)


def _play(roll: np.ndarray, degrees: np.ndarray, draws: list[float]) -> None:
    """Write a bar into an empty roll ``[STEPS, PITCHES]``, from pitches of a scale and numbers."""
    for half in range(2):
        present, which = draws[2 * half : 2 * half + 2]
        if present < _CHORD:
            root = int(which * _CHORDS)
            roll[half * STEPS // 2 :][: STEPS // 2, degrees[[root, root + 2]]] = 1
    melody = degrees[4:]
    place = int(draws[4] * len(melody))
    for beat in range(_BEATS):
        rhythm, *moves = draws[5 * beat + 5 : 5 * beat + 10]
        if rhythm >= _QUARTER + _EIGHTHS:
            continue
        count = 1 if rhythm < _QUARTER else 2
        length = _BEAT // count
        for i in range(count):
            start = beat * _BEAT + i * length
            roll[start : start + length, melody[place]] = 1
            far, up = moves[2 * i : 2 * i + 2]
            distance = 1 if far < _STEP else 2
            move = distance if up < 0.5 else -distance
            place += move if 0 <= place + move < len(melody) else -move
