"""WGAN: a Wasserstein critic with clipped weights (Arjovsky 2017, 1701.07875).

    python -m experiments.main --config=configs/wgan.py
    python -m experiments.main --config=configs/wgan.py:cifar10

After each of its five steps all the critic's parameters are clipped to [-0.01, 0.01], which bounds
its slope only roughly; `wgan_gp.py` is the successor. RMSprop, because the paper found momentum
unstable here.

The default trains on scikit-learn's digits at 16x16 in 1.6 minutes on two CPU cores
(classifier-FID 3.3), with two critic steps instead of five: the best of the runs that `sweep`
defines, see docs/results.md.

The other data sets have the paper's settings: RMSprop at 5e-5, batch 64, DCGAN's networks of 64
features, but not the 100 critic steps that the authors' program makes for one of the generator at
the start and at every 500th step.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "wgan"
    c.game.discriminator_steps = 5
    c.game.clip = 0.01
    c.loss.name = "wasserstein"
    c.generator.name = c.discriminator.name = "dcgan"
    for optimizer in c.optimizer.values():
        optimizer.update(name="rmsprop", learning_rate=5e-5)
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 32
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    c.game.discriminator_steps = 2
    base.learning_rate(c, 1e-3)
    base.schedule(c, "linear")
    base.short(c, steps=4000, every=1000, log_every=100, checkpoint_every=1000)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: rates, bounds of the weights, and critic steps."""
    rates = ("optimizer.generator.learning_rate", "optimizer.discriminator.learning_rate")
    five = {"game.discriminator_steps": 5, "generator.latent_dim": 100, "train.steps": 1600}
    add(**five, **dict.fromkeys(rates, 5e-4))
    add(**five)
    add(**five, **{"game.clip": 0.03})
    add()
    add(**{"game.clip": 0.03})
    add(**dict.fromkeys(rates, 5e-4), **{"discriminator.dcgan.normalization": "layer"})
