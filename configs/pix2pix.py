"""pix2pix: translation of paired images, by L1 and a conditional game (Isola 2016, 1611.07004).

    python -m experiments.main --config=configs/pix2pix.py
    python -m experiments.main --config=configs/pix2pix.py:folder --config.data.path=facades.zip

``:folder`` reads images with A on the left and B on the right, and translates A to B; with
``--config.data.a=B`` it translates B to A. For folders ``trainA``, ``trainB`` and so on set
``--config.data.pairing=twins``.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.TRANSLATION)
    c.variant = "pix2pix"
    c.game.name = "paired"
    c.game.paired.update(pixel="l1", pixel_weight=100.0, discriminator_weight=0.5)
    c.data.update(pairing="side_by_side", resolution=286, crop=256)
    c.generator.name = "unet"
    c.generator.unet.update(levels=8, features=64, dropout_levels=3)
    c.discriminator.name = "patchgan"
    c.discriminator.patchgan.update(features=64, layers=3)
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=80_000, batch_size=1)
    c.sample.num = 8
    c.eval.num_real = 200
    return base.finish(c, arg, photos)


def photos(c: ConfigDict) -> None:
    """Set what differs on tiles of scikit-learn's two photographs, which are made grey."""
    c.data.update(pairing="none", resolution=96, crop=64)
    c.degrade.name = "grey"
    c.generator.unet.update(levels=4, features=32, dropout_levels=1)
    c.discriminator.patchgan.update(features=32, layers=2)
    # At the paper's rate a copy of the grey image is nearer to the coloured one than the output.
    c.optimizer.generator.learning_rate = 1e-3
    base.schedule(c, "linear")
    base.short(c, steps=2500, every=500, batch_size=4, average=False)
    c.eval.num_real = 64
