"""Conditional GAN: both networks receive the class (Mirza 2014, 1411.1784).

    python -m experiments.main --config=configs/cgan.py
    python -m experiments.main --config=configs/cgan.py:mnist
    python -m experiments.sample --run=RUN --label=7

The class is a one-hot vector appended to the latent, and one plane per class appended to the image.
In the generator's turn classes are drawn from the distribution of the data.

The default trains on scikit-learn's digits at 16x16 in a minute on two CPU cores (classifier-FID
1.02); 98.4 % of its samples are classified as requested.

The other data sets have DCGAN's settings; the paper has an MLP with maxout layers and dropout.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "cgan"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "dcgan"
    c.generator.conditioning = c.discriminator.conditioning = "concat"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=50_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    base.learning_rate(c, 1e-3)
    base.short(c, steps=1500, every=250)
