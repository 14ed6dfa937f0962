"""Deblurring of photographs: Gaussian and motion blur, with a little noise."""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = denoise.settings()
    c.variant = "deblur"
    c.degrade.name = "blur"
    c.degrade.blur.update(sigma=(0.8, 1.6), motion=(0.0, 9.0), noise=(2.0, 2.0))
    return base.select(c, arg, denoise.paper, base.RESTORATION)
