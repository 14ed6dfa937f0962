"""SNGAN: spectral normalization of every layer of the discriminator (Miyato 2018, 1802.05957).

    python -m experiments.main --config=configs/sngan.py
    python -m experiments.main --config=configs/sngan.py:cifar10

Every kernel of the discriminator is divided by its largest singular value, which bounds how much
the scores differ between images without a penalty's cost. ``--config.discriminator.name=dcgan
--config.discriminator.dcgan.normalization=spectral`` is the same for DCGAN's discriminator.

The default trains on scikit-learn's digits at 16x16 in 2.5 minutes on two CPU cores
(classifier-FID 2.0).

The other data sets have the paper's settings for CIFAR-10: hinge loss, ResNet of 256 features in
the generator and 128 in the discriminator, batch 64, 100,000 generator steps, five discriminator
steps each, Adam(0, 0.9) at 2e-4 with linear decay.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    return base.finish(paper(arg), arg, digits)


def paper(arg: str) -> ConfigDict:
    """Return the paper's settings for CIFAR-10."""
    c = base.get_config(arg)
    c.variant = "sngan"
    c.game.discriminator_steps = 5
    c.game.joint_batch = True
    c.loss.name = "hinge"
    c.generator.name = c.discriminator.name = "resnet"
    c.generator.resnet.features = 256
    c.generator.latent_dim = 128
    c.discriminator.resnet.update(features=128, normalization="spectral", pooling="sum")
    base.adam(c, 2e-4, 0.0, 0.9)
    base.schedule(c, "linear")
    base.long(c, steps=100_000, batch_size=64)
    return c


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.game.discriminator_steps = 2
    c.generator.resnet.features = c.discriminator.resnet.features = 32
    c.generator.latent_dim = 64
    # Spectral normalization bounds the scores' gradients, which allows ten times the paper's rate:
    # of 5e-4, 1e-3 and 2e-3 for both networks the largest learns fastest and ends best.
    base.learning_rate(c, 2e-3)
    base.schedule(c, "constant")
    base.short(c, steps=1000, every=250, log_every=20, checkpoint_every=250)
