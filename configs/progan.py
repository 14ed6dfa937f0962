"""ProGAN: networks that grow from 4x4 pixels to the image (Karras 2017, 1710.10196).

    python -m experiments.main --config=configs/progan.py
    python -m experiments.main --config=configs/progan.py:folder --config.data.path=DIR

The hierarchical GAN beside LAPGAN, whose levels are networks of their own. A stage makes images of
twice the size of the one before; its layers are faded in, in both networks and in the real images,
while the stages before go on learning. Low stages cost little. Samples of a checkpoint are of its
stage, enlarged to the full size.

The default trains on scikit-learn's digits at 16x16 (classifier-FID 1.85 of seed 0, over the 1,500
images that it was trained on): 500 steps for 4x4, for 8x8 and for each fade, then 2,000 for 16x16.

The other data sets have the paper's settings: WGAN-GP with one discriminator step and a drift term
of 0.001, Adam(0, 0.99) at 1e-3, 600,000 images for every stage and every fade, 12 million in all.
The paper's batches are of 16 to 64 images, its rate grows to 3e-3 above 512x512.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = c.generator.name = c.discriminator.name = "progan"
    c.game.name = "progressive"
    c.game.joint_batch = True
    c.game.progressive.update(stable_images=600_000, fade_images=600_000)
    c.loss.name = "wasserstein"
    c.penalty.update(name="wgan_gp", weight=10.0)
    c.terms.drift.weight = 1e-3
    c.generator.latent_dim = 512
    base.adam(c, 1e-3, 0.0, 0.99)
    base.long(c, steps=187_500, batch_size=64)
    # 0.999 per step of 64 images.
    c.ema.half_life = 64 * 693.0
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 64
    for network in (c.generator, c.discriminator):
        network.progan.update(features=4, max_features=64)
    c.game.progressive.update(stable_images=16_000, fade_images=16_000)
    base.learning_rate(c, 3e-3)
    base.short(c, steps=4000, every=500, batch_size=32)
