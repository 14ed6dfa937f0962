"""From names and statistics to numbers: each metric by its name, from what it needs alone."""

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.metrics import compare, frechet, kernel, manifold, names
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.statistics import Statistics
from tests.metrics import stub

RNG = np.random.default_rng(1)
REAL = RNG.normal(size=(60, 4)).astype(np.float32)
FAKE = RNG.normal(0.3, 1.2, size=(50, 4)).astype(np.float32)


def parsed(*wanted):
    return [names.parse(name, ("inception", "quarters")) for name in wanted]


def inception(*layers, logits=None):
    widths = dict.fromkeys(layers, 4)
    default = "2048" if "2048" in layers else layers[-1]
    return Extractor("inception", widths, default, logits, (), lambda *_: {}, {})


def features(rows, layer="features"):
    return Statistics(len(rows), {}, {layer: rows})


def test_every_metric_has_its_value():
    metrics = parsed(
        "quarters_fid",
        "quarters_kid",
        "quarters_precision",
        "quarters_recall",
        "quarters_density",
        "quarters_coverage",
    )
    layers = {m.name: compare.layer_of(m, stub.extractor()) for m in metrics}
    found = compare.compare(metrics, layers, features(REAL), features(FAKE))
    scores = manifold.manifold_scores(REAL, FAKE)
    distance = kernel.kernel_distance(REAL, FAKE, subset_size=50)
    expected = {
        "quarters_fid": frechet.frechet_distance(frechet.moments(REAL), frechet.moments(FAKE)),
        "quarters_kid": distance.mean,
        "quarters_kid_standard_error": distance.standard_error,
        **{f"quarters_{n}": getattr(scores, n) for n in ("precision", "recall")},
        **{f"quarters_{n}": getattr(scores, n) for n in ("density", "coverage")},
    }
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)
    constants = compare.constants(metrics, 60, 50)
    assert constants["kid_subset_size"] == 50
    assert (constants["precision_k"], constants["density_k"]) == (3, 5)


def test_moments_alone_are_enough_for_the_frechet_distance():
    (fid,) = parsed("quarters_fid")
    layers = {"quarters_fid": "features"}
    real = Statistics(60, {"features": frechet.moments(REAL)}, {})
    fake = Statistics(50, {"features": frechet.moments(FAKE)}, {})
    by_moments = compare.compare([fid], layers, real, fake)
    assert by_moments == compare.compare([fid], layers, features(REAL), features(FAKE))


def test_the_inception_score_is_of_the_generated_logits_alone():
    (score,) = parsed("is")
    made = inception("2048", "logits", logits="logits")
    layers = {"is": compare.layer_of(score, made)}
    assert compare.needs([score], layers, fake=False) == {}
    assert compare.needs([score], layers, fake=True) == {"logits": frozenset({"features"})}
    sure = np.tile(50.0 * np.eye(4, dtype=np.float32), (1000, 1))
    found = compare.compare([score], layers, Statistics(1, {}, {}), features(sure, "logits"))
    assert found["is"] == pytest.approx(4.0, abs=0.1)
    assert "is_split_std" in found


def test_what_is_needed_is_the_union():
    metrics = parsed("fid", "kid", "fid64", "precision")
    made = inception("64", "2048")
    layers = {m.name: compare.layer_of(m, made) for m in metrics}
    assert compare.needs(metrics, layers, fake=False) == {
        "2048": frozenset({"moments", "features"}),
        "64": frozenset({"moments"}),
    }


def test_plain_fid_needs_the_last_layer():
    (fid,) = parsed("fid")
    with pytest.raises(errors.ConfigError, match=r"'fid'.*accepted: fid64, fid768"):
        compare.layer_of(fid, inception("64", "768"))


def test_a_layer_that_is_not_there_is_refused():
    (fid,) = parsed("fid192")
    with pytest.raises(errors.ConfigError, match=r"'fid192'.*accepted: fid64"):
        compare.layer_of(fid, inception("64"))
    (score,) = parsed("is")
    with pytest.raises(errors.ConfigError, match="'is', but inception has no logits"):
        compare.layer_of(score, inception("64"))


def test_scores_are_not_mixed_up_between_real_sets():
    (precision,) = parsed("quarters_precision")
    layers = {"quarters_precision": "features"}
    near, far, fake = features(REAL), features(REAL + 100.0), features(FAKE)
    assert compare.compare([precision], layers, near, fake)["quarters_precision"] > 0.5
    assert compare.compare([precision], layers, far, fake)["quarters_precision"] == 0.0
    assert compare.compare([precision], layers, near, fake)["quarters_precision"] > 0.5


def test_points_are_held_against_their_modes():
    centres = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    points = np.array([[0.0, 0.01], [0.0, 0.0], [0.5, 0.0], [9.0, 9.0]], np.float32)
    metrics = parsed("modes", "high_quality", "mode_kl")
    found = compare.compare_points(metrics, points, centres, 0.02)
    assert found["modes"] == 1.0
    assert found["high_quality"] == 0.5
    assert found["mode_kl"] == pytest.approx(np.log(2.0))


def test_the_accuracy_is_the_share_of_images_taken_for_the_class_they_were_to_be_of():
    (accuracy,) = [names.parse("classifier_accuracy", ("inception", "classifier"))]
    assert accuracy.labelled
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 5.0, 1.0], [1.0, 0.0, 3.0]], np.float32)
    fake = Statistics(3, {}, {"logits": logits}, labels=np.array([0, 1, 1], np.int32))
    layers = {"classifier_accuracy": "logits"}
    found = compare.compare([accuracy], layers, Statistics(1, {}, {}), fake)
    assert found == pytest.approx({"classifier_accuracy": 2 / 3})


@pytest.mark.parametrize("labels", [None, np.array([0, 1]), np.array([0, 1, 3])])
def test_an_accuracy_without_fitting_labels_is_refused(labels):
    with pytest.raises(errors.MetricError, match="needs the class of each"):
        compare.class_accuracy(np.zeros((3, 3), np.float32), labels)
