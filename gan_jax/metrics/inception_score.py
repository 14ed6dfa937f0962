"""The Inception Score, from the logits of any classifier.

"Improved Techniques for Training GANs", Salimans et al. 2016, https://arxiv.org/abs/1606.03498. It
uses generated images only: the score is high if the classifier is confident about each image and
predicts all classes equally often.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from gan_jax.errors import MetricError
from gan_jax.metrics.frechet import check_count, check_features


class InceptionScore(NamedTuple):
    """Mean and (population) standard deviation of the score over the splits; 1 to k classes."""

    mean: float
    std: float


def inception_score(logits: ArrayLike, *, splits: int = 10, seed: int = 2020) -> InceptionScore:
    """Return ``exp(mean of KL(p(class | image) || p(class)))`` over splits of the images.

    Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 4. ``p(class)`` is the mean over
    the images of one split, so fewer images per split score lower: the usual protocol is 50,000
    images in 10 splits. The images are shuffled first by the permutation of
    ``numpy.random.RandomState(seed)``, as torch-fidelity does, because generated images often come
    sorted by class. Softmax and sums are float64.

    Args:
      logits: floating [n, k], not probabilities.
      splits: number of nearly equal parts.
      seed: seed of the shuffle, 0 to 2^32 - 1.

    Returns:
      Mean and standard deviation over the splits.

    Raises:
      MetricError: rank or dtype is wrong, there are fewer images than splits, or a number is not
        finite.
      ConfigError: splits or the seed is not an integer in its range.
    """
    check_count("splits", splits, 1)
    check_count("seed", seed, 0, 2**32 - 1)
    checked = check_features("logits", logits, 0)
    count = len(checked)
    if count < splits:
        raise MetricError(
            f"logits of {count} images in {splits} splits; accepted: at least one image per split."
        )
    order = np.random.RandomState(seed).permutation(count)
    bounds = [part * count // splits for part in range(splits + 1)]
    scores = [_score(checked[order[i:j]]) for i, j in itertools.pairwise(bounds)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: np.ndarray) -> float:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    # Avoids log(0) for classes of probability 0; the smallest normal number does not change a sum
    # in float64.
    log_p = np.maximum(log_p, np.log(np.finfo(np.float64).tiny))
    p = np.exp(log_p)
    divergence = (p * (log_p - np.log(p.mean(axis=0)))).sum(axis=1)
    return float(np.exp(divergence.mean()))
