"""VideoGAN: a moving foreground before a still background (Vondrick 2016, 1609.02612).

    python -m experiments.main --config=configs/videogan.py
    python -m experiments.main --config=configs/videogan.py:videos --config.data.path=DIR
    python -m experiments.sample --run=RUN --num=100 --out=DIR

The settings for a folder of videos are those of the paper, which are DCGAN's: Adam(0.5, 0.999) at
2e-4, batch 64, weights from N(0, 0.02), the loss of the first GAN; but 16 frames instead of 32, and
no penalty on the size of the mask.

The default trains on synthetic videos of a shape that bounces off the borders of the picture, eight
frames of 16x16 pixels, in 3.1 minutes on one CPU core, with the penalty R1, whose weight falls,
instead of batch normalization in the discriminator. The shapes move as they should (0.44 pixels
from a real path), but most are blobs, and every second one changes on its way.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.VIDEO)
    c.variant = c.generator.name = c.discriminator.name = "videogan"
    c.loss.name = "non_saturating"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=64)
    return base.finish(c, arg, bouncing)


def bouncing(c: ConfigDict) -> None:
    """Set what differs on synthetic videos."""
    c.generator.latent_dim = 32
    c.generator.videogan.features = c.discriminator.videogan.features = 16
    c.discriminator.videogan.normalization = "none"
    c.game.joint_batch = True
    c.penalty.update(name="r1", weight=0.1, end_factor=0.1)
    base.adam(c, 2e-3, 0.0, 0.99)
    base.adam(c, 4e-3, 0.0, 0.99, "generator")
    base.schedule(c, "linear")
    base.short(c, steps=8000, every=2000, batch_size=16, log_every=100)
