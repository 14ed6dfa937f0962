"""Inception Score: closed forms, torch-fidelity, extreme logits, shuffling, errors."""

import inspect
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics.inception_score import InceptionScore, inception_score
from tests.metrics.fidelity import reference_module


def logits_of(count, classes, seed=0, scale=2.0):
    return scale * np.random.default_rng(seed).standard_normal((count, classes))


def test_uniform_logits_score_one():
    score = inception_score(np.full((100, 7), 3.0, np.float32))
    assert score == pytest.approx((1.0, 0.0), abs=1e-12)


@pytest.mark.parametrize("scale", [100.0, 1e30])
@pytest.mark.parametrize("classes", [2, 10, 1008])
def test_sure_and_balanced_logits_score_the_number_of_classes(scale, classes):
    # Beyond a gap of 745 a softmax has zeros, and their logarithms.
    score = inception_score(scale * np.tile(np.eye(classes, dtype=np.float32), (3, 1)), splits=1)
    assert score.mean == pytest.approx(classes, rel=1e-12)


def test_sure_logits_of_one_class_score_one():
    assert inception_score(np.tile([[5000.0, 0.0, 0.0]], (20, 1))).mean == pytest.approx(1.0)


def test_two_images_by_hand():
    # Each image is of class 0 or 1 with probability 0.8; the marginal is even, so the divergence is
    # log 2 less the entropy of (0.8, 0.2).
    logits = np.log([[0.8, 0.2], [0.2, 0.8]])
    entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    assert inception_score(logits, splits=1).mean == pytest.approx(2 * math.exp(-entropy))


@pytest.mark.parametrize(("count", "splits"), [(1000, 10), (1003, 10), (13, 13), (57, 1)])
def test_agrees_with_torch_fidelity(count, splits):
    isc = reference_module("metric_isc")
    logits = logits_of(count, 20).astype(np.float32)
    expected = isc.isc_features_to_metric(isc.torch.from_numpy(logits), splits, True, 2020)
    mean, std = inception_score(logits, splits=splits)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-10)
    assert std == pytest.approx(expected["inception_score_std"], rel=1e-6, abs=1e-12)


def test_defaults_are_those_of_torch_fidelity():
    theirs = reference_module("defaults").DEFAULTS
    ours = inspect.signature(inception_score).parameters
    assert ours["splits"].default == theirs["isc_splits"]
    assert ours["seed"].default == theirs["rng_seed"]


def test_a_shift_of_an_image_s_logits_changes_nothing():
    logits = logits_of(200, 5)
    shifts = 50 * np.random.default_rng(1).standard_normal((200, 1))
    assert inception_score(logits + shifts) == pytest.approx(inception_score(logits), rel=1e-10)


def test_images_sorted_by_class_are_shuffled_into_the_splits():
    # Unshuffled, every split would hold one class and score 1.
    logits = 100.0 * np.repeat(np.eye(10), 200, axis=0)
    score = inception_score(logits)
    assert score.mean > 9.0
    assert 0.0 < score.std < 0.5
    assert inception_score(logits, seed=1) != score


def test_jax_arrays_and_names():
    logits = logits_of(40, 5).astype(np.float32)
    score = inception_score(jnp.asarray(logits))
    assert isinstance(score, InceptionScore)
    assert (score.mean, score.std) == inception_score(logits)
    assert all(isinstance(value, float) for value in score)


def test_unfit_logits_are_refused():
    with pytest.raises(MetricError, match="logits of 9 images in 10 splits; accepted: at least"):
        inception_score(np.zeros((9, 3)))
    with pytest.raises(MetricError, match=r"logits have shape \(10,\); accepted: \[n, width\]"):
        inception_score(np.zeros(10))
    bad = np.zeros((12, 3))
    bad[4, 1] = -np.inf
    with pytest.raises(MetricError, match="logits: 1 of 12 rows hold NaN or infinity"):
        inception_score(bad)


@pytest.mark.parametrize(("name", "value"), [("splits", 0), ("splits", 2.0), ("seed", -1)])
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} = {value}; accepted: an integer >= "):
        inception_score(np.zeros((20, 3)), **{name: value})
