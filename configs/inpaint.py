"""Inpainting of photographs: a hole in the centre, boxes, or free-form strokes."""

from ml_collections import ConfigDict

from configs import base, denoise


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = denoise.settings()
    c.variant = "inpaint"
    c.degrade.name = "mask"
    c.degrade.mask.update(kind="strokes", fraction=(0.1, 0.3), count=4)
    c.game.paired.update(pixel="l1", conditional=False)
    c.generator.unet.update(levels=4, output="tanh", normalization="none")
    return base.select(c, arg, paper, base.RESTORATION)


def paper(c: ConfigDict) -> None:
    """Set the settings for many photographs."""
    denoise.paper(c)
    c.game.paired.known_weight = 0.1
