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


def reverse_nll(texts: ArrayLike, real: ArrayLike, size: int, *, order: int = 4) -> float:
    """Return how well a language model of the texts predicts real ones, in nats per real token.

    The reverse perplexity of Zhao et al. (2017, https://arxiv.org/abs/1706.04223) is its
    exponential. It grows with what texts leave out, and with what is wrong in them. The model is
    one of n-grams, interpolated by Witten and Bell: of ``c`` tokens after a context, ``t`` of them
    different, the shorter context has the weight ``t / (c + t)``; the shortest one is uniform.

    Args:
      texts: that the model is made of, integers ``[n, length]``.
      real: that it predicts, integers ``[m, length]``; best such that nothing was trained on.
      size: of the vocabulary.
      order: of the n-grams, the predicted token included.

    Raises:
      MetricError: see `check_texts`.
    """
    taught, asked = _contexts(texts, size, order), _contexts(real, size, order)
    probability = np.full(len(asked), 1.0 / size)
    for n in range(order):
        # Numbers of the n tokens before, and of these with the token itself.
        base = size ** np.arange(n + 1)[::-1]
        grams, counts = np.unique(taught[:, -n - 1 :] @ base, return_counts=True)
        contexts, first = np.unique(grams // size, return_index=True)
        totals, kinds = np.add.reduceat(counts, first), np.diff(first, append=len(grams))
        gram = asked[:, -n - 1 :] @ base
        seen = _lookup(contexts, np.stack([totals, kinds], axis=1), gram // size)
        total, kind = seen.T
        count = _lookup(grams, counts[:, None], gram)[:, 0]
        better = (count + kind * probability) / np.maximum(total + kind, 1)
        probability = np.where(total > 0, better, probability)
    return float(-np.log(probability).mean())


def _contexts(texts: ArrayLike, size: int, order: int) -> np.ndarray:
    """Return every token of texts with those before it, int64 ``[tokens, order]``, the last one.

    Before a text there are ends, and behind its end nothing counts.
    """
    found = check_texts(texts, size).astype(np.int64)
    padded = np.pad(found, ((0, 0), (order - 1, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, order, axis=1)
    return rows[np.arange(found.shape[1]) < lengths(found)[:, None]]


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the rows of values at the wanted ones of sorted keys; 0 where there is none."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[place] == wanted)[:, None], values[place], 0)


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
