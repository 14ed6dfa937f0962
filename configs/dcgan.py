"""DCGAN: strided convolutions and batch normalization (Radford 2015, 1511.06434).

    python -m experiments.main --config=configs/dcgan.py
    python -m experiments.main --config=configs/dcgan.py:cifar10

The default trains on scikit-learn's digits at 16x16. The other data sets have the paper's
settings: batch 128, Adam(0.5, 0.999)
at 2e-4, weights from N(0, 0.02).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "dcgan"
    c.loss.name = "non_saturating"
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
    c.ema.half_life = 0.0
    base.full_length(c, steps=50_000, batch_size=128)
