"""SEGAN: enhancement of noisy sound by an encoder and decoder of waves (Pascual 2017, 1703.09452).

python -m experiments.main --config=configs/segan.py
python -m experiments.main --config=configs/segan.py:sounds --config.data.path=DIR
python -m experiments.translate --run=RUN --input=noisy.wav --out=DIR

White noise is added at signal-to-noise ratios of 0 to 15 dB (``degrade.noise.snr``). The generator
learns from the L1 distance of samples and from a discriminator that sees a noisy sound beside a
clean or an enhanced one.

The default trains on synthetic tones, 1,024 samples at 8 kHz, with five layers in place of eleven.
The other data sets have the paper's settings for 16,384 samples at 16 kHz: L1 of weight 100, least
squares, RMSprop at 2e-4, batch 400. The paper trains for 86 epochs, on noises of ten kinds.

3,000 steps, 4 minutes of one core: on 500 tones of the test split an SI-SDR of 20.9 dB and a
log-mel distance of 4.9 dB (three seeds), noisy 7.4 and 20.7 dB.
"""

from ml_collections import ConfigDict

from configs import base

FEATURES = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.SOUND)
    c.variant = "segan"
    c.game.name = "paired"
    c.game.paired.update(pixel="l1", pixel_weight=100.0, adversarial_weight=1.0)
    c.degrade.name = "noise"
    c.generator.name = c.discriminator.name = "segan"
    c.generator.segan.features = c.discriminator.segan.features = FEATURES
    c.loss.name = "least_squares"
    for optimizer in c.optimizer.values():
        optimizer.update(name="rmsprop", learning_rate=2e-4)
    base.long(c, steps=20_000, batch_size=400)
    c.sample.num = 8
    c.eval.num_real = 500
    return base.finish(c, arg, tones)


def tones(c: ConfigDict) -> None:
    """Set what differs on synthetic tones."""
    c.generator.segan.features = c.discriminator.segan.features = (8, 16, 16, 32, 32)
    base.adam(c, 1e-3, 0.5, 0.999, "generator")
    c.optimizer.generator.schedule.name = "cosine"
    base.adam(c, 2e-4, 0.5, 0.999, "discriminator")
    base.short(c, steps=3000, every=1000, batch_size=32)
    c.eval.split = "test"
