"""DCGAN: strided convolutions and batch normalization (Radford 2015, 1511.06434).

    python -m experiments.main --config=configs/dcgan.py
    python -m experiments.main --config=configs/dcgan.py:cifar10

The default trains on scikit-learn's digits at 16x16. The other data sets have the paper's settings:
batch 128, Adam(0.5, 0.999) at 2e-4, weights from N(0, 0.02).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "dcgan"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "dcgan"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=50_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    base.short(c, steps=1000, every=250)
