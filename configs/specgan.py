"""SpecGAN: log-magnitude spectrograms of sound, made as images are (Donahue 2018, 1802.04208).

    python -m experiments.main --config=configs/specgan.py
    python -m experiments.main --config=configs/specgan.py:sounds --config.data.path=DIR
    python -m experiments.sample --run=RUN --num=100 --out=DIR

Networks see the logarithms of magnitudes of windows of 256 samples, each frequency scaled by its
mean and deviation over the data and clipped to three deviations. Samples are stored as sound: the
phases are found by 16 iterations of Griffin and Lim's algorithm.

The default trains on synthetic tones of ten pitches, on 128 frequencies in 16 frames, with the loss
of WaveGAN's default: 3,500 steps, 4.9 minutes on two CPU cores, a classifier-IS of 5.7 of 9.7. All
samples have harmonics, but only 67 % the pitch of a class. The other data sets have the paper's
settings for 16,384 samples at 16 kHz, which are 128 frequencies in 128 frames: DCGAN's networks
with kernels of 5 and without normalization, trained as WaveGAN is.
"""

from ml_collections import ConfigDict

from configs import base, wavegan


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = wavegan.paper(arg)
    c.variant = "specgan"
    c.generator.name = c.discriminator.name = "dcgan"
    for network in (c.generator.dcgan, c.discriminator.dcgan):
        network.update(features=64, max_features=1024, kernel_size=5, normalization="none")
    c.data.spectrogram.update(window=256, hop=128)
    return base.finish(c, arg, tones)


def tones(c: ConfigDict) -> None:
    """Set what differs on synthetic tones."""
    wavegan.relativistic(c)
    c.generator.dcgan.features = c.discriminator.dcgan.features = 16
    c.data.spectrogram.hop = 64
    base.short(c, steps=3500, every=500)
