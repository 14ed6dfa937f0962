"""Statistics of texts of tokens, alone or relative to their distribution.

A text is a row of integers that ends at its first 0, as `gan_jax.data.spec.text` says.
"""

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import MetricError

# Added to the count of every pair of tokens, so that the divergence is finite.
PSEUDO_COUNT = 0.1


def check_texts(texts: ArrayLike, size: int | None = None) -> np.ndarray:
    """Return texts as an array.

    Args:
      texts: integers ``[n, length]``, neither of them 0.
      size: of the vocabulary; ``None``: any.

    Raises:
      MetricError: the rank, the dtype or a token is not accepted.
    """
    found = np.asarray(texts)
    if found.ndim != 2 or 0 in found.shape or not np.issubdtype(found.dtype, np.integer):
        raise MetricError(
            f"texts are {found.dtype}{list(found.shape)}; accepted: integers [n, length]"
        )
    if found.min() < 0 or (size is not None and found.max() >= size):
        last = "" if size is None else f" to {size - 1}"
        raise MetricError(
            f"texts have tokens from {found.min()} to {found.max()}; accepted: 0{last}"
        )
    return found


def lengths(texts: ArrayLike) -> np.ndarray:
    """Return the tokens of every text, its end included where it has one, integers ``[n]``."""
    found = check_texts(texts)
    ended = found == 0
    return np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, found.shape[1])


def bigrams(texts: ArrayLike, size: int) -> np.ndarray:
    """Return how often each token follows each, float64 ``[size, size]``.

    The first token of a text follows an end, and nothing counts behind the end.

    Args:
      texts: integers ``[n, length]``.
      size: of the vocabulary.

    Raises:
      MetricError: see `check_texts`.
    """
    found = check_texts(texts, size)
    before = np.pad(found, ((0, 0), (1, 0)))[:, :-1]
    counted = np.arange(found.shape[1]) < lengths(found)[:, None]
    pairs = before[counted].astype(np.int64) * size + found[counted]
    return np.bincount(pairs, minlength=size**2).reshape(size, size).astype(np.float64)


def bigram_kl(texts: ArrayLike, distribution: np.ndarray) -> float:
    """Return the KL divergence of a distribution of bigrams from that of texts, in nats.

    It is ``KL(distribution || texts)``, which grows with what texts leave out: a pair that none of
    them has counts as a tenth of one. For ``n`` texts of the distribution itself it is about the
    number of possible pairs over twice the number of pairs in them.

    Args:
      texts: integers ``[n, length]``.
      distribution: of the pairs, float ``[size, size]``, see `bigrams`; its sum is not 0.

    Raises:
      MetricError: see `check_texts`.
    """
    size = len(distribution)
    real = distribution / distribution.sum()
    counts = bigrams(texts, size) + PSEUDO_COUNT
    found, expected = (counts / counts.sum())[real > 0], real[real > 0]
    return float((expected * np.log(expected / found)).sum())


def unique(texts: ArrayLike) -> float:
    """Return the number of different texts over that of all, above 0 to 1."""
    found = check_texts(texts)
    kept = np.arange(found.shape[1]) < lengths(found)[:, None]
    return len(np.unique(np.where(kept, found, 0), axis=0)) / len(found)


def validity(log_probability: np.ndarray) -> float:
    """Return the share of texts that are possible, given their log-probabilities ``[n]``."""
    return float(np.isfinite(log_probability).mean())


def nll(texts: ArrayLike, log_probability: np.ndarray) -> float:
    """Return the mean negative log-probability per token of the possible texts, in nats.

    For texts of the source it is the source's entropy per token on average. It is less where
    probable texts are too frequent: a text generator that makes one text may have a low value.

    Args:
      texts: integers ``[n, length]``.
      log_probability: natural logarithms ``[n]``; ``-inf``: a text is impossible, and left out.

    Returns:
      A number; the logarithm of the vocabulary is no bound of it. Where no text is possible, it is
      the greatest of any text, ``-log`` of the smallest float64: 745.
    """
    possible = np.isfinite(log_probability)
    if not possible.any():
        return 745.0
    return float(-log_probability[possible].sum() / lengths(texts)[possible].sum())
