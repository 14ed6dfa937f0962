"""SeqGAN: text by policy gradients, with a reward for every token (Yu 2016, 1609.05473).

    python -m experiments.main --config=configs/seqgan.py
    python -m experiments.main --config=configs/seqgan.py:text --config.data.path=FILE
    python -m experiments.main --config=configs/seqgan.py --config.init.run=RUN_OF_MLE \\
        --config.init.networks="('generator',)"

The discriminator reads texts from left to right and scores every token, as in ScratchGAN (d'Autume
et al. 2019, 1905.09922), which replaces the roll-outs of the paper and needs no pretraining. A
token is rewarded by its score and, discounted by 0.23 each, those after it; from that an estimate
by the tokens before it is subtracted. The last command begins with the weights of a run of
`configs/mle.py`, as the paper does.

The default trains on sentences of known probability without pretraining: 98.9 % of 10,000 samples
(three seeds) are valid, but frequent ones are too frequent.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.TEXT)
    c.variant = "seqgan"
    c.game.name = "policy"
    c.generator.name, c.discriminator.name = "textgan", "seqgan"
    c.generator.latent_dim = 32
    base.adam(c, 1e-3, 0.5, 0.999)
    base.schedule(c, "cosine")
    base.long(c, steps=50_000, batch_size=512)
    c.ema.update(half_life=20_000.0, ramp_up=0.1)
    return base.finish(c, arg, grammar)


def grammar(c: ConfigDict) -> None:
    """Set the length of a run on the grammar."""
    base.short(c, steps=5000, every=1000, batch_size=128, log_every=250)
    c.eval.num_fake = 10_000


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: the discount of later rewards."""
    for discount in (0.0, 0.23, 0.9):
        add(**{"game.policy.discount": discount})
