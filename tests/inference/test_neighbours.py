"""The nearest training images are the true ones, however the set is divided; copies are found."""

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data.sources import image_source
from gan_jax.inference import neighbours
from gan_jax.inference.neighbours import check_memory, nearest_images, pixels
from gan_jax.metrics import extractors
from gan_jax.metrics.nearest import nearest


def images(n, seed=0, side=8, channels=3):
    rng = np.random.default_rng(seed)
    # Few levels, so that there are ties.
    return rng.integers(0, 4, (n, side, side, channels)).astype(np.uint8) * 60


def chunked(rows, size):
    return (rows[i : i + size] for i in range(0, len(rows), size))


def brute(queries, rows, k, own=None):
    difference = queries[:, None].astype(np.float64) - rows[None]
    distance = np.sqrt(np.square(difference).mean(-1))
    if own is not None:
        distance[np.arange(len(queries)), own] = np.inf
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, index, 1), index


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_nearest_are_those_of_every_distance(size):
    queries, rows = images(9, 1).reshape(9, -1), images(200).reshape(200, -1)
    found = nearest(queries, chunked(rows, size), 5)
    distance, index = brute(queries, rows, 5)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.distance, distance)
    assert not found.mirrored.any()


@pytest.mark.parametrize("size", [3, 64])
def test_features_are_compared_likewise(size):
    rng = np.random.default_rng(0)
    queries, rows = (rng.normal(size=(n, 16)).astype(np.float32) for n in (9, 200))
    found = nearest(queries, chunked(rows, size), 4)
    distance, index = brute(queries, rows, 4)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)


def test_the_own_row_does_not_count():
    rows = images(60).reshape(60, -1)
    own = np.array([3, 59, 0])
    found = nearest(rows[own], chunked(rows, 7), 2, own=own)
    distance, index = brute(rows[own], rows, 2, own)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.distance, distance)
    assert (found.distance > 0).all()


def test_a_copy_is_at_no_distance_and_one_level_differs_from_it():
    # Large bright images: products of float32 alone would not distinguish them.
    rows = np.full((5, 64 * 64 * 3), 250, np.uint8)
    rows[:, :5] = np.arange(5)[:, None]
    query = rows[3:4].copy()
    found = nearest(query, [rows], 3)
    assert (found.index[0, 0], found.distance[0, 0]) == (3, 0.0)
    assert set(found.index[0, 1:]) == {2, 4}
    np.testing.assert_allclose(found.distance[0, 1:], np.sqrt(5 / rows.shape[1]))


def test_too_few_rows_are_refused():
    rows = images(3).reshape(3, -1)
    with pytest.raises(ValueError, match="There are 3 rows"):
        nearest(rows, [rows], 4)
    with pytest.raises(ValueError, match="There are 3 rows"):
        nearest(rows, [rows], 3, own=np.arange(3))


def source(n=80, labels=None):
    return image_source("set", "train", images(n), labels)


@pytest.mark.parametrize("chunk_bytes", [1, 7 * 4 * 192, 2**30])
def test_a_source_is_read_in_parts(chunk_bytes, monkeypatch):
    monkeypatch.setattr(neighbours, "_CHUNK_BYTES", chunk_bytes)
    samples, progress = images(6, 1), []
    found = nearest_images(samples, source(), 3, pixels, advance=progress.append)
    distance, index = brute(pixels(samples), pixels(source().arrays["image"]), 3)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.distance, distance)
    assert progress[-1] == 80
    assert len(progress) == {1: 80, 7 * 4 * 192: 12, 2**30: 1}[chunk_bytes]


def test_mirrored_images_count_where_the_training_has_them():
    data = source()
    samples = data.arrays["image"][[5, 70]].copy()
    samples[0] = samples[0, :, ::-1]
    assert (nearest_images(samples, data, 3, pixels).distance[:, 0] == 0).tolist() == [False, True]
    found = nearest_images(samples, data, 3, pixels, mirror=True)
    assert found.index[:, 0].tolist() == [5, 70]
    assert found.mirrored[:, 0].tolist() == [True, False]
    assert (found.distance[:, 0] == 0).all()
    # Every image once, in its nearer form.
    both = np.concatenate([data.arrays["image"], data.arrays["image"][:, :, ::-1]])
    difference = pixels(samples)[:, None].astype(float) - pixels(both)
    each = np.square(difference).mean(-1).reshape(2, 2, 80).min(1)
    for i in range(2):
        order = np.argsort(each[i], kind="stable")[:3]
        assert found.index[i].tolist() == order.tolist()
        np.testing.assert_array_equal(found.distance[i], np.sqrt(each[i][order]))
    rows = neighbours.picture_rows(samples, found, data)
    assert rows.shape == (2, 4, 8, 8, 3)
    np.testing.assert_array_equal(rows[:, 0], samples)
    np.testing.assert_array_equal(rows[:, 1], samples)


def test_copies_are_distinguished_from_new_images():
    data = source(80)
    copies = data.arrays["image"][:20]
    remembered = check_memory(copies, data, 2, pixels)
    assert remembered.samples == 0
    assert remembered.real > 10
    assert "ratio 0," in remembered.words
    new = check_memory(images(20, 1), data, 2, pixels)
    assert new.real == remembered.real
    assert 0.8 < new.samples / new.real < 1.2
    # Leave-one-out of all, as there are no more than are compared.
    expected = brute(pixels(data.arrays["image"]), pixels(data.arrays["image"]), 1, np.arange(80))[
        0
    ].mean()
    assert new.real == pytest.approx(expected, rel=1e-12)
    assert (new.count, new.real_count) == (20, 80)
    assert check_memory(copies, data, 2, pixels, compared=10).real_count == 10


def test_the_progress_is_that_of_both_searches():
    progress = []
    check_memory(images(3, 1), source(80), 1, pixels, advance=progress.append)
    assert progress == [80, 160]


def test_features_are_those_of_the_extractor_in_batches_of_any_size(monkeypatch):
    def means(x):
        return x.astype("float32").mean((1, 2)) / 255

    stub = extractors.from_function("classifier", means, width=3, weights="v1")
    monkeypatch.setitem(extractors.EXTRACTORS, "classifier", lambda setting: stub)
    data = source(50, np.arange(50) % 2)
    for batch_size in (8, 64):
        describe = neighbours.classifier_features(data, batch_size)
        found = describe(data.arrays["image"])
        assert found.shape == (50, 3)
        np.testing.assert_allclose(found, data.arrays["image"].mean((1, 2)) / 255, atol=1e-6)
    near = nearest_images(images(4, 1), data, 2, describe)
    expected = brute(images(4, 1).mean((1, 2)) / 255, data.arrays["image"].mean((1, 2)) / 255, 2)
    np.testing.assert_array_equal(near.index, expected[1])
    np.testing.assert_allclose(near.distance, expected[0], atol=1e-5)


def test_features_that_cannot_be_had_are_refused():
    with pytest.raises(errors.ConfigError, match="set has no labels to train one with; accepted"):
        neighbours.check_features("classifier", source())
    with pytest.raises(errors.ConfigError, match=r"features = 'pixel'.*\"pixels\""):
        neighbours.check_features("pixel", source())
