"""Class-conditional games make what they are asked for, as the nearest images of the data judge."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gan_jax.data import sources
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from tests.configs import variants


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "steps"), [("cgan", 150), ("acgan", 150), ("sngan_projection", 200)]
)
def test_samples_are_taken_for_the_class_asked_for(name, steps, tmp_path):
    config = variants.load(name)
    config.num_devices = 1
    config.train.update(steps=steps, log_every=50, sample_every=steps, checkpoint_every=steps)
    config.eval.every = 0
    for network in (config.generator, config.discriminator):
        network.dcgan.features = 16
    config.generator.resnet.features = config.discriminator.resnet.features
    loop.train(config, tmp_path)
    samples = open_run(tmp_path).sample(200).reshape(200, -1).astype(np.float32)
    real = sources.make_source(config.data).arrays
    nearest = cdist(samples, real["image"].reshape(-1, samples.shape[1])).argmin(axis=1)
    # Sample i is of class i modulo 10; by chance a tenth agrees.
    assert np.mean(real["label"][nearest] == np.arange(200) % 10) > 0.4
