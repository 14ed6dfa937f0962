"""LAPGAN: a GAN per level of a Laplacian pyramid, sampled coarse to fine (Denton 2015, 1506.05751).

    python -m experiments.main --config=configs/lapgan.py
    python -m experiments.main --config=configs/lapgan.py:cifar10

The coarsest level, of resolution ``game.laplacian.coarsest``, is an ordinary GAN of the networks
that ``generator`` and ``discriminator`` name. Each finer one makes the residual that a blurred
image lacks, up to the resolution of the data. All levels train in one run, on the same batches; a
level sees the real blurred images while it trains, and those generated so far when it samples.

The default trains on scikit-learn's digits, at 8x8 and 16x16, in 2 minutes on two CPU cores
(classifier-FID 3.5): the best of the runs that `sweep` defines, see docs/results.md.

The other data sets have the paper's settings for CIFAR-10: MLPs of two layers of 1200 and 600 units
at 8x8, then 16x16 and 32x32 (the paper: 14x14 and 28x28) with three convolutions in the generator
and two in the discriminator, and SGD at 0.02 with momentum 0.5, which the paper raises to 0.8
during training; the paper's coarsest discriminator has dropout. They have not been trained here.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "lapgan"
    c.game.name = "laplacian"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "mlp"
    c.generator.mlp.features = (1200, 1200)
    c.discriminator.mlp.features = (600, 600)
    for optimizer in c.optimizer.values():
        optimizer.update(name="momentum", learning_rate=0.02)
        optimizer.momentum.momentum = 0.5
    base.long(c, steps=100_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.game.laplacian.generator.features = c.game.laplacian.discriminator.features = 32
    # Against an MLP as the generator the discriminator soon won: loss 0.04 at step 300.
    c.generator.name = "dcgan"
    c.generator.latent_dim = 32
    base.adam(c, 5e-4, 0.0, 0.999)
    base.schedule(c, "linear")
    base.short(c, steps=1500, every=500)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: learning rates, momentum and the number of latents."""
    rates = ("optimizer.generator.learning_rate", "optimizer.discriminator.learning_rate")
    momentum = ("optimizer.generator.adam.b1", "optimizer.discriminator.adam.b1")
    half = dict.fromkeys(momentum, 0.5)
    long = {"generator.latent_dim": 100, "train.steps": 2000, **half}
    add(**long)
    add(**long, **{rates[0]: 1e-3})
    add(**long, **dict.fromkeys(rates, 1e-3))
    add(**half, **dict.fromkeys(rates, 1e-3), **{"train.batch_size": 32, "train.steps": 3000})
    add(**half, **dict.fromkeys(rates, 2e-4))
    add(**half)
    add()
    add(**dict.fromkeys(rates, 2e-4), **{"generator.latent_dim": 16})
