"""Samples of sound are measured by their pitch and by a classifier of pictures of stored sound."""

import jax
import numpy as np
import pytest

from gan_jax.data.sources import make_source
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.runs import build
from gan_jax.training import sampling
from tests.configs import variants
from tests.evaluation.short_runs import shorten_classifier


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavegan", pytest.param("specgan", marks=pytest.mark.exhaustive)])
def test_sounds_are_measured(name, tmp_path, monkeypatch):
    shorten_classifier(monkeypatch, tmp_path, 20)
    config = variants.load(name, "smoke")
    config.num_devices, config.data.toy_size = 1, 200
    config.generator.conditioning = config.discriminator.conditioning = "concat"
    source = make_source(config.data)
    training = build.make_training(config, source.spec)
    how = sampling.make_sampling(config)
    made = evaluators.make_evaluator(
        config,
        make_settings(config),
        game=training.game,
        source=source,
        devices=jax.devices()[:1],
        sampling=how,
        data=source.arrays,
    )
    result = made(variables := sampling.chosen_variables(training.init_state(), how))
    compared = {f"classifier_{name}" for name in ("fid", "precision", "recall", "accuracy")}
    assert {"pitch_accuracy", "classifier_is", *compared} <= set(result.values)
    assert np.isfinite(list(result.values.values())).all()
    assert result.protocol["extractors"]["classifier"]["input"].startswith("log-mel: 32 bands")
    columns, note = made.reference(variables)
    generated, real = (dict(values) for _, values, _ in columns)
    assert real["pitch_accuracy"] == 1.0
    assert generated["pitch_accuracy"] < 0.7
    assert "others of tones" in note
