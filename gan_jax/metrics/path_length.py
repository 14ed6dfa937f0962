"""Perceptual path length (Karras et al. 2018, 1812.04948, section 4.1).

"A Style-Based Generator Architecture for Generative Adversarial Networks". How much samples change
along the way between two points of a generator's space: the mean of ``d / epsilon^2``, with ``d``
the perceptual distance of the samples at ``t`` and ``t + epsilon``. In the paper that is LPIPS,
here the squared distance of an extractor's features.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.errors import MetricError

#: Step of the share ``t`` in [0, 1] of the way.
EPSILON = 1e-4
#: Per cent of the lengths that are left out at either end.
TAIL = 1.0


class PathLength(NamedTuple):
    """The mean length, and its standard error over the ways."""

    mean: float
    standard_error: float


def path_length(lengths: np.ndarray) -> PathLength:
    """Return the mean of lengths, float ``[n]``, without the smallest and the largest per cent.

    Raises:
      MetricError: there are fewer than two, or one is not finite.
    """
    lengths = np.asarray(lengths, np.float64)
    if lengths.ndim != 1 or len(lengths) < 2 or not np.isfinite(lengths).all():
        raise MetricError(
            f"path lengths are {list(lengths.shape)}, or not finite; accepted: two or more numbers"
        )
    low, high = np.percentile(lengths, [TAIL, 100 - TAIL], method="closest_observation")
    kept = lengths[(lengths >= low) & (lengths <= high)]
    return PathLength(float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept))))
