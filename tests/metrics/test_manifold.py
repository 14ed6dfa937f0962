"""Precision, recall, density, coverage: by hand, references, chunks, devices, memory, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import manifold as manifold_lib
from gan_jax.metrics.manifold import ManifoldScores, manifold, manifold_scores
from tests.metrics.fidelity import reference_module


def features_of(count, width, seed, scale=1.0):
    points = scale * np.random.default_rng(seed).standard_normal((count, width))
    return points.astype(np.float32)


def exact_squares(x, y):
    x, y = x.astype(float), y.astype(float)
    return np.stack([np.square(y - row).sum(axis=1) for row in x])


def exact_radii(x, k):
    squares = exact_squares(x, x)
    np.fill_diagonal(squares, np.inf)
    return np.sort(squares, axis=1)[:, :k]


def brute_force(real, fake, precision_k=3, density_k=5):
    """The scores in float64, and the smallest relative distance of any comparison from a tie."""
    across = exact_squares(fake, real)
    real_radii = exact_radii(real, max(precision_k, density_k))
    precision_radii, density_radii = real_radii[:, precision_k - 1], real_radii[:, density_k - 1]
    fake_radii = exact_radii(fake, precision_k)[:, -1]
    scores = ManifoldScores(
        precision=(across <= precision_radii).any(axis=1).mean(),
        recall=(across <= fake_radii[:, None]).any(axis=0).mean(),
        density=(across <= density_radii).sum() / (density_k * len(fake)),
        coverage=(across <= density_radii).any(axis=0).mean(),
    )
    margin = min(
        np.abs(across / radii - 1).min()
        for radii in (precision_radii, density_radii, fake_radii[:, None])
    )
    return scores, margin


def values_of(scores):
    return [scores.precision, scores.recall, scores.density, scores.coverage]


# By hand: points on a line.

LINE_REAL = np.array([[0.0, 7.0], [1.0, 7.0], [3.0, 7.0]])
LINE_FAKE = np.array([[2.5, 7.0], [4.5, 7.0], [10.0, 7.0]])


# Real radii 1, 1, 2 for one neighbour: fakes at 2.5 and 4.5 are in the ball of 3 only, 10 in none;
# 3, 2, 3 for two: 2.5 is in all three balls, 4.5 in that of 3, 10 in none.
# Fake radii 2, 2, 5.5 for one: the reals 1 and 3 are within 2 of 2.5, the real 0 is in no ball;
# 7.5, 5.5, 7.5 for two.
@pytest.mark.parametrize(
    ("precision_k", "density_k", "expected"),
    [
        (1, 1, (2 / 3, 2 / 3, 2 / 3, 1 / 3)),
        (2, 2, (2 / 3, 1.0, 4 / 6, 1.0)),
        (1, 2, (2 / 3, 2 / 3, 4 / 6, 1.0)),
    ],
)
def test_by_hand(precision_k, density_k, expected):
    scores = manifold_scores(LINE_REAL, LINE_FAKE, precision_k=precision_k, density_k=density_k)
    assert scores == ManifoldScores(*expected)


def test_a_ball_contains_its_surface_and_density_is_not_bounded_by_one():
    real = np.array([[-2.0], [0.0], [2.0]])

    def density_and_coverage(fake):
        scores = manifold_scores(real, np.array(fake), precision_k=1, density_k=1)
        return scores.density, scores.coverage

    # Exactly 2 from the real at 2, whose radius is 2.
    assert density_and_coverage([[4.0], [4.0]]) == (1.0, 1 / 3)
    assert density_and_coverage([[4.001], [4.001]]) == (0.0, 0.0)
    assert density_and_coverage([[0.0]] * 4) == (3.0, 1.0)


# Against float64 and against torch-fidelity.


@pytest.mark.parametrize(
    ("real", "fake", "width", "scale", "ks"),
    [
        (60, 50, 16, 1.0, (3, 5)),
        (50, 61, 4, 0.7, (5, 3)),
        (33, 9, 100, 0.9, (1, 10)),
    ],
)
def test_agrees_with_brute_force_in_double_precision(real, fake, width, scale, ks):
    x, y = features_of(real, width, 0), features_of(fake, width, 1, scale)
    expected, margin = brute_force(x, y, *ks)
    # No comparison is close to a tie in float32; then the shares agree exactly.
    assert margin > 1e-5
    scores = manifold_scores(x, y, precision_k=ks[0], density_k=ks[1])
    assert values_of(scores) == values_of(expected)


def test_radii_are_distances_to_other_members():
    k = 10
    x = features_of(70, 24, 0)
    x[11] = x[5]
    result = manifold(x, k)
    assert result.k == k
    assert result.squared_radii.dtype == np.float32
    # A duplicate is a neighbour at distance exactly 0, the member itself is none.
    assert list(result.squared_radii[[5, 11], 0]) == [0.0, 0.0]
    np.testing.assert_allclose(result.squared_radii, exact_radii(x, k), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_agrees_with_torch_fidelity(k):
    prc = reference_module("metric_prc")
    real, fake = features_of(150, 48, 0), features_of(130, 48, 1, 0.95)
    expected = prc.prc_features_to_metric(
        *(prc.torch.from_numpy(z).double() for z in (fake, real)),
        prc_neighborhood=k,
        save_cpu_ram=False,
        verbose=False,
    )
    result = manifold_scores(real, fake, precision_k=k)
    # The reference averages in float32.
    assert result.precision == pytest.approx(expected["precision"], rel=1e-6)
    assert result.recall == pytest.approx(expected["recall"], rel=1e-6)
    assert 0 < result.precision < 1
    assert 0 < result.recall < 1


def test_one_distribution_has_density_about_one():
    x, y = features_of(1500, 8, 0), features_of(1500, 8, 1)
    scores = manifold_scores(x, y)
    assert scores.density == pytest.approx(1.0, abs=0.05)
    # 1 - 1/2^5 of the balls are expected to hold a fake: Naeem et al., equation 9.
    assert scores.coverage == pytest.approx(1 - 0.5**5, abs=0.02)
    assert scores.precision == pytest.approx(scores.recall, abs=0.05)


# Limits and invariances.


def test_a_set_covers_itself():
    x = features_of(60, 16, 0)
    scores = manifold_scores(x, x[::-1])
    assert (scores.precision, scores.recall, scores.coverage) == (1.0, 1.0, 1.0)


def test_sets_far_apart_share_nothing():
    x, y = features_of(60, 16, 0), features_of(50, 16, 1) + np.float32(100)
    assert values_of(manifold_scores(x, y)) == [0.0, 0.0, 0.0, 0.0]


def test_collapse_onto_one_image_is_precise_and_recalls_that_one():
    x = features_of(60, 16, 0)
    y = x[:1] + features_of(60, 16, 1, 1e-3)
    scores = manifold_scores(x, y)
    assert (scores.precision, scores.recall) == (1.0, 1 / 60)
    assert scores.coverage < 0.5


def test_swapping_the_sets_swaps_precision_and_recall():
    x, y = features_of(60, 16, 0), features_of(60, 16, 1, 0.9)
    one, other = manifold_scores(x, y), manifold_scores(y, x)
    assert one.precision != one.recall
    assert (one.precision, one.recall) == (other.recall, other.precision)


@pytest.fixture(scope="module")
def pair():
    x, y = features_of(60, 16, 0), features_of(50, 16, 1, 0.95)
    expected, margin = brute_force(x, y)
    assert margin > 1e-5
    return x, y, values_of(expected)


def test_order_does_not_matter(pair):
    x, y, expected = pair
    rng = np.random.default_rng(0)
    assert values_of(manifold_scores(rng.permutation(x), rng.permutation(y))) == expected


def test_a_shift_and_a_scale_of_both_change_nothing(pair):
    x, y, expected = pair
    # Not centred, squares of 1e4 would leave float32 nothing of distances near 1.
    assert values_of(manifold_scores(x.astype(float) + 1e4, y.astype(float) + 1e4)) == expected
    for scale in (2.0**-30, 2.0**30):
        assert values_of(manifold_scores(x * scale, y * scale)) == expected


@pytest.mark.parametrize(
    ("devices", "memory"), [(1, 2**28), (8, 2**28), (1, 1), (3, 4 * 4 * 60 * 7), (8, 1)]
)
def test_chunks_and_devices_do_not_matter(pair, monkeypatch, devices, memory):
    x, y, expected = pair
    chosen = jax.devices()[:devices]
    monkeypatch.setattr(jax, "local_devices", lambda: chosen)
    monkeypatch.setattr(manifold_lib, "_MEMORY_BYTES", memory)
    assert values_of(manifold_scores(x, y)) == expected
    np.testing.assert_allclose(manifold(x, 5).squared_radii, exact_radii(x, 5), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_arrays_of_jax(dtype):
    x, y = (jnp.asarray(z, dtype) for z in (features_of(60, 16, 0), features_of(50, 16, 1, 0.9)))
    plain = [np.asarray(z).astype(np.float64) for z in (x, y)]
    assert manifold_scores(x, y) == manifold_scores(*plain)


# Duplicates.


@pytest.mark.parametrize("memory", [1, 4 * 4 * 48 * 5, 2**28])
def test_balls_of_radius_zero_hold_equal_features(monkeypatch, memory):
    monkeypatch.setattr(manifold_lib, "_MEMORY_BYTES", memory)
    # Six copies of each real: all radii for k = 5 are 0. Products of long vectors are rounded
    # differently in chunks of different sizes, and equal features must still be equal.
    real = np.repeat(features_of(8, 2048, 0, 3.0), 6, axis=0)
    fake = np.concatenate([real[::12], features_of(4, 2048, 1, 3.0)])
    found = manifold(real, 5)
    np.testing.assert_array_equal(found.squared_radii, 0.0)
    scores = manifold_scores(real, fake)
    # 4 of 8 fakes equal a real, each of them its 6 copies; these are 4 of the 8 kinds.
    assert values_of(scores)[:1] + values_of(scores)[2:] == [0.5, 4 * 6 / (5 * 8), 0.5]


def test_constant_features():
    ones = np.full((60, 16), 0.1, np.float32)
    # Every fake is in all 60 real balls of radius 0.
    assert manifold_scores(ones, ones) == ManifoldScores(1.0, 1.0, 60 / 5, 1.0)
    assert values_of(manifold_scores(ones, ones + 1)) == [0.0, 0.0, 0.0, 0.0]
    varied = features_of(60, 16, 0)
    scores = manifold_scores(varied, ones)
    assert scores.recall == 0.0
    assert np.isfinite(values_of(scores)).all()


# A real manifold that is kept.


def test_a_kept_manifold_serves_every_evaluation_and_a_second_one_compiles_nothing(
    pair, monkeypatch
):
    x, y, expected = pair
    real = manifold(x, 5)
    assert values_of(manifold_scores(real, y)) == expected
    traced = []
    compute = manifold_lib._squared_distances

    def counted(*arrays):
        traced.append([len(arrays[0]), len(arrays[2])])
        return compute(*arrays)

    monkeypatch.setattr(manifold_lib, "_squared_distances", counted)
    manifold_scores(real, y[::-1])
    assert not traced
    # Other shapes do compile: the neighbours of the fakes, and the comparison.
    manifold_scores(real, y[:24])
    assert [count for _, count in traced] == [24, len(x)]


# Memory.


def test_memory_of_50_000_features():
    """All pairs at once would take 9.3 GiB; beyond the features, the budget must do."""
    count, width = 50_000, 2048
    budget = manifold_lib._MEMORY_BYTES

    def shapes(rows):
        vector = jax.ShapeDtypeStruct((rows,), jnp.float32)
        return jax.ShapeDtypeStruct((rows, width), jnp.float32), vector, vector

    features, vector, _ = shapes(count)
    for function, static in ((manifold_lib._nearest, {"k": 5}), (manifold_lib._meet, {})):
        mapped = manifold_lib._on_devices(function, count, count, **static)
        rows = shapes(mapped.batch_size)
        reference = (features, vector, vector, vector)
        if static:
            rows = (jax.ShapeDtypeStruct((mapped.batch_size,), jnp.int32), *rows[:2])
            reference = reference[:2]
        needed = mapped._mapped.lower(reference, rows).compile().memory_analysis()
        beyond = needed.temp_size_in_bytes + needed.output_size_in_bytes
        # Not so little either, that the chunks would be slow.
        assert budget / 8 < beyond < budget + 2**23
        arguments = needed.argument_size_in_bytes - features.size * 4
        assert arguments < 0.1 * budget


def test_rows_of_a_chunk_fill_the_budget_evenly(monkeypatch):
    def rows(queries, devices, memory):
        monkeypatch.setattr(manifold_lib, "_MEMORY_BYTES", memory)
        return manifold_lib._rows_at_once(queries, 1000, devices)

    # 16 bytes for each of 1000 columns.
    assert rows(10_000, 1, 16 * 1000 * 5000) == 5000
    assert rows(10_001, 1, 16 * 1000 * 5000) == 3334
    assert rows(10_000, 2, 16 * 1000 * 2500) == 5000
    assert rows(100, 4, 1) == 4


# Errors.


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (6, 3, "fake features: 3 rows and k = 3 neighbours; accepted: more rows than k"),
        (5, 6, "real features: 5 rows and k = 5 neighbours"),
        (6, 0, "fake features: 0 rows; accepted: at least 1"),
    ],
)
def test_too_few_are_refused(real, fake, message):
    with pytest.raises(MetricError, match=message):
        manifold_scores(features_of(real, 2, 0), features_of(fake, 2, 1))


def test_a_manifold_of_fewer_neighbours_is_refused():
    x = features_of(20, 2, 0)
    with pytest.raises(MetricError, match="features: 6 rows and k = 6 neighbours"):
        manifold(x[:6], 6)
    real = manifold(x, 3)
    assert manifold_scores(real, x, density_k=3).precision == 1.0
    with pytest.raises(MetricError, match="real features has k = 3 neighbours; accepted: at least"):
        manifold_scores(real, x)


def test_unfit_features_are_refused():
    x = features_of(20, 2, 0)
    with pytest.raises(MetricError, match="real features have width 2 and fake features 3"):
        manifold_scores(x, np.zeros((20, 3)))
    with pytest.raises(MetricError, match="real features have width 2 and fake features 3"):
        manifold_scores(manifold(x), np.zeros((20, 3)))
    with pytest.raises(MetricError, match="real features: 1 of 20 rows hold NaN or infinity"):
        manifold_scores(np.where(np.arange(20)[:, None] == 3, np.inf, x), x)
    for large in (np.float32(1e25), np.float64(1e60)):
        with pytest.raises(MetricError, match="fake features: 2 of 20 rows have a squared norm"):
            manifold_scores(x, np.where(np.arange(20)[:, None] < 2, large, x))
    with pytest.raises(MetricError, match=r"fake features have dtype int64; accepted: a floating"):
        manifold_scores(x, np.zeros((20, 2), np.int64))


@pytest.mark.parametrize("value", [0, 2.0, True])
def test_bad_settings_are_refused(value):
    x = features_of(20, 2, 0)
    accepted = f"= {value}; accepted: an integer >= 1"
    with pytest.raises(ConfigError, match=f"k {accepted}"):
        manifold(x, value)
    for name in ("precision_k", "density_k"):
        with pytest.raises(ConfigError, match=f"{name} {accepted}"):
            manifold_scores(x, x, **{name: value})
