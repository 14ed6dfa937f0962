"""SAGAN: self-attention, and spectral normalization of both networks (Zhang 2018, 1805.08318).

    python -m experiments.main --config=configs/sagan.py
    python -m experiments.main --config=configs/sagan.py:cifar10
    python -m experiments.sample --run=RUN --label=7

SNGAN projection with a self-attention layer in each network, spectral normalization of the
generator too, and a rate of the discriminator that is four times the generator's in place of
several steps.

The default trains on scikit-learn's digits at 16x16 (classifier-FID 1.04 ± 0.06 over three seeds;
real digits: 0.78); 99.5 % of its samples are classified as requested. It has the penalty R1 besides
spectral normalization: with it, runs are slower at first, and can be longer. With a weight of 1 the
classifier-FID is 1.22 ± 0.13. A generator as fast as the discriminator loses the variety within a
class with the penalty, too.

The other data sets have SNGAN's networks for CIFAR-10, with attention at 16x16, and the paper's
settings for ImageNet: hinge loss, batch 256, a million steps of both networks, Adam(0, 0.9) at 1e-4
for the generator and 4e-4 for the discriminator.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "sagan"
    c.game.joint_batch = True
    c.loss.name = "hinge"
    c.generator.name = c.discriminator.name = "resnet"
    c.generator.conditioning = "batch_norm"
    c.discriminator.conditioning = "projection"
    c.generator.latent_dim = 128
    c.generator.resnet.update(features=256, spectral=True, attention=16)
    c.discriminator.resnet.update(features=128, normalization="spectral", pooling="sum")
    c.discriminator.resnet.attention = 16
    base.adam(c, 1e-4, 0.0, 0.9)
    c.optimizer.discriminator.learning_rate = 4e-4
    base.long(c, steps=1_000_000, batch_size=256)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 64
    for network in (c.generator, c.discriminator):
        network.resnet.update(features=32, attention=8)
    c.optimizer.generator.learning_rate = 2.5e-4
    c.optimizer.discriminator.learning_rate = 1e-3
    # Without it the variety within a class shrinks again in runs of this length.
    c.penalty.update(name="r1", weight=3.0)
    base.short(c, steps=2000, every=500)
