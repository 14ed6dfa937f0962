"""Inpainting: filling of strokes, boxes or a central hole (Pathak 2016, 1604.07379).

    python -m experiments.main --config=configs/inpaint.py
    python -m experiments.main --config=configs/inpaint.py --config.degrade.mask.kind=center
    python -m experiments.translate --run=RUN --input=torn.png --mask=holes.png --out=whole/

The loss is that of the holes, and known pixels are copied exactly. A U-Net of 32 features receives
the image with grey holes, and their mask.

800 steps on 200 photographs (BSDS500, ``--config.data.name=folder``) in 3 minutes on one CPU core,
holes of 10 to 30 % of tiles of 100 other photographs: 30.2 dB, damaged 20.2.
Textures are continued, large holes are blurred.
"""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = denoise.photographs(arg)
    c.variant = "inpaint"
    c.degrade.name = "mask"
    c.degrade.mask.update(kind="strokes", fraction=(0.1, 0.3), count=4)
    c.game.paired.update(pixel="l1", conditional=False, known_weight=0.1)
    c.generator.unet.update(levels=4, output="tanh", normalization="none")
    return base.finish(c, arg, photos)


def photos(c: ConfigDict) -> None:
    """Set what differs on tiles of scikit-learn's two photographs."""
    denoise.photos(c)
    c.game.paired.known_weight = 0.0
