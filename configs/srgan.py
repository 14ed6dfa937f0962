"""SRGAN: super-resolution, by content first, then in a game (Ledig 2016, 1609.04802).

    python -m experiments.main --config=configs/srgan.py
    python -m experiments.main --config=configs/srgan.py:tiles --config.data.path=photographs/
    python -m experiments.main --config=configs/srgan.py:tiles --config.data.path=pairs/ \
        --config.data.pairing=twins --config.degrade.name=none
    python -m experiments.translate --run=RUN --input=Set5/ --degrade --out=made/

Inputs are photographs made smaller (bicubic, antialiased, rounded to bytes); what a run learns is
measured on luminance, without a border as wide as the factor, as in the papers.

With pairs of small and large photographs (folders ``A`` and ``B``, files of the same names), the
factor is that of their sizes, and nothing is made smaller.

The default enlarges twice: an SRResNet of 4 blocks of 32 features without normalization, which adds
to the bicubic enlargement; 750 of its 1,000 steps are by squared error alone. On 200 photographs
(BSDS500, ``--config.data.name=folder``), 800 steps of which 600 were by content, in 2 minutes on
one CPU core: 32.7 dB against bicubic's 31.7 on tiles of 100 others; an earlier run had 35.1 dB
against 33.7 on Set5 (SSIM 0.943 against 0.930).

``:tiles`` has the paper's 4x, 16 blocks of 64 features with batch-norm, 100,000 steps of content
and 100,000 of the game, in which the weight of the adversarial term is 1e-3. The content is the
squared error of pixels; for features, ``--config.game.paired.perceptual.extractor=inception``. The
discriminator judges patches. These settings have not been run to their end.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.RESTORATION)
    c.variant = "srgan"
    c.game.name = "paired"
    c.game.paired.update(pixel="l2", pixel_weight=1.0, adversarial_weight=1e-3)
    c.game.paired.update(conditional=False, content_steps=100_000)
    c.degrade.name = "downsample"
    c.degrade.downsample.factor = 4
    c.data.scale = None
    c.generator.name = "srresnet"
    c.generator.srresnet.update(features=64, blocks=16, kernel_size=9)
    c.generator.srresnet.update(normalization="batch", output="linear")
    c.discriminator.name = "patchgan"
    c.discriminator.patchgan.update(features=64, layers=3)
    base.adam(c, 1e-4, 0.9, 0.999)
    c.ema.update(half_life=2_000.0, ramp_up=0.1)
    base.long(c, steps=200_000, batch_size=16)
    c.sample.num = 8
    c.eval.update(num_real=64, metrics=("psnr_y", "ssim_y", "psnr"))
    return base.finish(c, arg, photos)


def photos(c: ConfigDict) -> None:
    """Set what differs on tiles of scikit-learn's two photographs."""
    c.degrade.downsample.factor = 2
    c.game.paired.content_steps = 750
    c.generator.srresnet.update(features=32, blocks=4, kernel_size=5)
    c.generator.srresnet.update(normalization="none", output="residual")
    c.discriminator.patchgan.update(features=32, layers=2)
    c.optimizer.generator.learning_rate = 1e-3
    c.optimizer.generator.schedule.name = "cosine"
    base.short(c, steps=1000, every=250, batch_size=8, average=False)
