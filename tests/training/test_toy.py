"""A real training: WGAN-GP finds every mode of a mixture that collapses lesser games."""

import numpy as np

from configs import wgan_gp
from gan_jax.data.sources import make_source
from gan_jax.training import loop, restore, sampling


def test_wgan_gp_covers_all_eight_modes_of_the_ring(tmp_path):
    config = wgan_gp.get_config()
    config.data.name = "ring"
    config.generator.name = config.discriminator.name = "mlp"
    config.generator.latent_dim = 8
    config.generator.mlp.update(features=(64, 64, 64), output="linear")
    config.discriminator.mlp.features = (64, 64, 64)
    config.penalty.weight = 0.1
    for optimizer in (config.optimizer.generator, config.optimizer.discriminator):
        optimizer.learning_rate = 3e-3
        optimizer.schedule.name = "linear"
    config.train.update(
        steps=1500, batch_size=256, log_every=500, sample_every=1500, checkpoint_every=1500
    )
    config.num_devices = 1
    loop.train(config, tmp_path)
    run = restore.load_run(tmp_path)
    points = sampling.sample(run.game, run.state, num=2000, seed=0, batch_size=2000)
    modes = make_source(config.data).modes
    distance = np.linalg.norm(points[:, None] - modes[None], axis=-1)
    near = distance.min(axis=1) < 0.25
    # Evenly spread there would be 250 to a mode.
    counts = np.bincount(distance.argmin(axis=1)[near], minlength=len(modes))
    assert len(modes) == 8
    assert counts.min() > 60, counts
    assert near.mean() > 0.45
