"""StyleGAN: styles by adaptive instance normalization, grown from 4x4 (Karras 2018, 1812.04948).

    python -m experiments.main --config=configs/stylegan1.py
    python -m experiments.main --config=configs/stylegan1.py:folder --config.data.path=DIR
    python -m experiments.sample --run=RUN --truncation=1,0.7,0.5

The latent is mapped to a style, which gives every channel of every layer its scale and bias; styles
of two latents are mixed in training. The discriminator is that of ProGAN, and both networks grow
as its networks do. ``--truncation`` is psi, the distance of styles from their mean relative to that
of untruncated ones.

The default trains on scikit-learn's digits at 16x16 (classifier-FID 0.98 ± 0.09 over three seeds;
with a rate of 2.5e-3 and R1 of weight 0.1 it is 1.64).

The other data sets have the paper's settings for FFHQ: the non-saturating loss with R1 of weight
10, Adam(0, 0.99) at 1e-3, 600,000 images for every stage and every fade, 25 million in all, and an
average with a half-life of 10,000 images. The paper begins at 8x8, its batches are of 32 images at
128x128, and its rate grows to 3e-3 at 1024x1024; its discriminator blurs before it halves maps.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = c.generator.name = "stylegan1"
    c.discriminator.name = "progan"
    c.game.name = "progressive"
    c.game.joint_batch = True
    c.game.progressive.update(stable_images=600_000, fade_images=600_000)
    c.loss.name = "non_saturating"
    c.penalty.update(name="r1", weight=10.0)
    c.generator.latent_dim = 512
    base.adam(c, 1e-3, 0.0, 0.99)
    base.long(c, steps=780_000, batch_size=32)
    c.ema.half_life = 10_000.0
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 64
    c.generator.stylegan1.update(style_dim=64, mapping_layers=2, mixing=0.0)
    c.generator.stylegan1.update(features=4, max_features=64)
    c.discriminator.progan.update(features=4, max_features=64)
    c.game.progressive.update(stable_images=16_000, fade_images=16_000)
    c.penalty.update(weight=1.0, every=8)
    base.learning_rate(c, 1e-2)
    base.schedule(c, "linear")
    base.short(c, steps=5000, every=500, batch_size=32)
    c.ema.half_life = 10_000.0
