"""Fréchet distance: closed forms, two references, singular covariances, stable running moments."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics.frechet import Moments, RunningMoments, frechet_distance, moments
from tests.metrics.fidelity import reference_module

ENOUGH = 10**6


def gaussian(mean, covariance):
    return Moments(ENOUGH, np.asarray(mean, float), np.asarray(covariance, float))


def features_of(count, width, seed, mean=0.0):
    """Features whose covariance has no structure that would commute with another one's."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((width, width)) / np.sqrt(width) + np.eye(width)
    return rng.standard_normal((count, width)) @ mixing + mean


# The distance: closed forms.


def test_scalar_gaussians():
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet_distance(gaussian([1.0], [[4.0]]), gaussian([4.0], [[25.0]])) == pytest.approx(
        18.0, rel=1e-12
    )


def test_commuting_covariances_in_a_rotated_frame():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    first, second = np.arange(1.0, 7.0), np.arange(6.0, 0.0, -1.0) ** 2
    a = gaussian(np.zeros(6), rotation @ np.diag(first) @ rotation.T)
    b = gaussian(np.ones(6), rotation @ np.diag(second) @ rotation.T)
    expected = 6 + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_covariances_that_do_not_commute():
    # For 2 x 2, tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)). Here M = A B has trace 2 + 8 = 10 and
    # determinant 3 * 4 = 12.
    a = gaussian([0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]])
    b = gaussian([3.0, 4.0], [[1.0, 0.0], [0.0, 4.0]])
    expected = 25 + 4 + 5 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("swap", [False, True])
def test_singular_covariances_that_commute(swap):
    a = gaussian([0.0, 0.0, 0.0], np.diag([4.0, 0.0, 0.0]))
    b = gaussian([0.0, 0.0, 0.0], np.diag([1.0, 9.0, 0.0]))
    assert frechet_distance(*((b, a) if swap else (a, b))) == pytest.approx(1 + 9, rel=1e-12)


def test_sets_in_orthogonal_spaces_share_nothing():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((80, 80)))
    first = moments(features_of(20, 40, 1) @ rotation[:40])
    second = moments(features_of(20, 40, 2) @ rotation[40:])
    expected = (
        np.trace(first.covariance)
        + np.trace(second.covariance)
        + np.sum((first.mean - second.mean) ** 2)
    )
    # Roots of the rounding errors of a product's eigenvalues would add up to 1e-7.
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


# The distance: references.


def test_agrees_with_the_matrix_square_root_of_scipy():
    width = 48
    a, b = moments(features_of(900, width, 1)), moments(features_of(700, width, 2, mean=0.3))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    assert np.abs(root.imag).max() < 1e-8
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(
        a.covariance + b.covariance - 2 * root.real
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("first", "second"), [(600, 500), (600, 40)])
def test_agrees_with_torch_fidelity(first, second):
    fid = reference_module("metric_fid")
    x = features_of(first, 64, 1).astype(np.float32)
    y = features_of(second, 64, 2, mean=0.3).astype(np.float32)
    statistics = [fid.fid_features_to_statistics(fid.torch.from_numpy(z).double()) for z in (x, y)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(
        expected["frechet_inception_distance"], rel=1e-6
    )


# The distance: invariances and edges.


@pytest.mark.parametrize(("count", "width"), [(2, 5), (20, 64), (500, 64)])
def test_a_set_is_at_no_distance_from_itself(count, width):
    a = moments(features_of(count, width, 0, mean=3.0))
    # Far below the 1e-6 that would do: rounding does not enter as its root.
    assert frechet_distance(a, a) < 1e-11 * np.trace(a.covariance)


def test_is_symmetric_and_never_negative():
    a, b = moments(features_of(30, 40, 1)), moments(features_of(90, 40, 2))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    nearly = Moments(a.count, a.mean, a.covariance * (1 + 1e-15))
    assert frechet_distance(a, nearly) >= 0.0


def test_a_rotation_and_a_shift_of_both_change_nothing():
    x, y = features_of(300, 20, 1), features_of(300, 20, 2, mean=0.5)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))
    moved = [moments(z @ rotation + 7.0) for z in (x, y)]
    assert frechet_distance(*moved) == pytest.approx(
        frechet_distance(moments(x), moments(y)), rel=1e-10
    )


def test_constant_features():
    constant, other = np.full((50, 4), 0.1), features_of(50, 4, 0)
    a, b = moments(constant), moments(other)
    expected = np.sum((0.1 - other.mean(0)) ** 2) + np.trace(b.covariance)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(a, moments(constant + 1.0)) == pytest.approx(4.0, rel=1e-12)
    assert frechet_distance(a, a) == 0.0


def test_two_features_each():
    # Each covariance has one direction of variance 2: (1, 1)/sqrt 2 times 2, and (1, 0) times 2.
    a, b = moments(np.array([[-1.0, 0], [1, 0]])), moments(np.array([[0.0, 1], [1, 2]]))
    # tr sqrt = sqrt of the one eigenvalue of A B: a'b' (cos 45)^2 = 2 * 1 * 1/2.
    assert frechet_distance(a, b) == pytest.approx((0.25 + 2.25) + 2 + 1 - 2 * 1.0, rel=1e-12)


def test_few_features_are_warned_of_once(caplog):
    few, many = moments(features_of(8, 8, 1)), moments(features_of(9, 8, 2))
    with caplog.at_level(logging.WARNING):
        frechet_distance(many, many)
        assert not caplog.records
        frechet_distance(few, few)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "8 and 8 features of width 8" in record.getMessage()
    assert "biased" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        frechet_distance(many, few)
    assert len(caplog.records) == 1


def test_different_widths_are_refused():
    with pytest.raises(MetricError, match="of width 2 and 3; accepted: equal widths"):
        frechet_distance(gaussian(np.zeros(2), np.eye(2)), gaussian(np.zeros(3), np.eye(3)))


# Moments.


def test_moments_are_mean_and_unbiased_covariance():
    x = features_of(2500, 7, 0, mean=-2.0).astype(np.float32)
    result = moments(x)
    assert (result.count, result.mean.dtype, result.covariance.dtype) == (2500, float, float)
    np.testing.assert_allclose(result.mean, x.astype(float).mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        result.covariance, np.cov(x.astype(float), rowvar=False), rtol=1e-11, atol=1e-13
    )
    np.testing.assert_array_equal(result.covariance, result.covariance.T)


def test_moments_of_batches_that_drift():
    # Blocks with different means: the covariance is mostly what merging adds.
    x = features_of(5000, 5, 0) + np.linspace(0, 1000, 5000)[:, None]
    result = moments(x)
    np.testing.assert_allclose(result.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(result.covariance, np.cov(x, rowvar=False), rtol=1e-11)


@pytest.mark.parametrize("batch", [1, 37, 1024, 1500])
def test_the_split_into_batches_does_not_matter(batch):
    x = features_of(2600, 6, 0, mean=5.0).astype(np.float32)
    running = RunningMoments(6)
    for start in range(0, len(x), batch):
        running.add(x[start : start + batch])
        running.add(x[:0])
    whole, parts = moments(x), running.result()
    assert parts.count == 2600
    np.testing.assert_array_equal(parts.mean, whole.mean)
    np.testing.assert_array_equal(parts.covariance, whole.covariance)


def test_a_large_mean_costs_no_digits():
    # Multiples of 1/1024, so that float32 holds the shifted features exactly.
    x = (np.round(features_of(3000, 6, 0) * 1024) / 1024).astype(np.float32)
    shifted = x + np.float32(1e4)
    np.testing.assert_array_equal(shifted - np.float32(1e4), x)
    base, result = moments(x), moments(shifted)
    np.testing.assert_allclose(result.mean - 1e4, base.mean, atol=1e-11)
    # Means of squares less squares of means would be wrong by about 1e-8.
    np.testing.assert_allclose(
        result.covariance, base.covariance, atol=1e-12 * np.trace(base.covariance)
    )


def test_a_result_can_be_taken_before_the_end():
    x = features_of(1500, 4, 0)
    running = RunningMoments(4)
    running.add(x[:1100])
    early = running.result()
    running.add(x[1100:])
    np.testing.assert_array_equal(early.covariance, moments(x[:1100]).covariance)
    np.testing.assert_array_equal(running.result().covariance, moments(x).covariance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_arrays_of_jax_split_over_devices(dtype):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    x = jnp.asarray(features_of(64, 3, 0), dtype)
    split = jax.device_put(x, NamedSharding(mesh, P("data")))
    expected = np.cov(np.asarray(x).astype(float), rowvar=False)
    np.testing.assert_allclose(moments(split).covariance, expected, rtol=1e-11)


def test_unfit_features_are_refused_and_not_counted():
    running = RunningMoments(3)
    bad = np.zeros((4, 3))
    bad[1, 2], bad[3, 0] = np.nan, -np.inf
    with pytest.raises(MetricError, match="2 of 4 rows hold NaN or infinity"):
        running.add(bad)
    with pytest.raises(MetricError, match=r"shape \(4, 2\); accepted: \[n, 3\]"):
        running.add(np.zeros((4, 2)))
    with pytest.raises(MetricError, match=r"shape \(3,\); accepted: \[n, width\]"):
        running.add(np.zeros(3))
    with pytest.raises(MetricError, match="dtype uint8; accepted: a floating dtype"):
        running.add(np.zeros((4, 3), np.uint8))
    running.add(np.zeros((1, 3)))
    with pytest.raises(MetricError, match="1 rows; accepted: 2 or more"):
        running.result()
    with pytest.raises(MetricError, match="1 rows; accepted: at least 2"):
        moments(np.zeros((1, 3)))


@pytest.mark.parametrize("width", [0, -1, 2.0, True, None])
def test_a_bad_width_is_refused(width):
    with pytest.raises(ConfigError, match=r"width of the features = .*; accepted: an integer >= 1"):
        RunningMoments(width)


@pytest.mark.parametrize(
    ("count", "mean", "covariance", "message"),
    [
        (1, np.zeros(2), np.eye(2), "moments of 1 features"),
        (9, np.zeros(2), np.eye(3), r"shape \(2,\) and a covariance of shape \(3, 3\)"),
        (9, np.zeros((2, 1)), np.eye(2), r"accepted: \[d\] and \[d, d\]"),
        (9, np.array([0.0, np.nan]), np.eye(2), "1 of 2 entries of the mean"),
        (9, np.zeros(2), np.diag([np.inf, 1.0]), "1 of 4 entries of the covariance"),
        (9, np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), "differs from its transpose"),
    ],
)
def test_unfit_moments_are_refused(count, mean, covariance, message):
    with pytest.raises(MetricError, match=message):
        Moments(count, mean, covariance)
