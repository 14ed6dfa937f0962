"""DF-GAN: text to image, by a discriminator that knows captions (Tao 2020, 2008.05865).

    python -m experiments.main --config=configs/text_to_image.py
    python -m experiments.main --config=configs/text_to_image.py:folder --config.data.path=DIR
    python -m experiments.sample --run=RUN --text="a small red cross left"

Every block of the generator scales and shifts its channels by the caption. The discriminator also
rejects real images with captions of others, and its gradient with respect to real images and their
captions is penalized.

Not as in the paper: sentence vectors are learned by each network and not by a pretrained one, and
residuals of the discriminator have no factor that begins at 0.

A folder of images is brought to 64x64 pixels in colour, unless ``data.resolution`` and
``data.channels`` are set, and has captions as docs/data.md describes.

The default trains on synthetic pictures of shapes, in five minutes on two CPU cores: 99.9 % of the
attributes are as asked, see docs/results.md.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.CAPTIONED)
    c.variant = "text_to_image"
    if c.data.name == "folder":
        c.data.update(name="captioned", resolution=64, channels=3)
    c.loss.name = "hinge"
    c.terms.matching.update(weight=1.0, mismatched=0.5, penalty=2.0, power=6.0)
    c.generator.name = c.discriminator.name = "dfgan"
    c.generator.conditioning = c.discriminator.conditioning = "text"
    c.generator.latent_dim = 100
    base.adam(c, 1e-4, 0.0, 0.9, "generator")
    base.adam(c, 4e-4, 0.0, 0.9, "discriminator")
    base.long(c, steps=220_000, batch_size=24)
    return base.finish(c, arg, shapes)


def shapes(c: ConfigDict) -> None:
    """Set what differs on synthetic pictures of shapes."""
    c.generator.latent_dim = 16
    c.generator.dfgan.update(features=4, sentence_dim=32)
    c.discriminator.dfgan.update(features=4, sentence_dim=32)
    base.learning_rate(c, 4e-4)
    c.optimizer.discriminator.learning_rate = 1e-3
    base.short(c, steps=7000, every=1000, batch_size=32, log_every=100, checkpoint_every=1000)
