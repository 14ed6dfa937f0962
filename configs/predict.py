"""Video prediction: next frames by a gradient difference loss (Mathieu 2015, 1511.05440).

    python -m experiments.main --config=configs/predict.py
    python -m experiments.main --config=configs/predict.py:videos --config.data.path=DIR

The generator is given the first four frames of a video (``degrade.freeze.context``) and makes all
others at once, as a residual that is added to the last given frame. It learns from the L1 distance
of pixels, the difference of gradients, and a discriminator that sees the whole video. The weights
of the three are the paper's. The paper's networks have four scales, those here one; Adam replaces
SGD.

The default trains on synthetic videos of a shape that bounces off the borders of the picture, four
of whose eight frames are predicted. Videos of a folder have 16 frames, of which twelve are
predicted; this has not been run to its end.

2,000 steps, 3.2 minutes on one CPU core: of 500 videos of the test split, PSNR is 24.2 dB in the
first predicted frame and 19.7 dB in the last (three seeds); of copies of the last given frame 15.0
and 9.7 dB. The adversarial term hardly changes the mean (``game.paired.adversarial_weight=0.0``).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.VIDEO)
    c.variant = "predict"
    c.game.name = "paired"
    c.game.paired.update(pixel="l1", pixel_weight=1.0, gradient_weight=1.0)
    c.game.paired.update(adversarial_weight=0.05, conditional=False)
    c.degrade.name = "freeze"
    c.generator.name = "unet"
    c.generator.unet.update(levels=4, features=64, stem=64, normalization="none", output="residual")
    c.discriminator.name = "dcgan"
    c.loss.name = "non_saturating"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=32)
    c.sample.num = 6
    c.eval.num_real = 500
    return base.finish(c, arg, bouncing)


def bouncing(c: ConfigDict) -> None:
    """Set what differs on synthetic videos."""
    c.generator.unet.update(levels=3, max_features=128)
    c.discriminator.dcgan.update(features=32, normalization="none")
    base.adam(c, 1e-3, 0.5, 0.999)
    c.optimizer.generator.schedule.name = "cosine"
    base.short(c, steps=2000, every=1000, batch_size=32)
    c.eval.split = "test"
