"""Mode coverage: by hand, and on the toy mixtures themselves."""

import math

import numpy as np
import pytest

from gan_jax.data.sources.toy import toy
from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics.modes import ModeCoverage, class_coverage, mode_coverage

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_by_hand():
    points = np.array(
        [
            [0.0, 0.0],  # on mode 0
            [2.0, 2.0],  # 2.83 from mode 0: near
            [0.0, -3.0],  # exactly 3 from mode 0: near
            [10.0, 1.0],  # near mode 1
            [2.5, 2.5],  # 3.54 from mode 0: each coordinate is near, the point is not
            [5.0, 5.0],  # in the middle
            [0.0, 6.0],  # nearest to mode 2, too far
            [50.0, 50.0],  # far outside
        ]
    )
    entropy = -(3 / 4) * math.log(3 / 4) - (1 / 4) * math.log(1 / 4)
    result = mode_coverage(points, SQUARE, 1.0)
    assert (result.modes, result.high_quality) == (2, 0.5)
    assert result.kl == pytest.approx(math.log(4) - entropy, rel=1e-12)
    assert mode_coverage(points, SQUARE, 1.0, within=2.9).high_quality == 3 / 8
    assert mode_coverage(points, SQUARE, 2.0).modes == 3


def test_even_points_have_no_divergence():
    points = np.repeat(SQUARE, 7, axis=0) + 0.1
    assert mode_coverage(points, SQUARE, 1.0) == ModeCoverage(4, 1.0, 0.0)


def test_collapse_onto_one_mode():
    result = mode_coverage(np.full((9, 2), 10.0), SQUARE, 1.0)
    assert (result.modes, result.high_quality) == (1, 1.0)
    assert result.kl == pytest.approx(math.log(4), rel=1e-12)


def test_no_good_point_counts_as_the_worst():
    result = mode_coverage(np.full((9, 2), 5.0), SQUARE, 1.0)
    assert result == ModeCoverage(0, 0.0, math.log(4))


@pytest.mark.parametrize(("name", "modes"), [("ring", 8), ("grid", 25)])
def test_the_mixture_itself(name, modes):
    size = 50_000
    source = toy(name, size, None)
    result = mode_coverage(source.arrays["points"], source.modes, source.std)
    assert result.modes == modes
    # The modes are far apart, so a point's distance is Rayleigh distributed.
    expected = 1 - math.exp(-4.5)
    error = math.sqrt(expected * (1 - expected) / size)
    assert abs(result.high_quality - expected) < 4 * error
    # The modes take turns; only the share of good points varies.
    assert result.kl < 1e-4
    narrow = mode_coverage(source.arrays["points"], source.modes, source.std, within=1.0)
    expected = 1 - math.exp(-0.5)
    assert abs(narrow.high_quality - expected) < 4 * math.sqrt(expected * (1 - expected) / size)


def test_a_mixture_that_lost_modes():
    source = toy("ring", 8000, None)
    kept = source.arrays["points"][np.arange(8000) % 8 < 2]
    result = mode_coverage(kept, source.modes, source.std)
    assert result.modes == 2
    assert result.kl == pytest.approx(math.log(4), abs=1e-4)


def test_a_mixture_without_noise():
    source = toy("grid", 100, 0.0)
    assert mode_coverage(source.arrays["points"], source.modes, source.std) == ModeCoverage(
        25, 1.0, 0.0
    )


def test_unfit_arrays_are_refused():
    with pytest.raises(MetricError, match="points: 0 rows; accepted: at least 1"):
        mode_coverage(np.zeros((0, 2)), SQUARE, 1.0)
    with pytest.raises(MetricError, match="modes: 0 rows; accepted: at least 1"):
        mode_coverage(SQUARE, np.zeros((0, 2)), 1.0)
    with pytest.raises(MetricError, match="points have width 3 and modes 2; accepted: equal"):
        mode_coverage(np.zeros((4, 3)), SQUARE, 1.0)
    with pytest.raises(MetricError, match="points: 1 of 2 rows hold NaN"):
        mode_coverage(np.array([[0.0, np.nan], [0.0, 0.0]]), SQUARE, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("std", -0.1), ("std", math.nan), ("std", None), ("within", 0), ("within", math.inf)],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} = {value}; accepted: a number >"):
        mode_coverage(SQUARE, SQUARE, **{"std": 1.0, name: value})


@pytest.mark.parametrize("classes", [[], [[0]], [0.0], [-1, 0], [0, 4]])
def test_classes_that_are_none_are_refused(classes):
    with pytest.raises(MetricError, match=r"accepted: (integers \[n\]|0 to 3)"):
        class_coverage(np.array(classes), 4)
