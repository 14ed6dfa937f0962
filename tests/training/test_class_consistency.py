"""Class-conditional games make what they are asked for, as a classifier of the data judges."""

import pytest

from gan_jax.report import evaluations
from gan_jax.runs import loop
from tests.configs import variants
from tests.evaluation.short_runs import shorten_classifier


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("cgan", 150),
        pytest.param("acgan", 150, marks=pytest.mark.exhaustive),
        pytest.param("sngan_projection", 200, marks=pytest.mark.exhaustive),
    ],
)
def test_samples_are_taken_for_the_class_asked_for(name, steps, tmp_path, monkeypatch):
    shorten_classifier(monkeypatch, tmp_path / "cache", 200)
    config = variants.load(name)
    config.num_devices = 1
    config.train.update(steps=steps, log_every=50, sample_every=steps, checkpoint_every=steps)
    config.eval.update(every=steps, metrics=("classifier_accuracy",), num_fake=500)
    for network in (config.generator, config.discriminator):
        network.dcgan.features = 16
    config.generator.resnet.features = config.discriminator.resnet.features
    loop.train(config, tmp_path / "run")
    (row,) = evaluations.read(tmp_path / "run" / evaluations.EVALUATIONS)
    # By chance: a tenth.
    assert row["classifier_accuracy"] > 0.4
