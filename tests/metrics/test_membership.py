"""Membership inference on sets of which the answer is known."""

import numpy as np
import pytest

from gan_jax.errors import MetricError
from gan_jax.metrics import membership
from gan_jax.metrics.membership import infer, nearness


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 30)).astype(np.uint8)


MEMBERS, OTHERS = images(300, 0), images(200, 1)


def by_distance(samples):
    return infer(nearness(MEMBERS, samples), nearness(OTHERS, samples))


def test_a_generator_that_copies_is_found_out():
    found = by_distance(np.concatenate([MEMBERS, images(50, 2)]))
    assert found == (1.0, 0.0)
    # It repeats half of them.
    found = by_distance(MEMBERS[:150])
    assert found.auroc == pytest.approx(0.75, abs=3 * found.standard_error)
    assert found.auroc > 0.5 + 5 * found.standard_error


def test_a_generator_of_new_images_is_not():
    found = by_distance(images(400, 2))
    # The standard error of the statistic of Mann and Whitney for equal distributions.
    n, m = len(MEMBERS), len(OTHERS)
    assert found.standard_error == pytest.approx(np.sqrt((n + m + 1) / (12 * n * m)), rel=0.05)
    assert found.auroc == pytest.approx(0.5, abs=3 * found.standard_error)


def test_higher_scores_of_members_are_above_one_half():
    assert infer(np.array([3.0, 4.0]), np.array([1.0, 2.0])).auroc == 1.0
    assert infer(np.array([1.0, 2.0]), np.array([3.0, 4.0])).auroc == 0.0
    assert infer(np.array([1.0, 4.0]), np.array([2.0, 3.0])).auroc == 0.5


def test_mirrored_copies_count_where_images_are_mirrored():
    samples = MEMBERS[:, ::-1]
    assert nearness(MEMBERS, samples).max() < -10
    assert (nearness(MEMBERS, samples, mirrored=MEMBERS[:, ::-1]) == 0).all()


def test_distances_do_not_depend_on_the_parts(monkeypatch):
    samples = images(70, 3)
    expected = -np.sqrt(np.square(MEMBERS[:, None].astype(float) - samples).mean(-1).min(1))
    mirrored = MEMBERS[:, ::-1]
    both = nearness(MEMBERS, samples, mirrored=mirrored)
    np.testing.assert_allclose(nearness(MEMBERS, samples), expected, rtol=1e-12)
    monkeypatch.setattr(membership, "_IMAGES", 130)
    monkeypatch.setattr(membership, "_BYTES", 4 * 30 * 40)
    np.testing.assert_allclose(nearness(MEMBERS, samples), expected, rtol=1e-12)
    np.testing.assert_array_equal(nearness(MEMBERS, samples, mirrored=mirrored), both)


def test_too_few_images_are_refused():
    with pytest.raises(MetricError, match="1 positive and 2 negative examples; accepted: two"):
        infer(np.array([1.0]), np.array([1.0, 2.0]))
