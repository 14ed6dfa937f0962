"""GANomaly: anomalies have a large latent reconstruction error (Akçay 2018, 1805.06725).

    python -m experiments.main --config=configs/ganomaly.py
    python -m experiments.main --config=configs/ganomaly.py --config.data.without="('3',)"
    python -m experiments.main --config=configs/ganomaly.py:folder --config.data.path=bottle
    python -m experiments.main --config=configs/ganomaly.py:folder --config.data.path=parts \
        --config.data.normal=good

An encoder, a generator and a second encoder are trained on normal images; on the test split, images
of other classes should have higher scores. ``data.normal`` names the normal classes, or
``data.without`` the others. Of a folder whose training split has one class alone (``train/good``),
that is the normal one; any other folder needs ``data.normal``.

The default takes 25 s on two CPU cores. Area under the ROC curve on the 297 digits of the test
split, seed 0, 500 steps, by the digit left out: 0: 0.92, 1: 0.72, 2: 0.96, 3: 0.77, 4: 0.96,
5: 0.89, 6: 0.80, 7: 0.94, 8: 0.85, 9: 0.77; mean 0.86.

Networks of the same size on Fashion-MNIST (32x32, ``--config.data.resize=pad``), 800 steps: Bag
0.88, Trouser 0.69; see ``docs/results.md``.

The other data sets have 64 features, 100 latents and batch 64, as in the paper. These settings have
not been run to their end.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "ganomaly"
    c.game.name = "anomaly"
    if c.data.name != "folder":
        c.data.without = ("0",)
    c.encoder.name = c.generator.name = c.discriminator.name = "dcgan"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=20_000, batch_size=64)
    c.sample.num = 16
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    c.generator.latent_dim = 32
    for network in (c.encoder, c.generator, c.discriminator):
        network.dcgan.features = 32
    base.short(c, steps=500, every=250, average=False)
