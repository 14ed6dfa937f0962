"""SRGAN: photographs enlarged, by content first and then in a game (Ledig 2016, 1609.04802).

    python -m experiments.main --config=configs/srgan.py
    python -m experiments.main --config=configs/srgan.py:tiles --config.data.path=photographs/
    python -m experiments.translate --run=RUN --input=Set5/ --degrade --out=made/

Inputs are photographs made smaller (bicubic, antialiased, rounded to bytes); what a run learns is
measured on luminance, without a border as wide as the factor, as in the papers.

The default enlarges twice: an SRResNet of 4 blocks of 32 features without normalization, which adds
to the bicubic enlargement; 750 of its 1,000 steps are by squared error alone. On 200 photographs
(BSDS500, ``--config.data.name=folder``), 800 steps of which 600 were by content, in 5 minutes on
two busy CPU cores: 32.8 dB against bicubic's 31.7 on tiles of 100 others, and 35.1 dB against 33.7
on Set5 (SSIM 0.943 against 0.930).

``:tiles`` has the paper's 4x, 16 blocks of 64 features with batch-norm, 100,000 steps of content
and 100,000 of the game, in which the weight of the adversarial term is 1e-3. The content is the
squared error of pixels; for features, ``--config.game.paired.perceptual.extractor=inception``. The
discriminator judges patches. These settings have not been run to their end.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "srgan"
    c.game.name = "paired"
    c.game.paired.update(
        pixel="l2",
        pixel_weight=1.0,
        adversarial_weight=1e-3,
        conditional=False,
        content_steps=750,
    )
    c.degrade.name = "downsample"
    c.degrade.downsample.factor = 2
    c.generator.name = "srresnet"
    c.generator.srresnet.update(features=32, blocks=4, kernel_size=5)
    c.generator.srresnet.update(normalization="none", output="residual")
    c.discriminator.name = "patchgan"
    c.discriminator.patchgan.update(features=32, layers=2)
    for network in ("generator", "discriminator"):
        c.optimizer[network] = base.adam(1e-3 if network == "generator" else 1e-4, 0.9, 0.999)
    c.optimizer.generator.schedule.name = "cosine"
    c.ema.half_life = 2_000.0
    c.ema.ramp_up = 0.1
    c.train.update(steps=1000, batch_size=8, log_every=50, sample_every=250, checkpoint_every=500)
    c.sample.num = 8
    c.eval.update(every=250, num_real=64, metrics=("psnr_y", "ssim_y", "psnr"))
    return base.select(c, arg, paper, base.RESTORATION)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings."""
    c.degrade.downsample.factor = 4
    c.generator.srresnet.update(features=64, blocks=16, kernel_size=9)
    c.generator.srresnet.update(normalization="batch", output="linear")
    c.discriminator.patchgan.update(features=64, layers=3)
    for network in ("generator", "discriminator"):
        c.optimizer[network].learning_rate = 1e-4
        c.optimizer[network].schedule.name = "constant"
    c.game.paired.content_steps = 100_000
    base.full_length(c, steps=200_000, batch_size=16)
