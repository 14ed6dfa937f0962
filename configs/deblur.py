"""Deblurring: restoration of photographs with Gaussian or motion blur and noise.

    python -m experiments.main --config=configs/deblur.py
    python -m experiments.main --config=configs/deblur.py:tiles --config.data.path=photographs/

The game and the networks are those of `configs/denoise.py`. `config.degrade.blur` has the range of
Gaussian widths, of lengths of a straight motion at a random angle, and of the noise.
"""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = denoise.photographs(arg)
    c.variant = "deblur"
    c.degrade.name = "blur"
    c.degrade.blur.update(sigma=(0.8, 1.6), motion=(0.0, 9.0), noise=(2.0, 2.0))
    return base.finish(c, arg, denoise.photos)
