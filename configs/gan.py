"""GAN: the original game between two perceptrons (Goodfellow 2014, 1406.2661).

    python -m experiments.main --config=configs/gan.py
    python -m experiments.main --config=configs/gan.py:mnist
    python -m experiments.main --config=configs/gan.py --config.loss.name=minimax

The generator's loss is the non-saturating one that the paper trains with; ``minimax`` is the
saturating game of its theory.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg``: see `configs.base.select`."""
    c = base.get_config()
    c.variant = "gan"
    c.loss.name = "non_saturating"
    c.generator.name = c.discriminator.name = "mlp"
    c.ema.half_life = 20_000.0
    c.ema.ramp_up = 0.1
    # Longer than this, and its digits grow sharper, fewer, and farther from the real ones.
    c.train.update(
        steps=2000, batch_size=128, log_every=100, sample_every=500, checkpoint_every=500
    )
    c.eval.update(every=500, num_fake=1500)
    return base.select(c, arg, paper)


def paper(c: ConfigDict) -> None:
    """Set the length of a run on a full-sized data set."""
    c.ema.half_life = 0.0
    base.full_length(c, steps=50_000, batch_size=128)


def sweep(add: Callable[..., None]) -> None:
    """Name the runs of a sweep: both losses of the paper and two later ones, three seeds each."""
    for loss in ("non_saturating", "minimax", "least_squares", "hinge"):
        for seed in (0, 1, 2):
            add(**{"loss.name": loss, "train.seed": seed})
