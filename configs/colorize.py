"""Colourization: colours for grey photographs, added to their luminance.

    python -m experiments.main --config=configs/colorize.py
    python -m experiments.main --config=configs/colorize.py:tiles --config.data.path=photographs/
    python -m experiments.translate --run=RUN --input=old.jpg --out=coloured/

A U-Net of 32 features adds to the grey image; L1, and a conditional game against patches, as in
pix2pix (Isola 2016, 1611.07004; `configs/pix2pix.py` has its own settings).

800 steps on 200 photographs (BSDS500, ``--config.data.name=folder``) in 3 minutes on one CPU core:
25.2 dB on tiles of 100 other photographs, grey ones 23.1. The colours are muted: plants are green,
other textures brown, skies pale; photographs of other kinds become sepia.
"""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = denoise.photographs(arg)
    c.variant = "colorize"
    c.degrade.name = "grey"
    c.game.paired.pixel = "l1"
    c.generator.unet.update(levels=4, output="residual", normalization="instance")
    return base.finish(c, arg, denoise.photos)
