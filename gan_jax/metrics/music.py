"""Statistics of piano rolls, alone or relative to those of real ones.

MuseGAN (Dong et al. 2017, 1709.06298) measures samples by such numbers. A roll is 0 and 1, steps by
pitches, as `gan_jax.data.spec.music` says.
"""

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import MetricError


def check_rolls(rolls: ArrayLike) -> np.ndarray:
    """Return rolls as bool ``[n, steps, pitches]``.

    Args:
      rolls: uint8 ``[n, steps, pitches, 1]`` of 0 and 1, none of them 0.

    Raises:
      MetricError: the rank, the dtype or a value is not accepted.
    """
    found = np.asarray(rolls)
    if found.ndim != 4 or found.shape[3] != 1 or 0 in found.shape or found.dtype != np.uint8:
        raise MetricError(
            f"rolls are {found.dtype}{list(found.shape)}; accepted: uint8 [n, steps, pitches, 1]"
        )
    if found.max() > 1:
        raise MetricError(f"rolls have values up to {found.max()}; accepted: 0 and 1")
    return found[..., 0].astype(bool)


def scale_violations(
    rolls: ArrayLike, scales: np.ndarray, labels: np.ndarray | None = None
) -> float:
    """Return the share of notes that are not of the scale, each weighted by its steps.

    Args:
      rolls: see `check_rolls`. Without any note there is no violation: see `empty_bars`.
      scales: which pitches are of each scale, bool ``[scales, pitches]``.
      labels: the scale of each roll, integers ``[n]``; ``None``: the one that it violates least.

    Raises:
      MetricError: see `check_rolls`; or the pitches or the number of labels differ.
    """
    played = check_rolls(rolls).sum(axis=1)
    if scales.shape[1] != played.shape[1] or (labels is not None and len(labels) != len(played)):
        given = "no" if labels is None else f"{len(labels)}"
        raise MetricError(
            f"{len(played)} rolls of {played.shape[1]} pitches with {given} labels and scales of "
            f"{scales.shape[1]} pitches; accepted: a label each, and as many pitches"
        )
    outside = played @ ~scales.T.astype(bool)
    violations = outside.min(axis=1) if labels is None else outside[np.arange(len(labels)), labels]
    return float(violations.sum() / max(played.sum(), 1))


def polyphony(rolls: ArrayLike) -> np.ndarray:
    """Return how many steps have each number of notes, integers ``[pitches + 1]``.

    Raises:
      MetricError: see `check_rolls`.
    """
    found = check_rolls(rolls)
    return np.bincount(found.sum(axis=2).ravel(), minlength=found.shape[2] + 1)


def intervals(rolls: ArrayLike) -> np.ndarray:
    """Return how often the highest voice moves by each interval, integers ``[2 * pitches - 1]``.

    An interval is between the highest note of a step and that of the last step before that is not
    silent, from ``1 - pitches`` to ``pitches - 1`` semitones. Where the note is the same, none is
    counted.

    Raises:
      MetricError: see `check_rolls`.
    """
    found = check_rolls(rolls)
    count, steps, pitches = found.shape
    sounds = found.any(axis=2)
    highest = pitches - 1 - found[:, :, ::-1].argmax(axis=2)
    # At each step the last one that sounded, or -1.
    last = np.maximum.accumulate(np.where(sounds, np.arange(steps), -1), axis=1)
    voice = highest[np.arange(count)[:, None], last]
    moves = (voice[:, 1:] - voice[:, :-1])[last[:, :-1] >= 0]
    return np.bincount(moves[moves != 0] + pitches - 1, minlength=2 * pitches - 1)


def total_variation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the total variation of two histograms of one length: 0 alike, 1 disjoint.

    Of an empty histogram it is 1, or 0 if both are empty.
    """
    if not (one.any() and other.any()):
        return float(one.any() != other.any())
    return float(0.5 * np.abs(one / one.sum() - other / other.sum()).sum())


def empty_bars(rolls: ArrayLike) -> float:
    """Return the share of rolls without a note.

    Raises:
      MetricError: see `check_rolls`.
    """
    return float(np.mean(~check_rolls(rolls).any(axis=(1, 2))))
