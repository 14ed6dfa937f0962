"""CAN: images that look real, but of no class in particular (Elgammal 2017, 1706.07068).

    python -m experiments.main --config=configs/can.py
    python -m experiments.main --config=configs/can.py:folder --config.data.path=DIR

The paper's "creative" network: the discriminator also learns the styles of real paintings, and the
generator makes paintings whose style it cannot name. Styles are the classes of the data; a folder
has a sub-folder for each.

The default trains on scikit-learn's digits at 16x16, whose classes are the digits, in half a minute
of train steps on two CPU cores. Its samples have the strokes of digits, and are mostly none: by a
classifier of real digits, the mean entropy of their class is 0.79 nats of at most 2.30; without the
term it is 0.43. Classifier-FID (8.25) measures what the system avoids.

The paper trains at 256x256 on 81,449 paintings of 25 styles from WikiArt, with DCGAN's optimizer
and batches of 128 images; its networks are deeper than DCGAN's, which are used here.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "can"
    c.terms.ambiguity.weight = 1.0
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "dcgan"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=100_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.dcgan.features = c.discriminator.dcgan.features = 32
    base.learning_rate(c, 1e-3)
    base.short(c, steps=2000, every=250)
