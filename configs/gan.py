"""GAN: the original game between two MLPs (Goodfellow 2014, 1406.2661).

    python -m experiments.main --config=configs/gan.py
    python -m experiments.main --config=configs/gan.py:mnist
    python -m experiments.main --config=configs/gan.py --config.loss.name=minimax

The generator's loss is the non-saturating one of the paper's experiments; ``minimax`` is the
saturating one of its theory.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "gan"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "mlp"
    base.adam(c, 2e-4, 0.5, 0.999)
    base.long(c, steps=50_000, batch_size=128)
    return base.finish(c, arg, digits)


def digits(c: ConfigDict) -> None:
    """Set the length of a run on scikit-learn's digits."""
    # In longer runs the digits become sharper, but less varied.
    base.short(c, steps=2000, every=500, batch_size=128, log_every=100)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: both losses of the paper and two later ones, three seeds each."""
    for loss in ("non_saturating", "minimax", "least_squares", "hinge"):
        for seed in (0, 1, 2):
            add(**{"loss.name": loss, "train.seed": seed})
