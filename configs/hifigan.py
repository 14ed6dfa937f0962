"""HiFi-GAN: a vocoder, which makes waves of mel spectrograms (Kong 2020, 2010.05646).

    python -m experiments.main --config=configs/hifigan.py
    python -m experiments.main --config=configs/hifigan.py:sounds --config.data.path=DIR
    python -m experiments.translate --run=RUN --input=speech.wav --out=DIR

The generator learns from the L1 distance of log-mel spectrograms, and from discriminators by the
squared error of their scores and the distance of their features.

The default trains on synthetic tones, 1,024 samples at 8 kHz, with a smaller generator, parts of
three periods and none of a scale. The other data sets have the paper's settings (its V1) for clips
of 8,192 samples at 22,050 Hz, but for the learning rate, which stays as it is; they have not been
run to their end.

7,000 steps, 7.5 minutes on one CPU core: a log-mel distance of 2.9 dB (three seeds) on 500 tones of
the test split, and 48 % have the tone's pitch; of the sounds that Griffin and Lim's algorithm finds
for the same spectrograms 4.7 dB and 52 %. A generator makes of equal frames a sound that repeats
every 128 samples, whose pitch is a multiple of 62.5 Hz: the nearest such sounds have 1.6 dB and
50 %. At the end the mean scores of seed 0 are 0.98 for real and 0.01 for generated sounds.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.SOUND)
    c.variant = "hifigan"
    c.data.sound.update(sample_rate=22_050, samples=8192)
    c.game.name = "paired"
    c.game.paired.update(pixel="mel", pixel_weight=45.0, matching_weight=2.0, conditional=False)
    # The paper's sum over eight parts, of which every score counts as one here.
    c.game.paired.adversarial_weight = 8.0
    c.degrade.name = "mel"
    c.degrade.mel.highest = 8_000.0
    c.generator.name = c.discriminator.name = "hifigan"
    c.loss.name = "least_squares"
    for optimizer in c.optimizer.values():
        optimizer.update(name="adamw", learning_rate=2e-4)
        optimizer.adamw.update(b1=0.8, b2=0.99, weight_decay=0.01)
    base.long(c, steps=500_000, batch_size=16)
    c.sample.num = 8
    c.eval.update(num_real=500, metrics=("log_mel_distance", "same_pitch"))
    return base.finish(c, arg, tones)


def tones(c: ConfigDict) -> None:
    """Set what differs on synthetic tones."""
    c.degrade.mel.update(window=512, hop=128, bands=32, highest=None, floor=1e-3)
    c.generator.hifigan.update(features=64, rates=(8, 4, 4), kernels=(3, 5, 7), dilations=(1, 3))
    c.generator.hifigan.double = False
    c.discriminator.hifigan.update(periods=(2, 3, 5), features=(8, 16, 32, 64), scales=0)
    c.game.paired.adversarial_weight = 3.0
    base.adam(c, 4e-3, 0.8, 0.99, "generator")
    c.optimizer.generator.schedule.name = "cosine"
    base.adam(c, 2e-4, 0.8, 0.99, "discriminator")
    base.short(c, steps=7000, every=1000, batch_size=16)
    c.eval.split = "test"
