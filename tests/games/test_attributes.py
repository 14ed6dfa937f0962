"""Games whose networks see vectors of attributes."""

import numpy as np
import pytest

from gan_jax.data import attributes
from gan_jax.data import spec as specs
from gan_jax.data.sources.base import ArraySource
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import Settings
from gan_jax.runs import build
from tests.games import stub
from tests.training import tiny

VECTORS = np.array([[-1.0, 10.0], [1.0, 30.0], [1.0, 20.0], [-1.0, 20.0]], np.float32)
SPEC = specs.points() | {"label": attributes.field(("smiling", "age"), VECTORS, VECTORS)}


def configuration():
    config = tiny.point_config()
    config.generator.conditioning = config.discriminator.conditioning = "concat"
    return config


@pytest.mark.slow
def test_a_step_depends_on_the_attributes(monkeypatch):
    config = configuration()
    config.num_devices, config.fakes.history = 1, 8
    monkeypatch.setattr(tiny, "spec", lambda config: SPEC)
    training = build.make_training(config, SPEC)
    params = training.abstract_state.networks["generator"].params
    assert params["Dense_0"]["kernel"].shape == (2 + 2, 16)

    def trained(shift):
        data = {
            "points": np.zeros((64, 2), np.float32),
            "label": np.tile(VECTORS + shift, (16, 1)),
        }
        monkeypatch.setattr(tiny, "data", lambda config: data)
        return tiny.run(config, 1, training)[0].networks["generator"].params

    same, other = trained(0.0), trained(np.array([0.0, 5.0], np.float32))
    assert not np.array_equal(same["Dense_0"]["kernel"], other["Dense_0"]["kernel"])


def test_nothing_is_measured_by_default_and_one_line_says_why():
    source = ArraySource("faces", "train", {"points": VECTORS, "label": VECTORS}, SPEC)
    game = build.make_game(configuration(), SPEC, None)
    found = evaluators.choose(configuration(), Settings(every=1), game, source)
    assert found.metrics == []
    assert found.reason == "faces has attributes, and no classes to train a classifier with"


def test_classification_needs_classes():
    message = stub.refusal(tiny.auxiliary_config(), SPEC)
    assert "terms.classification needs classes, but the data have the attributes smiling" in message
