"""FastGAN: light networks for a hundred to a few thousand images (Liu 2021, 2101.04775).

    python -m experiments.main --config=configs/fastgan.py
    python -m experiments.main --config=configs/fastgan.py:folder --config.data.path=DIR

One convolution per resolution, channels of fine maps scaled by coarse ones, a discriminator that
also reconstructs the real images from its features, and differentiable augmentation. The paper's
batch of 8 and rate 2e-4 are used for 50,000 steps; its images have 256x256 and 1024x1024 pixels
(``--config.data.resolution=256``).

Not as in the paper's released program: reconstructions are compared by their mean absolute error,
not by the features of a pretrained network, and the discriminator has no second track for small
images.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "fastgan"
    c.loss.name = "hinge"
    c.terms.self_supervision.weight = 1.0
    c.augment.diffaug.policy = ("color", "translation")
    c.generator.name = c.discriminator.name = "fastgan"
    c.generator.latent_dim = 256
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=50_000, batch_size=8)
    c.ema.half_life = 5545.0
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 64
    c.generator.fastgan.features = 8
    c.discriminator.fastgan.update(features=8, decoder_features=4)
    c.augment.diffaug.policy = ("translation",)
    base.learning_rate(c, 1e-3)
    base.short(c, steps=3000, every=500, batch_size=32)
