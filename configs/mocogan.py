"""MoCoGAN: content fixed over a video, motion from a recurrent network (Tulyakov 2017, 1707.04993).

    python -m experiments.main --config=configs/mocogan.py
    python -m experiments.main --config=configs/mocogan.py:videos --config.data.path=DIR
    python -m experiments.sample --run=RUN --num=100 --out=DIR

The settings for a folder of videos are those of the paper: a content code of 50 numbers, motion
codes of 10 for each of 16 frames, batch normalization, the loss of the first GAN, Adam(0.5, 0.999)
at 2e-4; without classes.

The default trains on synthetic videos of a shape that bounces off the borders of the picture, eight
frames of 16x16 pixels, in 7.2 minutes on one CPU core. The shape is asked for as the class. The
discriminators have the penalty R1, whose weight falls, instead of batch normalization, and all
frames of each video are judged singly, too. Shapes are clean and keep their form and size; a few
are ragged in a frame.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.VIDEO)
    c.variant = c.generator.name = c.discriminator.name = "mocogan"
    c.generator.latent_dim = 50 + 16 * 10
    c.loss.name = "non_saturating"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=32)
    return base.finish(c, arg, bouncing)


def bouncing(c: ConfigDict) -> None:
    """Set what differs on synthetic videos."""
    c.generator.latent_dim = 16 + 8 * 4
    c.generator.conditioning, c.discriminator.conditioning = "concat", "projection"
    c.generator.mocogan.update(motion_dim=4, motion_features=32, features=32)
    c.discriminator.mocogan.update(features=16, image_features=32, image_frames=8, time_stride=2)
    c.discriminator.mocogan.normalization = "none"
    c.game.joint_batch = True
    c.penalty.update(name="r1", weight=0.1, end_factor=0.1)
    base.adam(c, 2e-3, 0.0, 0.99)
    base.adam(c, 4e-3, 0.0, 0.99, "generator")
    base.schedule(c, "linear")
    base.short(c, steps=8000, every=2000, batch_size=16, log_every=100)
