"""The squared maximum mean discrepancy with a cubic kernel: KID, on any extractor.

"Demystifying MMD GANs", Binkowski et al. 2018, https://arxiv.org/abs/1801.01401. Unlike the Fréchet
distance its estimator is unbiased: values at different numbers of images can be compared, and may
be slightly negative. Everything is float64 on the host.
"""

import dataclasses
import math

import numpy as np
from jax.typing import ArrayLike

from gan_jax.errors import MetricError
from gan_jax.metrics.frechet import check_count, check_features, check_widths

# Items of either set in one block of the kernel matrix: 32 MiB of float64.
_BLOCK = 2048


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """KID over random subsets.

    Attributes:
      mean: mean of the subsets' unbiased estimates.
      std: their standard deviation, divided by the number of subsets (not one less).
      standard_error: ``std / sqrt(subsets)``: the error of the mean as an estimate over *all*
        subsets of these images. It does not include the sampling error of the images: the subsets
        are drawn from the same sets and overlap, so it shrinks with their number at a fixed number
        of images (with subsets as large as the sets it is 0).
    """

    mean: float
    std: float
    standard_error: float


def mmd2(x: ArrayLike, y: ArrayLike) -> float:
    """Return the unbiased estimate of the squared MMD with the kernel ``(x.y / d + 1)^3``.

    The means of the kernel over all pairs of different items of ``x`` and of ``y``, minus twice its
    mean over all pairs of an item of each: Binkowski et al. 2018, https://arxiv.org/abs/1801.01401,
    equation 4. Time is quadratic in the counts, memory is not.

    Args:
      x: floating [m, d] with m >= 2.
      y: floating [n, d] with n >= 2.

    Returns:
      The estimate; about zero, of either sign, when both come from one distribution.

    Raises:
      MetricError: rank, dtype or widths are wrong, there are fewer than 2 items, a number is not
        finite or so large that its sixth power overflows.
    """
    first, second = _check_pair(x, y, 2)
    return _mmd2(first, second)


def kernel_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> KernelDistance:
    """Return KID: the mean of ``mmd2`` over random subsets of the two sets.

    Binkowski et al. 2018, https://arxiv.org/abs/1801.01401. Per subset, in this order, indices into
    ``x`` and then into ``y`` are drawn without replacement by ``choice`` of one
    ``numpy.random.RandomState(seed)``, whose stream NumPy has frozen: they are the draws of
    torch-fidelity 0.4 for the same seed and counts, so the two agree to rounding.

    Args:
      x: floating [m, d].
      y: floating [n, d].
      subsets: number of subsets.
      subset_size: items of each set in a subset, at least 2.
      seed: seed of the draws, 0 to 2^32 - 1.

    Raises:
      MetricError: rank, dtype or widths are wrong, a set has fewer items than a subset, a number is
        not finite or so large that its sixth power overflows.
      ConfigError: subsets, their size or the seed is not an integer in its range.
    """
    check_count("subsets", subsets, 1)
    check_count("seed", seed, 0, 2**32 - 1)
    check_count("subset_size", subset_size, 2)
    first, second = _check_pair(x, y, subset_size)
    draws = np.random.RandomState(seed)
    estimates = []
    for _ in range(subsets):
        chosen_x = draws.choice(len(first), subset_size, replace=False)
        chosen_y = draws.choice(len(second), subset_size, replace=False)
        estimates.append(_mmd2(first[chosen_x], second[chosen_y]))
    std = float(np.std(estimates))
    return KernelDistance(float(np.mean(estimates)), std, std / math.sqrt(subsets))


def _check_pair(x: ArrayLike, y: ArrayLike, least: int) -> tuple[np.ndarray, np.ndarray]:
    first = check_features("features x", x, least)
    second = check_features("features y", y, least)
    check_widths(("features x", "features y"), first, second)
    return first, second


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    m, n = len(x), len(y)
    with np.errstate(over="ignore", invalid="ignore"):
        within = _within(x) / (m * (m - 1)) + _within(y) / (n * (n - 1))
        value = float(within - 2.0 * _across(x, y) / (m * n))
    if not math.isfinite(value):
        largest = max(float(np.abs(x).max()), float(np.abs(y).max()))
        raise MetricError(
            f"features as large as {largest:.3g}: the cubic kernel overflows; "
            "accepted: features whose sixth power is finite in float64."
        )
    return value


def _within(x: np.ndarray) -> np.floating:
    """Return the sum of the kernel over ordered pairs of different items."""
    total = np.float64(0.0)
    blocks = _blocks(x)
    for i, block in enumerate(blocks):
        kernel = _kernel(block, block)
        total += kernel.sum() - np.trace(kernel)
        for other in blocks[i + 1 :]:
            total += 2.0 * _kernel(block, other).sum()
    return total


def _across(x: np.ndarray, y: np.ndarray) -> np.floating:
    """Return the sum of the kernel over all pairs of an item of x and one of y."""
    total = np.float64(0.0)
    for block in _blocks(x):
        for other in _blocks(y):
            total += _kernel(block, other).sum()
    return total


def _blocks(x: np.ndarray) -> list[np.ndarray]:
    return [x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # BLAS halves the work for a matrix times its own transpose if both are the same array.
    left = x.astype(np.float64)
    right = left if x is y else y.astype(np.float64)
    base = left @ right.T
    base /= x.shape[1]
    base += 1.0
    return base * base * base
