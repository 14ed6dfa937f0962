"""Features of stacked images, and the modes that they show: closed forms."""

import itertools
import math

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data.sources.base import image_source
from gan_jax.data.sources.stacked import StackedSource
from gan_jax.data.sources.subset import Subset
from gan_jax.evaluation import choosing
from gan_jax.evaluation.real_images import labelled_images
from gan_jax.evaluation.settings import Settings
from gan_jax.metrics import classifier, classifier_files, compare, extractors, names, stacked
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.statistics import Statistics

# A grey image of class k has the level 20 k + 10 everywhere.
LEVELS = (20 * np.arange(10) + 10).astype(np.uint8)
MODES = np.array(list(itertools.product(range(10), repeat=3)))  # red varies slowest


def grey(variables, images, layers):
    """Classify grey images by their mean level; the first feature is the level, the second 1."""
    level = images.astype(jnp.float32).mean((1, 2, 3))
    logits = -jnp.square(level[:, None] - jnp.asarray(LEVELS, jnp.float32)) / 100.0
    found = {"features": jnp.stack([level, jnp.ones_like(level)], 1), "logits": logits}
    return {layer: found[layer] for layer in layers}


GREY = Extractor("classifier", {"features": 2, "logits": 10}, "features", "logits", (), grey, {})
EXTRACTOR = stacked.by_channel(GREY, 3)


def stack(classes):
    """Return images of classes ``[n, 3]``, one for each channel."""
    return np.broadcast_to(LEVELS[classes][:, None, None], (len(classes), 8, 8, 3))


def logits(images):
    return np.asarray(EXTRACTOR.apply((), images, ("logits",))["logits"])


def measured(images):
    """Return the number of modes and the divergence, as an evaluation computes them."""
    metrics = [names.parse(f"classifier_{s}", ("classifier",)) for s in ("modes", "mode_kl")]
    layers = {metric.name: compare.layer_of(metric, EXTRACTOR) for metric in metrics}
    fake = Statistics(len(images), {}, {"logits": logits(images)})
    assert "within_std" not in compare.constants(metrics, 2, len(images))
    assert [metric.lower_is_better for metric in metrics] == [False, True]
    return tuple(compare.compare(metrics, layers, Statistics(1, {}, {}), fake).values())


def test_an_image_of_every_mode_covers_them_all_in_any_order():
    images = stack(np.random.default_rng(0).permutation(np.repeat(MODES, 2, axis=0)))
    assert measured(images) == (1000, 0.0)


def test_constant_images_are_one_mode():
    assert measured(stack(np.full((7, 3), 4))) == (1, pytest.approx(math.log(1000), rel=1e-12))


def test_two_classes_in_one_channel_are_two_modes():
    classes = np.array([[3, 0, 9], [3, 1, 9], [3, 1, 9], [3, 1, 9]])
    entropy = -(1 / 4) * math.log(1 / 4) - (3 / 4) * math.log(3 / 4)
    assert measured(stack(classes)) == (2, pytest.approx(math.log(1000) - entropy, rel=1e-9))


def test_the_class_has_those_of_red_green_and_blue_as_its_digits():
    np.testing.assert_array_equal(logits(stack(MODES)).argmax(1), np.arange(1000))


def test_probabilities_are_the_products_of_the_channels():
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    found = EXTRACTOR.apply((), images, ("features", "logits"))
    parts = [grey((), images[..., c : c + 1], ("features", "logits")) for c in range(3)]
    features = np.concatenate([part["features"] for part in parts], axis=1)
    np.testing.assert_allclose(found["features"], features, rtol=1e-6)
    red, green, blue = (np.asarray(part["logits"]) for part in parts)
    joint = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
    np.testing.assert_allclose(found["logits"], joint.reshape(4, 1000), rtol=1e-5)
    chex.assert_shape(found["features"], (4, EXTRACTOR.layers["features"]))
    chex.assert_shape(found["logits"], (4, EXTRACTOR.layers["logits"]))


def corners(size=400):
    """Return grey images of four classes, each a white corner, stacked."""
    images = np.zeros((400, 8, 8, 1), np.uint8)
    for k, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        images[k::4, row : row + 4, column : column + 4] = 255
    parts = image_source("corners", "train", images, np.arange(400) % 4)
    return StackedSource("stacked_corners", parts, size)


def test_the_classifier_of_stacked_images_learns_from_the_images_that_are_stacked():
    source = corners()
    labelled = labelled_images(source, source.arrays)
    assert (labelled.num_classes, labelled.adapted(GREY).layers) == (4, EXTRACTOR.layers)
    images, classes = labelled.read()
    np.testing.assert_array_equal(images, source.parts.arrays["image"])
    np.testing.assert_array_equal(classes, source.parts.arrays["label"])
    assert labelled_images(source.parts).adapted(GREY) is GREY


def test_the_classifier_sees_each_channel_of_such_images_alone(monkeypatch):
    monkeypatch.setattr(classifier_files, "cached_classifier", lambda *_, **options: None)
    monkeypatch.setattr(classifier, "make_extractor", lambda trained: GREY)
    source = corners()
    made, plain = (
        extractors.make_extractor("classifier", extractors.Setting(labelled_images(each)))
        for each in (source, source.parts)
    )
    assert (made.layers, made.protocol) == (EXTRACTOR.layers, {"channels": "each by itself"})
    assert plain is GREY
    part = Subset(source, range(100), "part")
    assert labelled_images(part).adapted(GREY).layers == EXTRACTOR.layers


def test_modes_are_measured_on_such_data_alone():
    source = corners()
    chosen = [m.name for m in choosing.choose_metrics(Settings(num_fake=10), source)]
    assert chosen == ["classifier_modes", "classifier_mode_kl", "classifier_fid"]
    plain = [m.name for m in choosing.choose_metrics(Settings(num_fake=10), source.parts)]
    assert plain == ["classifier_fid", "classifier_precision", "classifier_recall"]
    settings = Settings(metrics=("classifier_modes",))
    message = "'classifier_modes', but corners has no modes; accepted: stacked_digits"
    with pytest.raises(errors.ConfigError, match=message):
        choosing.choose_metrics(settings, source.parts)
    with pytest.raises(errors.ConfigError, match=r"'modes', but .*accuracy, classifier_modes"):
        choosing.choose_metrics(Settings(metrics=("modes",)), source)
