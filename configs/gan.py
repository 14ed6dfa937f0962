"""GAN: the original game between two MLPs (Goodfellow 2014, 1406.2661).

    python -m experiments.main --config=configs/gan.py
    python -m experiments.main --config=configs/gan.py:mnist
    python -m experiments.main --config=configs/gan.py --config.loss.name=minimax

The generator's loss is the non-saturating one of the paper's experiments; ``minimax`` is the
saturating one of its theory.

The default trains on scikit-learn's digits at 16x16 in 0.9 minutes on two CPU cores
(classifier-FID 3.0). Its networks, narrow in the discriminator, and momentum, none, are the best
of the runs that `sweep` defines, see docs/results.md: with others the digits became sharper, but
soon less varied.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "gan"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "mlp"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=50_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 32
    c.generator.mlp.features = (512, 1024)
    c.discriminator.mlp.features = (512, 256)
    base.adam(c, 2e-4, 0.0, 0.999)
    base.schedule(c, "linear")
    base.short(c, steps=3000, every=1000, batch_size=128, log_every=100, checkpoint_every=1000)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: sizes of the networks, momentum, and means against collapse."""
    momentum = ("optimizer.generator.adam.b1", "optimizer.discriminator.adam.b1")
    half = dict.fromkeys(momentum, 0.5)
    wide = {
        "generator.latent_dim": 100,
        "generator.mlp.features": (256, 512, 1024),
        "discriminator.mlp.features": (1024, 512, 256),
        "train.steps": 4000,
    }
    add(**wide, **half)
    add(**{**wide, "generator.latent_dim": 32}, **half, **{"loss.non_saturating.smoothing": 0.1})
    add(**wide, **half, **{"augment.noise.deviation": 0.3, "augment.noise.steps": 4000})
    add(**{**wide, "generator.latent_dim": 32})
    add(**half, **{"train.steps": 4000})
    rates = ("optimizer.generator.learning_rate", "optimizer.discriminator.learning_rate")
    narrow = {"discriminator.mlp.features": (256, 256), "train.steps": 4000}
    add(**half, **dict.fromkeys(rates, 5e-4), **narrow)
    add()
    add(**dict(zip(rates, (4e-4, 1e-4), strict=True)))
    add(**{"discriminator.mlp.features": (256, 128)})
