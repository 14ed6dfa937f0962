"""GAN-train, GAN-test and samples beside few labels, for samples of which the answer is known."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from gan_jax.errors import MetricError
from gan_jax.metrics import classification, classifier
from gan_jax.metrics.classification import LabelledImages

CLASSES = 4
EACH = 12


def corners(seed, each=EACH):
    """Return images of four classes, by which corner is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), each))
    images = rng.integers(0, 80, (len(labels), 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(label, 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 120
    return LabelledImages(images, labels)


REAL, HELD_OUT = corners(0), corners(1)


@pytest.fixture(scope="module")
def measured():
    """Return what measures some samples by the classifier itself, trained for few steps."""
    train, known = functools.partial(classifier.train_classifier, steps=40), {}

    def once(images, labels, *arguments, **options):
        key = images.tobytes() + labels.tobytes()
        if key not in known:
            known[key] = train(images, labels, *arguments, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "train_classifier", once)

        def measure(samples):
            names = ("gan_train", "gan_test")
            return classification.accuracies(names, REAL, HELD_OUT, samples, CLASSES, seed=3)

        yield measure


def test_copies_of_the_training_images_serve_as_these_do(measured):
    values = measured(REAL)
    assert values == {"gan_train": 1.0, "gan_test": 1.0, "real_train": 1.0}


def test_samples_of_another_class_than_asked_for_are_found_out(measured):
    # All samples that were asked for class 3 show class 0.
    images = REAL.images.copy()
    images[REAL.labels == 3] = REAL.images[REAL.labels == 0]
    values = measured(LabelledImages(images, REAL.labels))
    assert values["gan_test"] == 0.75
    assert 0.5 <= values["gan_train"] <= 0.75
    assert values["real_train"] == 1.0
    # All classes are exchanged.
    values = measured(LabelledImages(REAL.images, (REAL.labels + 1) % CLASSES))
    assert (values["gan_train"], values["gan_test"]) == (0.0, 0.0)


def test_labels_that_mean_nothing_give_chance(measured):
    # Every class is asked for equally often by samples of each class.
    order = np.argsort(REAL.labels, kind="stable")
    labels = np.empty_like(REAL.labels)
    labels[order] = np.tile(np.arange(CLASSES), EACH)
    values = measured(LabelledImages(REAL.images, labels))
    assert values["gan_test"] == 1 / CLASSES
    assert values["gan_train"] <= 0.5


@pytest.fixture
def trained(monkeypatch):
    """Replace the classifier by one of class means, and return the sets that it is trained on."""
    seen = []

    def share(means, images, labels):
        apart = np.square(images[:, None].astype(float) - means).sum((2, 3, 4))
        return float(np.mean(np.argmin(apart, 1) == labels))

    def train(images, labels, num_classes, *, seed, tested):
        seen.append((images, labels, seed))
        means = np.stack([images[labels == k].mean(0) for k in range(num_classes)])
        return SimpleNamespace(variables=means, accuracy=share(means, *tested))

    monkeypatch.setattr(classifier, "train_classifier", train)
    monkeypatch.setattr(classifier, "accuracy_of", lambda c, *images: share(c.variables, *images))
    return seen


def rows(images):
    return {image.tobytes() for image in images}


def test_samples_stand_beside_a_number_of_labelled_images(trained):
    samples = corners(2, each=5)
    names = ("gan_augment10",)
    values = classification.accuracies(names, REAL, HELD_OUT, samples, CLASSES, seed=7)
    assert list(values) == ["gan_augment10", "real_train10"]
    (both, both_labels, seed), (few, few_labels, _) = trained
    assert seed == 7
    assert np.bincount(few_labels).tolist() == [10] * CLASSES
    assert rows(few) < rows(REAL.images)
    # The same few, and all samples with the classes that they were asked for.
    np.testing.assert_array_equal(both, np.concatenate([few, samples.images]))
    np.testing.assert_array_equal(both_labels, np.concatenate([few_labels, samples.labels]))
    classification.accuracies(names, REAL, HELD_OUT, samples, CLASSES, seed=8)
    assert rows(trained[3][0]) != rows(few)


def test_good_samples_help_and_bad_ones_harm(trained):
    def gain(samples):
        values = classification.accuracies(
            ("gan_augment",), REAL, HELD_OUT, samples, CLASSES, seed=0
        )
        return values["gan_augment"] - values["real_train"]

    exchanged = corners(2, each=40)
    assert gain(exchanged) == 0.0  # Both are perfect.
    assert gain(exchanged._replace(labels=(exchanged.labels + 1) % CLASSES)) == -1.0


def test_classifiers_of_real_images_are_shared(trained):
    every = list(classification.LABELS)
    real, test = corners(3, each=100), corners(4, each=10)
    values = classification.accuracies(every, real, test, corners(5), CLASSES, seed=0)
    # Samples alone; real images of three numbers alone, and with samples.
    assert len(trained) == 7
    assert set(values) == {*every, "real_train", "real_train10", "real_train100"}


def test_a_class_with_too_few_images_is_named():
    few = LabelledImages(REAL.images[1:], REAL.labels[1:])
    label = REAL.labels[0]
    with pytest.raises(MetricError, match=f"class {label} has 11 images; accepted: 12 or more"):
        classification.of_each_class(few, EACH, CLASSES, 0)
    chosen = classification.of_each_class(REAL, EACH, CLASSES, 0)
    assert rows(chosen.images) == rows(REAL.images)
