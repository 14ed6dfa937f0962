"""CycleGAN: translation between two domains without pairs (Zhu 2017, 1703.10593).

    python -m experiments.main --config=configs/cyclegan.py
    python -m experiments.main --config=configs/cyclegan.py:digits
    python -m experiments.main --config=configs/cyclegan.py:folder --config.data.path=DATA.zip
    python -m experiments.translate --run=RUN --input=zebras/ --direction=BtoA --out=horses/

Least squares, cycle weight 10, identity weight 5, a history buffer of 50 fakes for each
discriminator, instance normalization, Adam(0.5, 0.999) at 2e-4.

The default translates tiles of one photograph that ships with scikit-learn to tiles of the other,
with small networks: 400 steps give the colours and the shapes of the other photograph. It enlarges
by nearest neighbours, since the paper's transposed convolutions leave a checkerboard. ``:digits``
translates threes to eights and back; ``--config.data.a=4`` chooses another class. It is measured by
the share of the held-out digits that the classifier of all digits sees as the target's class.

``:folder`` reads ``trainA`` and ``trainB`` and has the paper's settings at 128x128 (6 blocks of 64
features, 70x70 patches, batch 1, 200,000 steps, linear decay over the second half), which have not
been run to their end. With Inception's weights, ``--config.eval.every=5000
--config.eval.split=test --config.eval.metrics="('kid',)"`` measures both directions.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, (*base.TRANSLATION, "digits"))
    c.variant = "cyclegan"
    c.game.name = "cycle"
    c.loss.name = "least_squares"
    c.data.update(pairing="domains", resolution=143, crop=128)
    c.generator.name = "translator"
    c.discriminator.name = "patchgan"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=200_000, batch_size=1)
    base.schedule(c, "linear")
    for optimizer in c.optimizer.values():
        optimizer.schedule.linear.decay_start = c.train.steps // 2
    c.sample.num = 8
    c.eval.every = 0
    return base.finish(c, arg, embedded)


def embedded(c: ConfigDict) -> None:
    """Set what differs on data that are in every installation."""
    c.generator.translator.update(blocks=2, upsample="nearest")
    base.learning_rate(c, 1e-3)
    if c.data.name == "digits":
        digits(c)
    else:
        photos(c)
    for optimizer in c.optimizer.values():
        optimizer.schedule.linear.decay_start = 0


def digits(c: ConfigDict) -> None:
    """Set what differs on two classes of scikit-learn's digits."""
    c.data.update(a="3", b="8", resolution=16, crop=None)
    c.generator.translator.update(features=32, downsamplings=1)
    c.discriminator.patchgan.update(features=32, layers=1)
    base.short(c, steps=500, every=100, batch_size=16, average=False)
    c.eval.split = "test"


def photos(c: ConfigDict) -> None:
    """Set what differs on tiles of scikit-learn's two photographs."""
    c.data.update(a="china", b="flower", resolution=96, crop=64)
    c.generator.translator.features = 16
    c.discriminator.patchgan.update(features=16, layers=2)
    base.short(
        c, steps=400, every=100, batch_size=4, log_every=20, checkpoint_every=200, average=False
    )
    c.eval.every = 0
