"""LSGAN: a discriminator that regresses its scores to labels (Mao 2016, 1611.04076).

    python -m experiments.main --config=configs/lsgan.py
    python -m experiments.main --config=configs/lsgan.py:cifar10
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "lsgan"
    c.loss.name = "least_squares"
    c.generator.name = c.discriminator.name = "dcgan"
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    c.ema.half_life = 20_000.0
    c.ema.ramp_up = 0.1
    c.train.update(steps=1000, batch_size=64, log_every=50, sample_every=250, checkpoint_every=500)
    c.eval.update(every=250, num_fake=1500)
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 64
    for optimizer in (c.optimizer.generator, c.optimizer.discriminator):
        optimizer.learning_rate = 1e-3
    c.ema.half_life = 0.0
    c.train.update(
        steps=50_000,
        batch_size=64,
        steps_per_call=20,
        log_every=100,
        sample_every=1000,
        checkpoint_every=5000,
    )
    c.eval.update(every=5000, num_fake=10_000)
