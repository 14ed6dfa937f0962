"""LSGAN: least squares between scores and labels (Mao 2016, 1611.04076).

    python -m experiments.main --config=configs/lsgan.py
    python -m experiments.main --config=configs/lsgan.py:cifar10

Against DCGAN the loss differs: fakes that are taken for real, but lie far from the real ones'
score, still have a gradient. The labels are 0 for fakes and 1 for real images and for what the
generator wants (the paper's second choice); its first, which makes the generator minimise the
Pearson chi-squared divergence, is ``--config.loss.least_squares.a=-1
--config.loss.least_squares.c=0``.

The default trains on scikit-learn's digits at 16x16 in 1 to 1.5 minutes on two CPU cores, and ends
at classifier-FID 3.3 ± 0.1, precision 0.28 ± 0.01, recall 0.95 ± 0.01 (mean and standard deviation
of seeds 0, 1, 2; real digits in the same table: 0.78, 0.89, 0.87). Its rate is the paper's 1e-3.

The other data sets have batch 64, DCGAN's networks of 64 features, Adam(0.5, 0.999) at 2e-4, and as
many images as `dcgan.py` sees. The paper's 1e-3 is for its scenes, whose generator is deeper; 2e-4
is what the authors' programs take for characters and for DCGAN's networks.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "lsgan"
    c.loss.name = "least_squares"
    c.generator.name = c.discriminator.name = "dcgan"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    base.learning_rate(c, 1e-3)
    base.average(c)
    base.short(c, steps=2000, batch_size=64, log_every=50, every=500, checkpoint_every=500)
