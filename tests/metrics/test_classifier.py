"""The offline classifier: accuracy, fit features, determinism, files, the cache, errors."""

import dataclasses
import functools
import logging

import jax
import numpy as np
import pytest

from gan_jax.data.sources.digits import digits
from gan_jax.data.sources.images import Transform
from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import classifier as classifiers
from gan_jax.metrics.classifier import make_extractor
from gan_jax.metrics.classifier import train_classifier as train
from gan_jax.metrics.classifier_files import cached_classifier, load, save


@pytest.fixture(scope="module")
def data():
    source = digits("train", Transform(8, 1))
    return source.arrays["image"], source.arrays["label"]


@pytest.fixture(scope="module")
def trained(data):
    return train(*data, 10, steps=150)


@pytest.fixture(scope="module")
def small():
    """A set of two easy classes, and a classifier of it that has hardly been trained."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    images = (rng.integers(0, 100, (60, 8, 10, 3)) + 150 * labels[:, None, None, None]).astype(
        np.uint8
    )
    return images, labels, train(images, labels, 2, steps=2)


@functools.cache
def compiled(classifier):
    extractor = make_extractor(classifier)
    return extractor, jax.jit(extractor.apply, static_argnums=2)


def features_of(classifier, images, layer="features"):
    extractor, apply = compiled(classifier)
    return np.asarray(apply(extractor.variables, images, (layer,))[layer])


# Accuracy and features.


@pytest.mark.slow
def test_digits_are_learned(trained, data):
    assert trained.accuracy >= 0.9
    # The set's own test split: other writers.
    test = digits("test", Transform(8, 1))
    predicted = features_of(trained, test.arrays["image"], "logits").argmax(1)
    assert (predicted == test.arrays["label"]).mean() >= 0.9
    assert trained.shape == (8, 8, 1)
    assert trained.num_classes == 10


def test_features_are_not_degenerate(trained, data):
    features = features_of(trained, data[0])
    assert features.shape == (1500, classifiers.FEATURES)
    assert features.dtype == np.float32
    values = np.linalg.eigvalsh(np.cov(features.astype(np.float64).T))
    # Well above what float32 features can resolve.
    assert values[0] > 1e-4 * values[-1]
    deviations = features.std(0)
    assert deviations.min() > 0.2 * deviations.max()


def test_features_do_not_depend_on_the_batch(trained, data):
    images = data[0][:8]
    together = features_of(trained, images)
    alone = np.concatenate([features_of(trained, images[i : i + 1]) for i in range(8)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features_of(trained, images[::-1])[::-1], together, atol=1e-5)


@pytest.mark.slow
def test_held_out_part_is_not_trained_on(small):
    # Labels wrong in the held-out part only: the weights must not notice, the accuracy must.
    images, labels, _ = small
    order_key = jax.random.split(jax.random.key(0), 3)[0]
    held_out = np.asarray(jax.random.permutation(order_key, len(images)))[:6]
    wrong = labels.copy()
    wrong[held_out] = 1 - wrong[held_out]
    right, other = (train(images, which, 2, steps=2) for which in (labels, wrong))
    assert right.hash == other.hash
    assert right.accuracy == pytest.approx(1.0 - other.accuracy)


def test_most_images_bound_what_is_trained_on(small, monkeypatch):
    images, labels, classifier = small
    monkeypatch.setattr(classifiers, "MAX_IMAGES", 10)
    fewer = train(images, labels, 2, steps=2)
    assert fewer.hash != classifier.hash


def test_weights_are_a_function_of_the_arguments(small):
    images, labels, classifier = small
    again = train(images, labels, 2, steps=2)
    jax.tree.map(np.testing.assert_array_equal, again.variables, classifier.variables)
    assert (again.hash, again.accuracy) == (classifier.hash, classifier.accuracy)
    assert train(images, labels, 2, steps=2, seed=1).hash != classifier.hash


# The extractor.


def test_extractor_describes_itself(small):
    _, _, classifier = small
    extractor = make_extractor(classifier)
    assert extractor.name == "classifier"
    assert extractor.layers == {"features": 64, "logits": 2}
    assert (extractor.default, extractor.logits) == ("features", "logits")
    assert extractor.protocol == {
        "extractor": "classifier",
        "weights": classifier.hash,
        "accuracy": classifier.accuracy,
        "resize": "none",
    }


def test_extractor_computes_what_is_asked_for(small):
    images, _, classifier = small
    extractor, apply = compiled(classifier)
    both = apply(extractor.variables, images, ("logits", "features"))
    assert {name: value.shape for name, value in both.items()} == {
        "logits": (60, 2),
        "features": (60, 64),
    }
    # The head's weights are not even looked at.
    headless = {
        "params": {k: v for k, v in classifier.variables["params"].items() if k != "logits"}
    }
    only = apply(headless, images, ("features",))
    assert list(only) == ["features"]
    np.testing.assert_allclose(only["features"], both["features"], atol=1e-6)


def test_unfit_images_are_refused(small):
    images, _, classifier = small
    extractor, apply = compiled(classifier)
    for wrong in (images[:, :-1], images[..., :1], images.astype(np.float32), images[0]):
        with pytest.raises(MetricError, match=r"accepted: uint8 \[n, 8, 10, 3\]"):
            apply(extractor.variables, wrong, ("features",))
    with pytest.raises(MetricError, match="no layer 'pool'; accepted: features, logits"):
        apply(extractor.variables, images, ("pool",))


def test_large_images_are_made_smaller_first():
    shape = (36, 40, 1)
    variables = classifiers._initial(classifiers._Network(2), jax.random.key(0), shape)
    classifier = classifiers.Classifier(variables, shape, 2, 0.5, "hash")
    assert make_extractor(classifier).protocol["resize"] == "means of 2x2 pixels"
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    # Pixels exchanged within the 2x2 squares do not change their means.
    swapped = images.copy()
    swapped[:, 0], swapped[:, 1] = images[:, 1], images[:, 0]
    np.testing.assert_allclose(
        features_of(classifier, swapped), features_of(classifier, images), rtol=1e-4, atol=1e-5
    )


# Files.


def test_save_and_load(small, tmp_path):
    _, _, classifier = small
    path = tmp_path / "folder" / "classifier.npz"
    save(path, classifier)
    loaded = load(path)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, classifier.variables)
    for field in dataclasses.fields(classifier):
        if field.name != "variables":
            assert getattr(loaded, field.name) == getattr(classifier, field.name)
    assert [file.name for file in path.parent.iterdir()] == ["classifier.npz"]


def edited(edit):
    def damage(path):
        with np.load(path) as file:
            arrays = dict(file)
        edit(arrays)
        np.savez(path, **arrays)

    return damage


BIAS = "params/features/bias"
DAMAGE = {
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "no description": edited(lambda arrays: arrays.pop("about")),
    "bad description": edited(lambda arrays: arrays.update(about=np.array("[1, 2]"))),
    "a weight less": edited(lambda arrays: arrays.pop("params/features/kernel")),
    "a weight more": edited(lambda arrays: arrays.update(more=np.zeros(2))),
    "another weight": edited(lambda arrays: arrays.update({BIAS: arrays[BIAS] + 1.0})),
    "another shape": edited(lambda arrays: arrays.update({BIAS: arrays[BIAS][:-1]})),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(small, tmp_path, damage):
    path = tmp_path / "classifier.npz"
    save(path, small[2])
    DAMAGE[damage](path)
    with pytest.raises(MetricError, match=r"classifier\.npz is not a usable classifier"):
        load(path)


# The cache.


def never():
    raise AssertionError("decoded, although the classifier is cached")


def cached(folder, small, fingerprint="toy:train:60:8x10x3:abc", steps=2):
    return cached_classifier([folder], fingerprint, lambda: small[:2], 2, steps=steps)


def test_cache_is_used_without_the_images(small, tmp_path):
    first = cached(tmp_path, small)
    assert first.hash == small[2].hash
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("classifier-toy-")
    again = cached_classifier([tmp_path], "toy:train:60:8x10x3:abc", never, 2, steps=2)
    assert again.hash == first.hash
    assert again.accuracy == first.accuracy


def test_another_set_or_setting_is_another_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "train_classifier", lambda *arguments, **options: small[2])
    cached(tmp_path, small)
    cached(tmp_path, small, fingerprint="toy:train:60:8x10x3:abd")
    cached(tmp_path, small, steps=1)
    assert len(list(tmp_path.iterdir())) == 3


def test_file_name_is_safe(small, tmp_path):
    cached(tmp_path / "cache", small, fingerprint="../a folder/päth:train:1")
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name.startswith("classifier-a-folder-p-th-")


def test_a_damaged_cache_is_replaced(small, tmp_path, caplog):
    cached(tmp_path, small)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:300])
    with caplog.at_level(logging.WARNING):
        again = cached(tmp_path, small)
    assert again.hash == small[2].hash
    assert file.name in caplog.text
    assert "it is replaced" in caplog.text
    assert load(file).hash == again.hash
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_the_first_folder_that_has_it_gives_it_to_the_others(small, tmp_path):
    fingerprint = "toy:train:60:8x10x3:abc"
    cached(tmp_path / "cache", small)
    (file,) = (tmp_path / "cache").iterdir()
    folders = [tmp_path / "run", tmp_path / "cache"]
    assert cached_classifier(folders, fingerprint, never, 2, steps=2).hash == small[2].hash
    assert (tmp_path / "run" / file.name).read_bytes() == file.read_bytes()
    file.unlink()
    assert cached_classifier(folders, fingerprint, never, 2, steps=2).hash == small[2].hash
    assert file.exists()


def test_a_folder_that_cannot_be_written_costs_the_cache_only(small, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        classifier = cached(tmp_path / "file" / "cache", small)
    assert classifier.hash == small[2].hash
    assert "Cannot write" in caplog.text


# Errors.


def images_like(shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("images", "labels", "num_classes", "message"),
    [
        (images_like((40, 8, 8)), np.arange(40) % 2, 2, r"uint8 \[n, height, width, channels\]"),
        (images_like((40, 8, 8, 1), np.float32), np.arange(40) % 2, 2, "images are float32"),
        (images_like((40, 7, 8, 1)), np.arange(40) % 2, 2, "7x8x1; accepted: at least 8 pixels"),
        (images_like((40, 9, 320, 1)), np.arange(40) % 2, 2, "accepted: at least 20 pixels"),
        (images_like((40, 8, 8, 0)), np.arange(40) % 2, 2, "and 1 channel"),
        (images_like((40, 8, 8, 1)), np.arange(39) % 2, 2, r"labels are int64\[39\]"),
        (images_like((40, 8, 8, 1)), np.zeros(40), 2, "labels are float64"),
        (images_like((19, 8, 8, 1)), np.arange(19) % 2, 2, "at least 10 per class, 20"),
        (images_like((0, 8, 8, 1)), np.zeros(0, int), 2, "0 images of 2 classes"),
        (images_like((40, 8, 8, 1)), np.arange(40) % 3, 2, "labels from 0 to 2; accepted: 0 to 1"),
        (images_like((40, 8, 8, 1)), np.arange(40) % 2 - 1, 2, "labels from -1 to 0"),
        (images_like((40, 8, 8, 1)), np.ones(40, int), 2, "all labels are 1"),
    ],
)
def test_unfit_sets_are_refused(images, labels, num_classes, message):
    with pytest.raises(MetricError, match=message):
        train(images, labels, num_classes)


def test_bad_settings_are_refused(small):
    with pytest.raises(ConfigError, match="steps = 0"):
        train(small[0], small[1], 2, steps=0)
    with pytest.raises(ConfigError, match="num_classes = 1"):
        train(small[0], small[1], 1)


def test_shifts_may_be_to_the_left_and_right_alone():
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    moved = np.stack([padded[:, :, start : start + 8] for start in range(3)])

    def horizontal(vertical):
        shifted = classifiers._shifted(jax.random.key(0), images, vertical)
        return (moved == np.asarray(shifted)).all(axis=(2, 3, 4))

    assert horizontal(vertical=False).sum(axis=1).min() > 10
    assert horizontal(vertical=False).any(axis=0).all()
    assert 10 < horizontal(vertical=True).any(axis=0).sum() < 30
