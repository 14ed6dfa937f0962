"""R1: a gradient penalty on the discriminator at real images (Mescheder 2018, 1801.04406).

    python -m experiments.main --config=configs/r1_gan.py
    python -m experiments.main --config=configs/r1_gan.py:cifar10

Compared with DCGAN: the loss has the term ``gamma / 2 * ||grad D(x)||^2`` at real images, and the
discriminator no batch-norm. The gradient is pulled to 0, not to 1 as in WGAN-GP and DRAGAN.
``--config.penalty.every=16`` computes the penalty at every 16th step.

The default trains on scikit-learn's digits at 16x16, with gamma 1, in 1.3 minutes on two CPU cores
(classifier-FID 3.3).

The other data sets have the paper's gamma 10, RMSprop at 1e-4, batch 64, latents of size 256 and
moving average (0.999 a step). The networks are WGAN-GP's ResNets of 128 features, whose generator,
unlike the paper's for 128x128 and more, has batch-norm.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "r1_gan"
    c.game.joint_batch = True
    c.loss.name = "non_saturating"
    c.penalty.name = "r1"
    c.penalty.weight = 10.0
    c.generator.name = c.discriminator.name = "resnet"
    c.generator.latent_dim = 256
    for optimizer in c.optimizer.values():
        optimizer.update(name="rmsprop", learning_rate=1e-4)
    c.ema.half_life = 44_340.0  # In images: a decay of 0.999 for each batch of 64.
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.penalty.weight = 1.0
    c.generator.name = c.discriminator.name = "dcgan"
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    c.discriminator.dcgan.normalization = "none"
    c.generator.latent_dim = 100
    base.adam(c, 5e-4, 0.5, 0.999)
    base.short(c, steps=2000, every=500)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: gamma; ``--seeds=3`` repeats each with three seeds."""
    for gamma in (0.1, 1.0, 10.0, 100.0):
        add(**{"penalty.weight": gamma})
