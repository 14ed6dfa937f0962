"""Streaming over devices: what is known of a set does not depend on how it was looked at."""

import functools

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.metrics import extractor as extractor_lib
from gan_jax.metrics import frechet, statistics
from gan_jax.metrics.statistics import Extraction, cached, collect
from tests.metrics import stub

IMAGES = np.random.default_rng(0).integers(0, 256, (53, 8, 8, 3)).astype(np.uint8)
BOTH = {"features": frozenset({"moments", "features"})}


@functools.cache
def extraction(devices=1, batch_size=8, weights="v1"):
    made = stub.extractor(weights=weights)
    return Extraction(made, ("features",), jax.devices()[:devices], batch_size)


def batches(size, images=IMAGES):
    return (images[i : i + size] for i in range(0, len(images), size))


def reference(images=IMAGES):
    x = images.astype(np.float64) / 255.0
    n = len(x)
    return x.reshape(n, 2, 4, 2, 4, 3).mean((2, 4, 5)).reshape(n, 4)


@pytest.mark.parametrize(("devices", "size"), [(1, 8), (8, 13), (3, 53)])
def test_neither_devices_nor_batches_matter(devices, size):
    found = collect(extraction(devices, size), batches(size), 53, BOTH)
    expected = reference()
    np.testing.assert_allclose(found.features["features"], expected, rtol=1e-6)
    moments = found.moments["features"]
    assert (moments.count, found.count) == (53, 53)
    np.testing.assert_allclose(moments.mean, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.covariance, np.cov(expected.T), rtol=1e-5, atol=1e-10)


def test_batches_on_the_devices_are_truncated_to_the_count():
    run = extraction(8, 13)
    assert run.batch_size == 16
    whole = (jax.numpy.asarray(IMAGES[i : i + 16]) for i in range(0, 48, 16))
    found = collect(run, whole, 41, BOTH)
    np.testing.assert_allclose(found.features["features"], reference(IMAGES[:41]), rtol=1e-6)


def test_an_endless_stream_is_read_no_further_than_needed():
    read = []

    def endless():
        while True:
            read.append(1)
            yield IMAGES[:8]

    collect(extraction(), endless(), 20, BOTH)
    assert len(read) == 3


def test_only_what_is_asked_for_is_kept():
    found = collect(extraction(), batches(8), 53, {"features": frozenset({"moments"})})
    assert found.features == {}
    found = collect(extraction(), batches(8), 53, {"features": frozenset({"features"})})
    assert found.moments == {}


def test_too_few_images_are_an_error():
    with pytest.raises(errors.MetricError, match="there are 53 images; 60 were requested"):
        collect(extraction(), batches(8), 60, BOTH)


def test_features_that_are_not_finite_are_an_error():
    made = extractor_lib.Extractor(
        "bad",
        {"features": 1},
        "features",
        None,
        (),
        lambda v, x, layers: {"features": jax.numpy.full((len(x), 1), np.nan, "float32")},
        {},
    )
    with pytest.raises(errors.MetricError, match="bad: layer 'features' is not finite"):
        collect(Extraction(made, ("features",), jax.devices()[:1], 8), batches(8), 53, BOTH)


def test_an_unknown_layer_is_an_error():
    with pytest.raises(errors.MetricError, match="has no layer 'deep'; accepted: features"):
        Extraction(stub.extractor(), ("deep",), jax.devices()[:1], 8)


class Unread:
    """Batches that must not be needed."""

    def __iter__(self):
        raise AssertionError("the images were read again")


def test_what_is_known_is_not_computed_again(tmp_path):
    first = cached(tmp_path, {"data": "a"}, extraction(), batches(8), 53, BOTH)
    again = cached(tmp_path, {"data": "a"}, extraction(8), Unread(), 53, BOTH)
    np.testing.assert_array_equal(again.features["features"], first.features["features"])
    np.testing.assert_array_equal(
        again.moments["features"].covariance, first.moments["features"].covariance
    )
    assert again.moments["features"].count == 53


@pytest.mark.parametrize("change", ["data", "weights", "count", "kind"])
def test_what_differs_is_computed(tmp_path, change):
    moments = {"features": frozenset({"moments"})}
    cached(tmp_path, {"data": "a"}, extraction(), batches(8), 53, moments)
    identity = {"data": "b" if change == "data" else "a"}
    run = extraction(weights="v2" if change == "weights" else "v1")
    needs = BOTH if change == "kind" else moments
    count = 50 if change == "count" else 53
    with pytest.raises(AssertionError, match="read again"):
        cached(tmp_path, identity, run, Unread(), count, needs)


def test_a_damaged_file_is_computed_anew_and_replaced(tmp_path, caplog):
    cached(tmp_path, {}, extraction(), batches(8), 53, BOTH)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    found = cached(tmp_path, {}, extraction(), batches(8), 53, BOTH)
    assert "is damaged" in caplog.text
    np.testing.assert_allclose(found.features["features"], reference(), rtol=1e-6)
    cached(tmp_path, {}, extraction(), Unread(), 53, BOTH)


def test_moments_of_a_stream_are_those_of_the_features():
    found = collect(extraction(), batches(8), 53, BOTH)
    whole = frechet.moments(found.features["features"])
    np.testing.assert_allclose(found.moments["features"].mean, whole.mean, rtol=1e-12)
    assert statistics.Statistics(1, {}, {}) == statistics.Statistics(1, {}, {}, {"known": 1})
