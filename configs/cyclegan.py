"""CycleGAN: translation between two domains without pairs (Zhu 2017, 1703.10593).

    python -m experiments.main --config=configs/cyclegan.py
    python -m experiments.main --config=configs/cyclegan.py:folder --config.data.path=DATA.zip
    python -m experiments.translate --run=RUN --input=zebras/ --direction=BtoA --out=horses/

Least squares, 10 times the cycle, 5 times the identity, a pool of 50 past fakes for each
discriminator, instance normalization, Adam(0.5, 0.999) at 2e-4.

The default turns tiles of one photograph that ships with scikit-learn into tiles of the other: a
network small enough for a CPU, to look at how it goes (400 steps in 9 minutes on two busy cores:
the colours of the other photograph, textures with the lattice of an early run). ``:folder`` reads
``trainA`` and ``trainB`` and has the paper's settings at 128x128 (6 blocks of 64 features, 70x70
patches, batch 1, 200,000 steps, linear decay over the second half). With Inception's weights at
hand, ``--config.eval.every=5000 --config.eval.split=test --config.eval.metrics="('kid',)"``
measures both directions. These have not been run to their end.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "cyclegan"
    c.game.name = "cycle"
    c.loss.name = "least_squares"
    c.data.update(pairing="domains", a="china", b="flower")
    c.generator.name = "translator"
    c.generator.translator.update(features=16, blocks=2)
    c.discriminator.name = "patchgan"
    c.discriminator.patchgan.update(features=16, layers=2)
    for network in ("generator", "discriminator"):
        c.optimizer[network] = base.adam(2e-4, 0.5, 0.999)
        c.optimizer[network].schedule.name = "linear"
    c.train.update(steps=400, batch_size=4, log_every=20, sample_every=100, checkpoint_every=200)
    c.sample.num = 8
    return base.select(c, arg, paper, base.TRANSLATION)


def paper(c: ConfigDict) -> None:
    """Set the paper's settings, for 128x128."""
    c.data.update(a=None, b=None, resolution=143, crop=128)
    c.generator.translator.update(features=64, blocks=6)
    c.discriminator.patchgan.update(features=64, layers=3)
    base.full_length(c, steps=200_000, batch_size=1)
    for network in ("generator", "discriminator"):
        c.optimizer[network].schedule.linear.decay_start = c.train.steps // 2
    c.eval.every = 0
    c.sample.num = 8
