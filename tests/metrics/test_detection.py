"""AUROC and average precision against their definitions, by hand and by scikit-learn's data."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from gan_jax.errors import MetricError
from gan_jax.metrics.detection import auroc, auroc_standard_error, average_precision


def by_pairs(scores, positive):
    """The share of pairs in the right order, ties half."""
    apart = scores[positive][:, None] - scores[~positive][None, :]
    return np.mean((apart > 0) + 0.5 * (apart == 0))


def by_positives(scores, positive):
    """The mean precision at the thresholds of the positive examples."""
    return np.mean([positive[scores >= score].mean() for score in scores[positive]])


def random_set(seed, n=300, levels=None):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.2
    positive[:2] = [True, False]
    scores = rng.normal(size=n) + positive
    # Few levels make many ties, also between positives and negatives.
    return (np.round(scores * levels) if levels else scores), positive


@pytest.mark.parametrize("levels", [None, 20, 1])
@pytest.mark.parametrize("seed", range(3))
def test_both_are_what_they_are_defined_to_be(levels, seed):
    scores, positive = random_set(seed, levels=levels)
    assert auroc(scores, positive) == pytest.approx(by_pairs(scores, positive), abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(
        by_positives(scores, positive), abs=1e-12
    )
    assert auroc(scores, positive) == pytest.approx(
        reference.roc_auc_score(positive, scores), abs=1e-12
    )
    assert average_precision(scores, positive) == pytest.approx(
        reference.average_precision_score(positive, scores), abs=1e-12
    )
    ranks = stats.rankdata(scores)[positive].sum()
    n, m = positive.sum(), (~positive).sum()
    assert auroc(scores, positive) == pytest.approx((ranks - n * (n + 1) / 2) / (n * m), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 20, 1])
def test_the_standard_error_is_that_of_the_shares_of_pairs(levels):
    scores, positive = random_set(0, levels=levels)
    apart = scores[positive][:, None] - scores[~positive][None, :]
    right = (apart > 0) + 0.5 * (apart == 0)
    variance = sum(np.var(right.mean(axis), ddof=1) / right.shape[1 - axis] for axis in (0, 1))
    assert auroc_standard_error(scores, positive) == pytest.approx(np.sqrt(variance), abs=1e-12)


def test_the_standard_error_is_the_deviation_over_sets():
    sets = [random_set(seed) for seed in range(200)]
    deviation = np.std([auroc(*each) for each in sets])
    mean = np.mean([auroc_standard_error(*each) for each in sets])
    assert mean == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize(
    ("scores", "positive", "area", "precision"),
    [
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], 1.0, 1.0),
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 0], 0.0, (2 / 4 + 1 / 3) / 2),
        ([5.0, 5.0, 5.0, 5.0], [1, 0, 0, 0], 0.5, 0.25),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75, (1 + 2 / 3) / 2),
        ([1.0, 2.0, 2.0, 3.0], [0, 1, 0, 1], 0.875, (1 + 2 / 3) / 2),
    ],
)
def test_by_hand(scores, positive, area, precision):
    positive = np.array(positive, bool)
    assert auroc(scores, positive) == pytest.approx(area, abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(precision, abs=1e-12)


def test_only_the_order_counts_and_the_opposite_order_is_the_complement():
    scores, positive = random_set(0, levels=10)
    for measure in (auroc, average_precision):
        assert measure(np.exp(scores / 7), positive) == measure(scores, positive)
        shuffled = np.random.default_rng(1).permutation(len(scores))
        assert measure(scores[shuffled], positive[shuffled]) == pytest.approx(
            measure(scores, positive), abs=1e-12
        )
    assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive), abs=1e-12)


def test_scores_of_float32_and_integers_are_compared_in_float64():
    # Neighbours in float32 about 1: were they rounded further, they would tie.
    scores = np.nextafter(np.float32(1), np.float32([0, 2]), dtype=np.float32)
    assert auroc(scores, np.array([False, True])) == 1.0
    # In float32 these integers are equal.
    assert auroc(np.array([2**24, 2**24 + 1]), np.array([True, False])) == 0.0


@pytest.mark.parametrize("measure", [auroc, auroc_standard_error, average_precision])
@pytest.mark.parametrize(
    ("scores", "positive", "message"),
    [
        ([1.0, np.nan, np.nan], [True, False, True], "2 of 3 scores are not finite"),
        ([1.0, np.inf], [True, False], "1 of 2 scores are not finite"),
        ([1.0, 2.0], [True, True], "2 of 2 examples are positive; accepted: at least one"),
        ([1.0, 2.0], [False, False], "0 of 2 examples are positive; accepted: at least one"),
        (np.zeros(0), np.zeros(0, bool), "0 of 0 examples are positive"),
        ([[1.0], [2.0]], [True, False], r"scores are float64\[2, 1\]; accepted: real numbers"),
        (["a", "b"], [True, False], "accepted: real numbers"),
        ([True, False], [True, False], "scores are bool"),
        ([1.0, 2.0], [1, 0], r"positive is int64\[2\].*accepted: bool"),
        ([1.0, 2.0], [True], r"positive is bool\[1\] for scores \[2\]"),
    ],
)
def test_what_has_no_value_is_refused(measure, scores, positive, message):
    with pytest.raises(MetricError, match=message):
        measure(scores, np.asarray(positive))
