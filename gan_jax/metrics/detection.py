"""Measures of binary detection by scores, for anomaly detection.

Both depend only on the order of the scores, with ties counted as undecided. They are computed by
scikit-learn, after checks of the arguments.
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
