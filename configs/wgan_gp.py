"""WGAN-GP: a Wasserstein critic with a penalty on its gradient norm (Gulrajani 2017, 1704.00028).

    python -m experiments.main --config=configs/wgan_gp.py
    python -m experiments.main --config=configs/wgan_gp.py:cifar10

The default trains on scikit-learn's digits at 16x16 in 3 minutes on two CPU cores
(classifier-FID 1.33). Loss, penalty, Adam's decays and the linear schedule are the paper's; the
networks are DCGAN's, which the paper also trains, with layer normalization in the critic, as it
recommends (section 4). Rates, batch and one critic step are the best of the runs in
docs/results.md.

The other data sets have the paper's settings: ResNet of 128 features, batch 64, 100,000 generator
steps, five critic steps each, Adam(0, 0.9) at 2e-4 with linear decay.
"""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "wgan_gp"
    c.game.discriminator_steps = 5
    c.game.joint_batch = True
    c.loss.name = "wasserstein"
    c.penalty.name = "wgan_gp"
    c.penalty.weight = 10.0
    c.generator.name = c.discriminator.name = "resnet"
    c.generator.latent_dim = 128
    base.adam(c, 2e-4, 0.0, 0.9)
    base.schedule(c, "linear")
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.name = c.discriminator.name = "dcgan"
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    c.discriminator.dcgan.normalization = "layer"
    c.generator.latent_dim = 32
    c.game.discriminator_steps = 1
    base.learning_rate(c, 4e-3)
    c.optimizer.generator.learning_rate = 8e-3
    base.short(c, steps=7800, every=1300, batch_size=32, log_every=100, checkpoint_every=1300)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: the penalty's weight, two seeds each."""
    for weight in (1.0, 10.0, 100.0):
        for seed in (0, 1):
            add(**{"penalty.weight": weight, "train.seed": seed})


def search(space: Any) -> None:
    """Add the fields that a search varies."""
    space.log_uniform("penalty.weight", 0.1, 100.0)
    space.log_uniform("optimizer.generator.learning_rate", 1e-5, 1e-2)
    space.log_uniform("optimizer.discriminator.learning_rate", 1e-5, 1e-2)
    space.integers("game.discriminator_steps", 1, 5)
