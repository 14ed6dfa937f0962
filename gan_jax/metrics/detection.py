"""Measures of binary detection by scores, for anomaly detection and membership inference.

They depend only on the order of the scores, with ties counted as undecided. The areas are computed
by scikit-learn, after checks of the arguments.
"""

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import MetricError


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic.

    The probability that a random positive example has a higher score than a random negative one,
    ties counted half: 1 for a perfect order, 0.5 for chance.

    Args:
      scores: finite numbers ``[n]``; the higher, the more likely positive.
      positive: bool ``[n]``, whether an example is positive.

    Returns:
      A number in [0, 1], computed in float64.

    Raises:
      MetricError: shapes or dtypes do not match, a score is not finite, or all examples are
        positive, or none is.
    """
    # Imported late: slow to import, and needed by few runs.
    from sklearn.metrics import roc_auc_score

    values, labels = _checked(scores, positive)
    return float(roc_auc_score(labels, values))


def auroc_standard_error(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the standard error of `auroc` over the choice of the examples.

    "Comparing the areas under two or more correlated receiver operating characteristic curves: a
    nonparametric approach", DeLong, DeLong and Clarke-Pearson 1988, https://doi.org/10.2307/2531595:
    of ``m`` positive and ``n`` negative examples, ``sqrt(var(p) / m + var(q) / n)``, with ``p`` the
    share of negative examples that score below a positive one and ``q`` the share of positive ones
    that score above a negative one. It is 0 where the order is perfect.

    Args:
      scores: as for `auroc`.
      positive: likewise, at least two of each kind.

    Raises:
      MetricError: as for `auroc`, or there is one example of a kind.
    """
    from scipy.stats import rankdata

    values, labels = _checked(scores, positive)
    ranks, counts = rankdata(values), (int(labels.sum()), int((~labels).sum()))
    if min(counts) < 2:
        raise MetricError(f"{counts[0]} positive and {counts[1]} negative examples; accepted: two")
    # What is left of an example's rank among all after that among its own kind.
    above = [ranks[kind] - rankdata(values[kind]) for kind in (labels, ~labels)]
    shares = above[0] / counts[1], above[1] / counts[0]
    terms = [np.var(x, ddof=1) / n for x, n in zip(shares, counts, strict=True)]
    return float(np.sqrt(sum(terms)))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the average precision: the mean, over positive examples, of the precision at each.

    The precision at an example is the share of positive examples among those that score as high or
    higher: the area under the precision-recall curve as a sum of steps, without interpolation. For
    random scores it is the share of positive examples in the set.

    Args:
      scores: finite numbers ``[n]``; the higher, the more likely positive.
      positive: bool ``[n]``, whether an example is positive.

    Returns:
      A number in (0, 1], computed in float64.

    Raises:
      MetricError: as for `auroc`.
    """
    from sklearn.metrics import average_precision_score

    values, labels = _checked(scores, positive)
    return float(average_precision_score(labels, values))


def _checked(scores: ArrayLike, positive: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    values, labels = np.asarray(scores), np.asarray(positive)
    is_number = np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)
    if values.ndim != 1 or not is_number:
        raise MetricError(
            f"scores are {values.dtype}{list(values.shape)}; accepted: real numbers [n]"
        )
    if labels.shape != values.shape or labels.dtype != np.bool_:
        raise MetricError(
            f"positive is {labels.dtype}{list(labels.shape)} for scores {list(values.shape)}; "
            "accepted: bool, one for each score"
        )
    values = values.astype(np.float64)
    if wrong := int((~np.isfinite(values)).sum()):
        raise MetricError(f"{wrong} of {len(values)} scores are not finite; accepted: finite ones")
    if labels.all() or not labels.any():
        raise MetricError(
            f"{int(labels.sum())} of {len(labels)} examples are positive; accepted: at least one "
            "that is, and one that is not"
        )
    return values, labels
