"""DRAGAN: a gradient penalty around the real images (Kodali 2017, 1705.07215).

    python -m experiments.main --config=configs/dragan.py
    python -m experiments.main --config=configs/dragan.py:cifar10

Compared with DCGAN: the penalty of WGAN-GP, but on real images with noise added, where it needs no
fakes; no batch-norm in the discriminator, whose score of an image must not depend on the others.

The default trains on scikit-learn's digits at 16x16 in 1.5 minutes on two CPU cores
(classifier-FID 3.0).

The other data sets have the paper's weight 10 and batch 64, and as many images as `dcgan.py`.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "dragan"
    c.game.joint_batch = True
    c.loss.name = "non_saturating"
    c.penalty.name = "dragan"
    c.penalty.weight = 10.0
    c.generator.name = c.discriminator.name = "dcgan"
    c.discriminator.dcgan.normalization = "none"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    # At DCGAN's 2e-4 all samples have the same shape even after 1,000 steps.
    base.learning_rate(c, 1e-3)
    base.short(c, steps=2000, every=500)
