"""The public metrics of arrays of images."""

import numpy as np
import pytest

import gan_jax
from gan_jax import errors
from gan_jax.metrics import extractors, frechet, similarity
from tests.metrics import stub


@pytest.fixture
def quarters(monkeypatch):
    monkeypatch.setitem(extractors.EXTRACTORS, "quarters", lambda setting: stub.extractor())


def images(count, seed, low=0):
    rng = np.random.default_rng(seed)
    return rng.integers(low, 256, (count, 8, 8, 3), dtype=np.uint8)


@pytest.mark.slow
def test_several_metrics_come_from_one_call(quarters):
    made, real = images(70, 0, low=100), images(90, 1)
    found = gan_jax.metrics.measure(
        made, real, ["quarters_fid", "quarters_kid", "quarters_precision"], batch_size=32
    )
    assert {"quarters_fid", "quarters_kid", "quarters_precision"} <= set(found)
    # In the reference's terms: the features of all images at once.
    extractor = stub.extractor()
    features = [
        np.asarray(extractor.apply(extractor.variables, x, ("features",))["features"])
        for x in (made, real)
    ]
    expected = frechet.frechet_distance(*(frechet.moments(x) for x in features))
    assert found["quarters_fid"] == pytest.approx(float(expected), rel=1e-5)
    same = gan_jax.metrics.measure(real, real, ["quarters_fid"])
    assert same["quarters_fid"] == pytest.approx(0.0, abs=1e-6)


def test_metrics_of_pairs_are_means_over_them():
    one, other = images(5, 0), images(5, 1)
    found = gan_jax.metrics.measure(one, other, ["psnr"], batch_size=2)
    assert found["psnr"] == pytest.approx(float(np.mean(similarity.psnr(one, other))), rel=1e-6)
    np.testing.assert_array_equal(gan_jax.metrics.psnr(one, other), similarity.psnr(one, other))


@pytest.mark.parametrize(
    ("metrics", "array", "message"),
    [
        (["auroc"], images(4, 0), "'auroc', which is not a metric of two sets of images"),
        (["psnr"], np.zeros((4, 8, 8, 3)), r"images is float64 \[4, 8, 8, 3\]; accepted: uint8"),
        (["psnrr"], images(4, 0), "psnrr"),
        (["fid"], images(4, 0)[:, :-1], r"images is \[4, .*; accepted: images of one shape, prepa"),
    ],
)
def test_mistakes_are_named(metrics, array, message):
    with pytest.raises(errors.GanJaxError, match=message):
        gan_jax.metrics.measure(array, images(4, 1), metrics)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(errors.MetricError, match=r"none\.npz"):
        gan_jax.metrics.fid(images(4, 0), images(4, 1), inception=tmp_path / "none.npz")
