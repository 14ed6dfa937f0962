"""KID: by hand, against a population value and torch-fidelity, unbiasedness, blocks, errors."""

import inspect
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import kernel
from gan_jax.metrics.kernel import kernel_distance, mmd2
from tests.metrics.fidelity import reference_module


def features_of(count, width, seed, mean=0.0):
    return np.random.default_rng(seed).standard_normal((count, width)) + mean


def brute_force(x, y):
    def values(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        return values(a, a)[~np.eye(len(a), dtype=bool)].mean()

    return within(x) + within(y) - 2 * values(x, y).mean()


def test_one_dimension_by_hand():
    # Within x: (0 + 1)^3 = 1. Within y: (6 + 1)^3 = 343. Across: 1, 1, 27, 64.
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert mmd2(x, y) == pytest.approx(1 + 343 - 2 * 93 / 4, rel=1e-14)


def test_two_dimensions_by_hand():
    # The product is divided by the width: within 1 and 8, across 1.5^3, 8, 1.5^3, 1.
    x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    assert mmd2(x, y) == pytest.approx(1 + 8 - 2 * 15.75 / 4, rel=1e-14)


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_blocks_and_unequal_counts(monkeypatch, block):
    x, y = features_of(50, 6, 0), features_of(31, 6, 1, mean=0.2)
    monkeypatch.setattr(kernel, "_BLOCK", block)
    assert mmd2(x, y) == pytest.approx(brute_force(x, y), rel=1e-12)


def test_float32_features_are_multiplied_in_float64():
    x = features_of(40, 512, 0, mean=2.0).astype(np.float32)
    y = features_of(40, 512, 1, mean=2.0).astype(np.float32)
    exact = brute_force(x.astype(float), y.astype(float))
    assert mmd2(x, y) == pytest.approx(exact, rel=1e-10)
    assert mmd2(jnp.asarray(x), jnp.asarray(y)) == pytest.approx(exact, rel=1e-10)
    # The bound is not idle: float32 products are further off.
    assert abs(brute_force(x, y) - exact) > 1e-8 * abs(exact)


# The estimate has no bias.


def test_one_distribution_is_at_distance_zero_on_average():
    rng = np.random.default_rng(0)
    draws = [(rng.standard_normal((12, 3)), rng.standard_normal((9, 3))) for _ in range(2000)]
    values = np.array([mmd2(x, y) for x, y in draws])
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert values.min() < 0.0
    # With the pairs of an item with itself it would be off by far more than the test admits.
    biased = np.mean([((x @ x.T / 3 + 1) ** 3).trace() / 12**2 for x, _ in draws])
    assert biased > 40 * error


def test_agrees_with_the_distance_of_two_known_distributions():
    # In one dimension (x y + 1)^3 is the sum of binomial(3, j) x^j y^j, so the squared MMD is that
    # of the moments' squared differences; of N(0, 1) they are 0, 1, 0, of N(m, 1) m, 1 + m^2,
    # m^3 + 3 m.
    m = 0.5
    expected = 3 * m**2 + 3 * m**4 + (m**3 + 3 * m) ** 2
    rng = np.random.default_rng(1)
    values = [
        mmd2(rng.standard_normal((60, 1)), rng.standard_normal((50, 1)) + m) for _ in range(4000)
    ]
    error = np.std(values) / math.sqrt(len(values))
    assert error < 0.03 * expected
    assert abs(np.mean(values) - expected) < 4 * error


# Subsets.


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_agrees_with_torch_fidelity(dtype, rtol):
    kid = reference_module("metric_kid")
    x = features_of(230, 32, 0, mean=0.5).astype(np.float32)
    y = features_of(170, 32, 1, mean=0.7).astype(np.float32)
    # The reference multiplies in the dtype of the features, so float32 is its own rounding.
    expected = kid.kid_features_to_metric(
        *(kid.torch.from_numpy(z.astype(dtype)) for z in (x, y)),
        kid_subsets=13,
        kid_subset_size=100,
        rng_seed=7,
        verbose=False,
    )
    result = kernel_distance(x, y, subsets=13, subset_size=100, seed=7)
    assert result.mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=rtol)
    assert result.std == pytest.approx(expected["kernel_inception_distance_std"], rel=rtol)


def test_defaults_are_those_of_torch_fidelity():
    theirs = reference_module("defaults").DEFAULTS
    ours = inspect.signature(kernel_distance).parameters
    assert ours["subsets"].default == theirs["kid_subsets"]
    assert ours["subset_size"].default == theirs["kid_subset_size"]
    assert ours["seed"].default == theirs["rng_seed"]


def test_standard_error_and_seed():
    x, y = features_of(60, 4, 0), features_of(60, 4, 1, mean=0.3)
    result = kernel_distance(x, y, subsets=25, subset_size=20)
    assert result.standard_error == pytest.approx(result.std / 5)
    assert result.std > 0
    assert kernel_distance(x, y, subsets=25, subset_size=20) == result
    assert kernel_distance(x, y, subsets=25, subset_size=20, seed=1) != result
    # Many subsets approach the whole: the mean over all of them is the estimate of the sets.
    many = kernel_distance(x, y, subsets=2000, subset_size=20)
    assert abs(many.mean - mmd2(x, y)) < 4 * many.standard_error


def test_subsets_as_large_as_the_sets_are_the_sets():
    x, y = features_of(25, 4, 0), features_of(25, 4, 1, mean=0.3)
    result = kernel_distance(x, y, subsets=3, subset_size=25)
    assert result.mean == pytest.approx(mmd2(x, y), rel=1e-12)
    assert result.std < 1e-12


# Errors.


def test_too_few_are_refused():
    x, y = features_of(999, 2, 0), features_of(1200, 2, 1)
    with pytest.raises(MetricError, match="features x: 999 rows; accepted: at least 1000"):
        kernel_distance(x, y)
    with pytest.raises(MetricError, match="features y: 999 rows; accepted: at least 1000"):
        kernel_distance(y, x)
    with pytest.raises(MetricError, match="features x: 1 rows; accepted: at least 2"):
        mmd2(x[:1], y)


def test_unfit_features_are_refused():
    x = features_of(5, 2, 0)
    with pytest.raises(MetricError, match=r"features x have width 2 and features y 3"):
        mmd2(x, np.zeros((5, 3)))
    with pytest.raises(MetricError, match=r"features y have shape \(5,\)"):
        mmd2(x, np.zeros(5))
    with pytest.raises(MetricError, match="features y: 1 of 5 rows hold NaN"):
        mmd2(x, np.where(np.arange(5)[:, None] == 3, np.nan, x))
    with pytest.raises(MetricError, match=r"as large as 1e\+200: the cubic kernel overflows"):
        mmd2(x, np.full((5, 2), -1e200))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subsets", 0),
        ("subsets", 1.0),
        ("subset_size", 1),
        ("subset_size", True),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_bad_settings_are_refused(name, value):
    x = features_of(5, 2, 0)
    with pytest.raises(ConfigError, match=f"{name} = {value}; accepted: an integer >= "):
        kernel_distance(x, x, **{"subset_size": 3, name: value})
