"""Mode coverage of a known mixture: of points, and of images whose classes are the modes.

The measures of "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning"
(Srivastava et al. 2017, https://arxiv.org/abs/1705.07761, section 4.1) on two-dimensional mixtures,
and the divergence over modes of "Unrolled Generative Adversarial Networks" (Metz et al. 2017,
https://arxiv.org/abs/1611.02163, section 3.3), which also counts the classes of images.
"""

import dataclasses
import math
import numbers

import numpy as np
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics.frechet import check_features, check_widths


@dataclasses.dataclass(frozen=True)
class ModeCoverage:
    """Modes found by a set of points.

    Attributes:
      modes: number of modes that are the nearest mode of at least one high-quality point.
      high_quality: share of the points that are close to their nearest mode, 0 to 1.
      kl: KL divergence in nats of the high-quality points' distribution over the k modes from the
        uniform one: 0 (uniform) to log(k) (all on one mode); log(k), the worst value, if there is
        no high-quality point.
    """

    modes: int
    high_quality: float
    kl: float


def mode_coverage(
    points: ArrayLike, modes: ArrayLike, std: float, *, within: float = 3.0
) -> ModeCoverage:
    """Return the number of covered modes, the share of high-quality points and their evenness.

    A point is of high quality if its Euclidean distance to the nearest mode is at most
    ``within * std``; the probability for points of the mixture itself is ``1 - exp(-within^2 / 2)``
    in two dimensions (98.9 % for 3). VEEGAN's protocol uses 2,500 points: the more points, the more
    likely is a hit of each mode.

    Args:
      points: floating [n, d] with n >= 1.
      modes: centres of the mixture, floating [k, d] with k >= 1.
      std: standard deviation about a centre, 0 or more, in the units of the points.
      within: radius of high quality in standard deviations, > 0.

    Returns:
      The number of modes, the share of high-quality points, the divergence in nats.

    Raises:
      MetricError: rank, dtype or widths are wrong, an array is empty, a number is not finite.
      ConfigError: std or within is out of range.
    """
    for name, value in (("std", std), ("within", within)):
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf or (name == "within" and value == 0):
            limit = "> 0" if name == "within" else ">= 0"
            raise ConfigError(f"{name} = {value!r}; accepted: a number {limit}.")
    found = check_features("points", points, 1).astype(np.float64)
    centres = check_features("modes", modes, 1).astype(np.float64)
    check_widths(("points", "modes"), found, centres)
    # One dimension at a time: an array [n, k, d] would be large for many modes.
    distances = np.stack([np.linalg.norm(found - centre, axis=1) for centre in centres], axis=1)
    nearest = distances.argmin(axis=1)
    near = distances[np.arange(len(found)), nearest] <= within * std
    counts = np.bincount(nearest[near], minlength=len(centres))
    return ModeCoverage(
        int(np.count_nonzero(counts)), float(near.mean()), _divergence_from_uniform(counts)
    )


def class_coverage(classes: ArrayLike, count: int) -> tuple[int, float]:
    """Return how many classes images have, and how unevenly they are spread over all classes.

    The values of images that are drawn evenly depend on their number ``n``, too: about
    ``count * (1 - exp(-n / count))`` classes and a divergence of ``(count - 1) / (2 n)`` nats.

    Args:
      classes: of the images, integers [n] from 0 to ``count - 1``, with n >= 1.
      count: number of all classes.

    Returns:
      The number of classes found, and the KL divergence in nats of the images' distribution over
      the classes from the uniform one: 0 to log(count).

    Raises:
      MetricError: the rank or dtype is wrong, there are no images, or a class is out of range.
    """
    found = np.asarray(classes)
    if found.ndim != 1 or not found.size or not np.issubdtype(found.dtype, np.integer):
        raise MetricError(f"classes are {found.dtype}{list(found.shape)}; accepted: integers [n]")
    if found.min() < 0 or found.max() >= count:
        raise MetricError(
            f"classes from {found.min()} to {found.max()}; accepted: 0 to {count - 1}"
        )
    counts = np.bincount(found, minlength=count)
    return int(np.count_nonzero(counts)), _divergence_from_uniform(counts)


def _divergence_from_uniform(counts: np.ndarray) -> float:
    total = counts.sum()
    if total == 0:
        return math.log(len(counts))
    shares = counts[counts > 0] / total
    # Rounding can make the divergence of equal counts slightly negative.
    return max(0.0, float((shares * np.log(shares * len(counts))).sum()))
