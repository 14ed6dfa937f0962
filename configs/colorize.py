"""Colourisation of photographs: colours of an image of which the luminance is known."""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = denoise.settings()
    c.variant = "colorize"
    c.degrade.name = "grey"
    c.game.paired.update(pixel="l1")
    c.generator.unet.update(levels=4, output="residual", normalization="instance")
    return base.select(c, arg, denoise.paper, base.RESTORATION)
