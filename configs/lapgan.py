"""LAPGAN: a GAN per level of a Laplacian pyramid, sampled coarse to fine (Denton 2015, 1506.05751).

    python -m experiments.main --config=configs/lapgan.py
    python -m experiments.main --config=configs/lapgan.py:cifar10

The coarsest level, of resolution ``game.laplacian.coarsest``, is an ordinary GAN of the networks
that ``generator`` and ``discriminator`` name. Each finer one makes the residual that a blurred
image lacks, up to the resolution of the data. All levels train in one run, on the same batches; a
level sees the real blurred images while it trains, and those generated so far when it samples.

The default trains on scikit-learn's digits, at 8x8 and 16x16, in 3.8 minutes on two CPU cores
(classifier-FID 4.3).

The other data sets have the paper's settings for CIFAR-10: MLPs of two layers of 1200 and 600 units
at 8x8, then 16x16 and 32x32 (the paper: 14x14 and 28x28) with three convolutions in the generator
and two in the discriminator, and SGD at 0.02 with momentum 0.5, which the paper raises to 0.8
during training; the paper's coarsest discriminator has dropout. They have not been trained here.
"""

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
    base.adam(c, 2e-4, 0.5, 0.999)
    base.short(c, steps=2000, every=500)
