"""Precision, recall, density, coverage: by hand, references, chunks, devices, memory, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import manifold as manifold_lib
from gan_jax.metrics.manifold import (
    DensityCoverage,
    ManifoldScores,
    PrecisionRecall,
    density_coverage,
    manifold,
    manifold_scores,
    precision_recall,
)
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


def test_one_neighbour_by_hand():
    # Real radii 1, 1, 2; fakes at 2.5 and 4.5 are in the ball of 3 only, 10 in none.
    density, coverage = 2 / 3, 1 / 3
    assert density_coverage(LINE_REAL, LINE_FAKE, 1) == DensityCoverage(density, coverage)
    # Fake radii 2, 2, 5.5: the reals 1 and 3 are within 2 of 2.5, the real 0 is in no ball.
    assert precision_recall(LINE_REAL, LINE_FAKE, 1) == PrecisionRecall(2 / 3, 2 / 3)


def test_two_neighbours_by_hand():
    # Real radii 3, 2, 3: 2.5 is in all three balls, 4.5 in that of 3, 10 in none.
    assert density_coverage(LINE_REAL, LINE_FAKE, 2) == DensityCoverage(4 / (2 * 3), 1.0)
    # Fake radii 7.5, 5.5, 7.5.
    assert precision_recall(LINE_REAL, LINE_FAKE, 2) == PrecisionRecall(2 / 3, 1.0)


def test_one_call_with_two_numbers_of_neighbours():
    scores = manifold_scores(LINE_REAL, LINE_FAKE, precision_k=1, density_k=2)
    assert scores == ManifoldScores(2 / 3, 2 / 3, 4 / 6, 1.0)
    scores = manifold_scores(LINE_REAL, LINE_FAKE, precision_k=2, density_k=1)
    assert scores == ManifoldScores(2 / 3, 1.0, 2 / 3, 1 / 3)


def test_a_ball_contains_its_surface():
    real = np.array([[-2.0], [0.0], [2.0]])
    # Exactly 2 from the real at 2, whose radius is 2.
    assert density_coverage(real, np.array([[4.0]]), 1) == DensityCoverage(1.0, 1 / 3)
    assert density_coverage(real, np.array([[4.001]]), 1) == DensityCoverage(0.0, 0.0)


def test_density_is_not_bounded_by_one():
    real = np.array([[-2.0], [0.0], [2.0]])
    assert density_coverage(real, np.zeros((4, 1)), 1) == DensityCoverage(3.0, 1.0)


# Against float64 and against torch-fidelity.


@pytest.mark.parametrize(
    ("real", "fake", "width", "scale", "ks"),
    [
        (60, 50, 16, 1.0, (3, 5)),
        (50, 61, 4, 0.7, (5, 3)),
        (33, 9, 100, 0.9, (1, 10)),
        (40, 40, 2, 2.0, (4, 4)),
    ],
)
def test_agrees_with_brute_force_in_double_precision(real, fake, width, scale, ks):
    x, y = features_of(real, width, 0), features_of(fake, width, 1, scale)
    expected, margin = brute_force(x, y, *ks)
    # Float32 must be able to tell; then the shares agree exactly.
    assert margin > 1e-5
    scores = manifold_scores(x, y, precision_k=ks[0], density_k=ks[1])
    assert values_of(scores) == values_of(expected)
    assert precision_recall(x, y, ks[0]) == PrecisionRecall(expected.precision, expected.recall)
    assert density_coverage(x, y, ks[1]) == DensityCoverage(expected.density, expected.coverage)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_radii_are_distances_to_other_members(k):
    x = features_of(70, 24, 0)
    x[11] = x[5]
    result = manifold(x, k)
    assert result.k == k
    assert result.squared_radii.dtype == np.float32
    # A duplicate is a neighbour at distance exactly 0, the member itself is none.
    assert list(result.squared_radii[[5, 11], 0]) == [0.0, 0.0]
    np.testing.assert_allclose(result.squared_radii, exact_radii(x, k), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("save_memory", [False, True])
def test_agrees_with_torch_fidelity(k, save_memory):
    prc = reference_module("metric_prc")
    real, fake = features_of(150, 48, 0), features_of(130, 48, 1, 0.95)
    expected = prc.prc_features_to_metric(
        *(prc.torch.from_numpy(z).double() for z in (fake, real)),
        prc_neighborhood=k,
        save_cpu_ram=save_memory,
        verbose=False,
    )
    result = precision_recall(real, fake, k)
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
    x = features_of(100, 300, 0)
    scores = manifold_scores(x, x[::-1])
    assert (scores.precision, scores.recall, scores.coverage) == (1.0, 1.0, 1.0)


def test_sets_far_apart_share_nothing():
    x, y = features_of(50, 10, 0), features_of(40, 10, 1) + np.float32(100)
    assert values_of(manifold_scores(x, y)) == [0.0, 0.0, 0.0, 0.0]


def test_collapse_onto_one_image_is_precise_and_recalls_that_one():
    x = features_of(80, 10, 0)
    y = x[:1] + features_of(80, 10, 1, 1e-3)
    scores = manifold_scores(x, y)
    assert (scores.precision, scores.recall) == (1.0, 1 / 80)
    assert scores.coverage < 0.5


def test_swapping_the_sets_swaps_precision_and_recall():
    x, y = features_of(60, 16, 0), features_of(50, 16, 1, 0.9)
    one, other = precision_recall(x, y), precision_recall(y, x)
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


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("memory_bytes", [1, 4 * 4 * 60 * 7, manifold_lib.MEMORY_BYTES])
def test_chunks_and_devices_do_not_matter(pair, devices, memory_bytes):
    x, y, expected = pair
    run_on = jax.devices()[:devices]
    scores = manifold_scores(x, y, devices=run_on, memory_bytes=memory_bytes)
    assert values_of(scores) == expected
    real = manifold(x, 5, devices=run_on, memory_bytes=memory_bytes)
    np.testing.assert_allclose(real.squared_radii, exact_radii(x, 5), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_arrays_of_jax(dtype):
    x, y = (jnp.asarray(z, dtype) for z in (features_of(60, 16, 0), features_of(50, 16, 1, 0.9)))
    plain = [np.asarray(z).astype(np.float64) for z in (x, y)]
    assert manifold_scores(x, y) == manifold_scores(*plain)


# Duplicates.


@pytest.mark.parametrize("memory_bytes", [1, 4 * 4 * 48 * 5, manifold_lib.MEMORY_BYTES])
def test_balls_of_radius_zero_hold_equal_features(memory_bytes):
    # Six copies of each real: all radii for k = 5 are 0. Products of long vectors are rounded
    # differently in chunks of different sizes, and equal features must still be equal.
    real = np.repeat(features_of(8, 2048, 0, 3.0), 6, axis=0)
    fake = np.concatenate([real[::12], features_of(4, 2048, 1, 3.0)])
    found = manifold(real, 5, memory_bytes=memory_bytes)
    np.testing.assert_array_equal(found.squared_radii, 0.0)
    scores = manifold_scores(real, fake, memory_bytes=memory_bytes)
    # 4 of 8 fakes equal a real, each of them its 6 copies; these are 4 of the 8 kinds.
    assert values_of(scores)[:1] + values_of(scores)[2:] == [0.5, 4 * 6 / (5 * 8), 0.5]


def test_constant_features():
    ones = np.full((30, 7), 0.1, np.float32)
    # Every fake is in all 30 real balls of radius 0.
    assert manifold_scores(ones, ones[:9]) == ManifoldScores(1.0, 1.0, 30 / 5, 1.0)
    assert values_of(manifold_scores(ones, ones + 1)) == [0.0, 0.0, 0.0, 0.0]
    varied = features_of(30, 7, 0)
    scores = manifold_scores(varied, ones)
    assert scores.recall == 0.0
    assert np.isfinite(values_of(scores)).all()


# A real manifold that is kept.


def test_a_kept_manifold_serves_every_metric(pair):
    x, y, expected = pair
    real = manifold(x, 5)
    assert values_of(manifold_scores(real, y)) == expected
    assert precision_recall(real, y) == PrecisionRecall(*expected[:2])
    assert density_coverage(real, y) == DensityCoverage(*expected[2:])


def test_a_kept_manifold_is_not_computed_again(pair, monkeypatch):
    x, y, _ = pair
    real = manifold(x, 5)
    references = []
    compute = manifold_lib._nearest

    def counted(queries, reference, **options):
        references.append(len(reference[0]))
        return compute(queries, reference, **options)

    monkeypatch.setattr(manifold_lib, "_nearest", counted)
    manifold_scores(real, y)
    assert references == [len(y)]
    density_coverage(real, y)
    assert references == [len(y)]


def test_a_second_evaluation_compiles_nothing(pair, monkeypatch):
    x, y, _ = pair
    real = manifold(x, 5)
    manifold_scores(real, y)
    traced = []
    compute = manifold_lib._squared_distances

    def counted(*arrays):
        traced.append(len(arrays))
        return compute(*arrays)

    monkeypatch.setattr(manifold_lib, "_squared_distances", counted)
    manifold_scores(real, y[::-1])
    assert not traced
    # Other shapes do compile, so the count is of something.
    manifold_scores(real, y[:23])
    assert len(traced) == 2


# Memory.


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("memory_bytes", [None, 2**30])
def test_memory_of_50_000_features(devices, memory_bytes):
    """All pairs at once would take 9.3 GiB; beyond the features, 2 GiB must do."""
    budget = memory_bytes or manifold_lib.MEMORY_BYTES
    count, width = 50_000, 2048
    mesh = manifold_lib._mesh(jax.devices()[:devices])
    rows = manifold_lib._rows_per_call(count, count, devices, budget)

    def vectors(*sizes):
        return tuple(jax.ShapeDtypeStruct((size,), jnp.float32) for size in sizes)

    index = jax.ShapeDtypeStruct((rows,), jnp.int32)
    queries = jax.ShapeDtypeStruct((rows, width), jnp.float32)
    features = jax.ShapeDtypeStruct((count, width), jnp.float32)
    programs = [
        manifold_lib._nearest.lower(
            (index, queries, *vectors(rows)), (features, *vectors(count)), k=5, mesh=mesh
        ),
        manifold_lib._meet.lower(
            (index, queries, *vectors(rows, rows)),
            (features, *vectors(count, count, count)),
            mesh=mesh,
        ),
    ]
    for program in programs:
        needed = program.compile().memory_analysis()
        beyond = needed.temp_size_in_bytes + needed.output_size_in_bytes
        assert beyond < budget + 2**20 < 2 * 2**30
        # Not so little either, that the chunks would be slow.
        assert beyond > budget / 8
        arguments = needed.argument_size_in_bytes - features.size * 4
        assert arguments < 0.1 * budget


def test_rows_of_a_call_fill_the_budget_evenly():
    rows = manifold_lib._rows_per_call
    # 16 bytes for each of 1000 columns.
    assert rows(10_000, 1000, 1, 16 * 1000 * 5000) == 5000
    assert rows(10_001, 1000, 1, 16 * 1000 * 5000) == 3334
    assert rows(10_000, 1000, 2, 16 * 1000 * 2500) == 5000
    assert rows(5, 1000, 8, 2**28) == 8
    assert rows(100, 1000, 4, 1) == 4


# Errors.


def test_too_few_are_refused():
    x, y = features_of(6, 2, 0), features_of(3, 2, 1)
    assert density_coverage(x, y).density >= 0.0
    with pytest.raises(MetricError, match="fake features: 3 rows and k = 3 neighbours; accepted"):
        precision_recall(x, y)
    with pytest.raises(MetricError, match="fake features: 3 rows and k = 3 neighbours"):
        manifold_scores(x, y)
    with pytest.raises(MetricError, match="real features: 5 rows and k = 5 neighbours"):
        density_coverage(x[:5], y)
    with pytest.raises(MetricError, match="features: 6 rows and k = 6 neighbours"):
        manifold(x, 6)
    with pytest.raises(MetricError, match="fake features: 0 rows; accepted: at least 1"):
        density_coverage(x, y[:0])


def test_a_manifold_of_fewer_neighbours_is_refused():
    x = features_of(20, 2, 0)
    real = manifold(x, 3)
    assert precision_recall(real, x).precision == 1.0
    with pytest.raises(MetricError, match="real features has k = 3 neighbours; accepted: at least"):
        density_coverage(real, x)
    with pytest.raises(MetricError, match="has k = 3 neighbours; accepted: at least 5"):
        manifold_scores(real, x)


def test_unfit_features_are_refused():
    x = features_of(20, 2, 0)
    with pytest.raises(MetricError, match="real features have width 2 and fake features 3"):
        precision_recall(x, np.zeros((20, 3)))
    with pytest.raises(MetricError, match="real features have width 2 and fake features 3"):
        density_coverage(manifold(x), np.zeros((20, 3)))
    with pytest.raises(MetricError, match="real features: 1 of 20 rows hold NaN or infinity"):
        manifold_scores(np.where(np.arange(20)[:, None] == 3, np.inf, x), x)
    with pytest.raises(MetricError, match="fake features: 2 of 20 rows have a squared norm above"):
        manifold_scores(x, np.where(np.arange(20)[:, None] < 2, np.float32(1e25), x))
    with pytest.raises(MetricError, match="fake features: 2 of 20 rows have a squared norm above"):
        density_coverage(x, np.where(np.arange(20)[:, None] < 2, np.float64(1e60), x))
    with pytest.raises(MetricError, match=r"fake features have dtype int64; accepted: a floating"):
        precision_recall(x, np.zeros((20, 2), np.int64))
    with pytest.raises(MetricError, match=r"centre has shape \(3,\); accepted: \(2,\)"):
        manifold(x, centre=np.zeros(3))


@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_bad_settings_are_refused(value):
    x = features_of(20, 2, 0)
    accepted = f"= {value}; accepted: an integer >= 1"
    for call in (precision_recall, density_coverage):
        with pytest.raises(ConfigError, match=f"_?k {accepted}"):
            call(x, x, value)
        with pytest.raises(ConfigError, match=f"memory_bytes {accepted}"):
            call(x, x, memory_bytes=value)
    with pytest.raises(ConfigError, match=f"k {accepted}"):
        manifold(x, value)
    with pytest.raises(ConfigError, match=f"density_k {accepted}"):
        manifold_scores(x, x, density_k=value)
