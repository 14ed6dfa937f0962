"""DCGAN: strided convolutions and batch normalization (Radford 2015, 1511.06434).

    python -m experiments.main --config=configs/dcgan.py
    python -m experiments.main --config=configs/dcgan.py:cifar10

The default trains on scikit-learn's digits at 16x16 in 1.1 minutes on two CPU cores (classifier-FID
3.6). Its rate and schedule are the best of the runs that `sweep` defines, see docs/results.md.

The other data sets have the paper's settings: batch 128, Adam(0.5, 0.999) at 2e-4, weights from
N(0, 0.02).
"""

from collections.abc import Callable

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
    base.learning_rate(c, 2e-3)
    base.schedule(c, "linear")
    base.short(c, steps=4000, every=1000, log_every=100, checkpoint_every=1000)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: learning rates, with and without a schedule, and small latents."""
    rates = ("optimizer.generator.learning_rate", "optimizer.discriminator.learning_rate")
    for rate in (5e-4, 1e-3, 2e-3):
        add(**dict.fromkeys(rates, rate))
    schedules = ("optimizer.generator.schedule.name", "optimizer.discriminator.schedule.name")
    add(**dict.fromkeys(rates, 1e-3), **dict.fromkeys(schedules, "constant"))
    add(**dict.fromkeys(rates, 1e-3), **{"generator.latent_dim": 32})
    add(**{rates[1]: 1e-3, "generator.latent_dim": 32})
