"""The Fréchet distance between Gaussians fitted to two sets of features: FID, on any extractor.

"GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", Heusel et al.
2017, https://arxiv.org/abs/1706.08500. Everything is float64 on the host: float32 covariances are
wrong in the fourth digit. The checks of feature arrays that all metrics share are here too.
"""

import dataclasses
import logging

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError, MetricError

logger = logging.getLogger(__name__)

# Rows per block. It is fixed, so that the result does not depend on how the caller splits its
# features, and large enough that the product, not the merge, dominates the time.
_BLOCK = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and covariance of a set of features: the statistics of the Fréchet distance.

    Attributes:
      count: number of features, at least 2.
      mean: float64 [d].
      covariance: float64 [d, d], symmetric, unbiased (divided by ``count - 1``).

    Raises:
      MetricError: a field has another shape, contains NaN or infinity, or is not a covariance.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self):
        mean, covariance = np.asarray(self.mean), np.asarray(self.covariance)
        if self.count < 2:
            raise MetricError(
                f"moments of {self.count} features; accepted: 2 or more, to have a covariance."
            )
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise MetricError(
                f"moments with a mean of shape {mean.shape} and a covariance of shape "
                f"{covariance.shape}; accepted: [d] and [d, d]."
            )
        for name, array in (("mean", mean), ("covariance", covariance)):
            bad = np.count_nonzero(~np.isfinite(array))
            if bad:
                raise MetricError(
                    f"{bad} of {array.size} entries of the {name} are NaN or infinite; "
                    "accepted: finite numbers."
                )
        # Eigenvalue routines read one triangle only and would not detect this.
        asymmetry = np.abs(covariance - covariance.T).max(initial=0.0)
        if asymmetry > 1e-6 * np.abs(covariance).max(initial=0.0):
            raise MetricError(
                f"the covariance differs from its transpose by up to {asymmetry:.3g}; "
                "accepted: a symmetric matrix."
            )


class RunningMoments:
    """Mean and covariance of features that arrive in batches, without keeping the features.

    Blocks of fixed size are centred on their own mean and merged by the formula of Chan, Golub and
    LeVeque ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979),
    so a mean that is large relative to the deviations costs no precision. Incomplete blocks are
    buffered: the result does not depend on how the features were split.

    Raises:
      ConfigError: the width is not a positive integer.
    """

    def __init__(self, width: int):
        self._width = check_count("width of the features", width, 1)
        self._buffer = np.empty((_BLOCK, width))
        self._waiting = 0
        self._merged = (0, np.zeros(width), np.zeros((width, width)))

    def add(self, features: ArrayLike) -> None:
        """Add features, floating [n, width]; n may be 0 and may differ between calls.

        Raises:
          MetricError: rank, dtype or width is wrong, or a number is not finite; then nothing is
            added.
        """
        batch = check_features("features", features, 0)
        if batch.shape[1] != self._width:
            raise MetricError(
                f"features have shape {batch.shape}; accepted: [n, {self._width}], as announced."
            )
        start = 0
        while start < len(batch):
            part = batch[start : start + _BLOCK - self._waiting]
            self._buffer[self._waiting : self._waiting + len(part)] = part
            self._waiting += len(part)
            start += len(part)
            if self._waiting == _BLOCK:
                self._merged = _merge(self._merged, self._buffer)
                self._waiting = 0

    def result(self) -> Moments:
        """Return the moments of all features added so far; more may be added afterwards.

        Raises:
          MetricError: fewer than 2 have been added.
        """
        merged = self._merged
        if self._waiting:
            merged = _merge(merged, self._buffer[: self._waiting])
        count, mean, scatter = merged
        if count < 2:
            raise MetricError(f"features: {count} rows; accepted: 2 or more, for a covariance.")
        return Moments(count, mean, scatter / (count - 1))


def moments(features: ArrayLike) -> Moments:
    """Return number, mean and covariance of a set of features, floating [n, d] with n >= 2.

    Raises:
      MetricError: rank or dtype is wrong, there are fewer than 2, or a number is not finite.
    """
    checked = check_features("features", features, 2)
    running = RunningMoments(checked.shape[1])
    running.add(checked)
    return running.result()


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Fréchet (2-Wasserstein) distance of two Gaussians, FID's formula.

    ``|m_a - m_b|^2 + tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2)``, Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500.

    The last trace is the sum of the singular values of ``B^(1/2) A^(1/2)``, whose matrix roots come
    from symmetric eigenvalue decompositions. Compared with the roots of the eigenvalues of the
    product, this is accurate for singular covariances: the rounding error is of order eps instead
    of its root, and the distance of a set to itself is zero at any count.

    Side effect: logs a warning if a covariance is singular because there are no more features than
    dimensions.

    Args:
      a: moments of one set.
      b: moments of the other set, of the same width.

    Returns:
      The distance, 0 or more, in squared units of the features.

    Raises:
      MetricError: the widths differ.
    """
    width = len(a.mean)
    if len(b.mean) != width:
        raise MetricError(
            f"moments of features of width {width} and {len(b.mean)}; accepted: equal widths."
        )
    if min(a.count, b.count) <= width:
        logger.warning(
            f"the Fréchet distance of {a.count} and {b.count} features of width {width}: a "
            "covariance is singular and the distance strongly biased; compare it only with values "
            f"at the same counts (the bias is small only with far more than {width})"
        )
    difference = np.asarray(a.mean, np.float64) - np.asarray(b.mean, np.float64)
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    overlap = _root_factor(b.covariance).T @ _root_factor(a.covariance)
    # NumPy does not accept a matrix without rows, which constant features result in.
    shared = np.linalg.svd(overlap, compute_uv=False).sum() if overlap.size else 0.0
    return max(float(difference @ difference + traces - 2.0 * shared), 0.0)


def check_features(name: str, features: ArrayLike, least: int) -> np.ndarray:
    """Return features as a NumPy array after the checks that all metrics share.

    Args:
      name: their name in messages, such as ``"real features"``.
      features: floating [n, width].
      least: the smallest valid n.

    Returns:
      The same numbers on the host; dtypes unknown to NumPy become float32.

    Raises:
      MetricError: rank or dtype is wrong, there are too few, or a number is not finite.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0:
        raise MetricError(f"{name} have shape {array.shape}; accepted: [n, width] with width >= 1.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise MetricError(f"{name} have dtype {array.dtype}; accepted: a floating dtype.")
    if len(array) < least:
        raise MetricError(f"{name}: {len(array)} rows; accepted: at least {least}.")
    bad = np.count_nonzero(~np.isfinite(array).all(axis=1))
    if bad:
        raise MetricError(
            f"{name}: {bad} of {len(array)} rows hold NaN or infinity; accepted: finite numbers."
        )
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float32)


def check_widths(names: tuple[str, str], first: np.ndarray, second: np.ndarray) -> None:
    """Check that two sets of features [n, width] have the same width.

    Raises:
      MetricError: the widths differ.
    """
    if first.shape[1] != second.shape[1]:
        raise MetricError(
            f"{names[0]} have width {first.shape[1]} and {names[1]} {second.shape[1]}; "
            "accepted: equal widths, of the same layer."
        )


def check_count(name: str, value: int, least: int, most: int | None = None) -> int:
    """Return ``value`` if it is an integer in the range.

    Raises:
      ConfigError: it is not.
    """
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        limit = "" if most is None else f" and <= {most}"
        raise ConfigError(f"{name} = {value!r}; accepted: an integer >= {least}{limit}.")
    return int(value)


def _merge(
    merged: tuple[int, np.ndarray, np.ndarray], block: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    """Merge a float64 block [n, d] into (count, mean, sum of centred outer products)."""
    count, mean, scatter = merged
    total = count + len(block)
    block_mean = block.mean(axis=0)
    shift = block_mean - mean
    # Chan's correction for the distance of the two means is one more row of the product.
    rows = np.empty((len(block) + 1, block.shape[1]))
    np.subtract(block, block_mean, out=rows[:-1])
    rows[-1] = shift * np.sqrt(count * len(block) / total)
    return total, mean + shift * (len(block) / total), scatter + rows.T @ rows


def _root_factor(covariance: np.ndarray) -> np.ndarray:
    """Return F [d, rank] with ``F F^T`` the covariance, from its eigenvalues."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2.0)
    # Rounding turns zero eigenvalues into about eps, with roots 1e8 times larger, of which
    # thousands add up. This is the usual threshold of the numerical rank.
    kept = values > len(values) * np.finfo(np.float64).eps * np.abs(values).max()
    return vectors[:, kept] * np.sqrt(values[kept])
