"""pix2pix: translation of paired images, L1 and a conditional game (Isola 2016, 1611.07004).

    python -m experiments.main --config=configs/pix2pix.py
    python -m experiments.main --config=configs/pix2pix.py:folder --config.data.path=facades.zip

``:folder`` reads images that have A to the left and B to the right (``trainA`` and so on: set
``--config.data.pairing=twins``), and translates A to B.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "pix2pix"
    c.game.name = "paired"
    c.game.paired.update(pixel="l1", pixel_weight=100.0, discriminator_weight=0.5)
    c.degrade.name = "grey"
    c.generator.name = "unet"
    c.generator.unet.update(levels=4, features=32, dropout_levels=1)
    c.discriminator.name = "patchgan"
    c.discriminator.patchgan.update(features=32, layers=2)
    for network in ("generator", "discriminator"):
        c.optimizer[network] = base.adam(2e-4, 0.5, 0.999)
    c.train.update(steps=1000, batch_size=4, log_every=50, sample_every=250, checkpoint_every=500)
    c.sample.num = 8
    c.eval.update(every=250, num_real=64)
    return base.select(c, arg, paper, base.TRANSLATION)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings, for 256x256."""
    c.degrade.name = "none"
    c.data.update(pairing="side_by_side", resolution=286, crop=256)
    c.generator.unet.update(levels=8, features=64, dropout_levels=3)
    c.discriminator.patchgan.update(features=64, layers=3)
    base.full_length(c, steps=80_000, batch_size=1)
    c.sample.num = 8
    c.eval.num_real = 200
