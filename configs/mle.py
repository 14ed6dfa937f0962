"""MLE: the generator of TextGAN by maximum likelihood, without adversary (Caccia 2018, 1811.02549).

    python -m experiments.main --config=configs/mle.py
    python -m experiments.main --config=configs/mle.py:text --config.data.path=FILE

The row beside every text GAN: the same network, data and metrics. The default trains on sentences
of known probability: 99.5 % of 10,000 samples (three seeds) are valid, and distributed as real
ones.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.TEXT)
    c.variant = "mle"
    c.game.name = "likelihood"
    c.generator.name = "textgan"
    c.generator.latent_dim = 32
    base.adam(c, 2e-3, 0.9, 0.999)
    base.schedule(c, "cosine")
    base.long(c, steps=50_000, batch_size=128)
    c.ema.update(half_life=20_000.0, ramp_up=0.1)
    return base.finish(c, arg, grammar)


def grammar(c: ConfigDict) -> None:
    """Set the length of a run on the grammar."""
    base.short(c, steps=5000, every=1000, batch_size=128, log_every=250)
    c.eval.num_fake = 10_000
