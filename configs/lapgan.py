"""LAPGAN: a GAN per level of a Laplacian pyramid, sampled coarse to fine (Denton 2015, 1506.05751).

python -m experiments.main --config=configs/lapgan.py
python -m experiments.main --config=configs/lapgan.py:cifar10
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "lapgan"
    c.game.name = "laplacian"
    c.game.laplacian.coarsest = 4
    c.game.laplacian.generator.features = c.game.laplacian.discriminator.features = 32
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "mlp"
    c.generator.mlp.features = (512, 512)
    c.discriminator.mlp.features = (256, 256)
    for optimizer in (c.optimizer.generator, c.optimizer.discriminator):
        optimizer.learning_rate = 5e-4
    c.ema.half_life = 20_000.0
    c.ema.ramp_up = 0.1
    c.train.update(steps=2000, batch_size=64, log_every=50, sample_every=500, checkpoint_every=500)
    c.eval.update(every=500, num_fake=1500)
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    base.full_length(c, steps=100_000, batch_size=128)
