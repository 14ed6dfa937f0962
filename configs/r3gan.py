"""R3GAN: relativistic pairing with penalties at both ends (Huang 2025, 2501.05441).

    python -m experiments.main --config=configs/r3gan.py
    python -m experiments.main --config=configs/r3gan.py:cifar10

Each fake is compared with a real image of its own, and the gradient of the discriminator is
penalized at real images and at fakes, at every step. The networks have no normalization. The
penalty's weight gamma, Adam's second decay and the learning rate change along half a cosine during
the burn-in, the first part of the run.

The default trains on scikit-learn's digits at 16x16 (classifier-FID 1.22 ± 0.17 over three seeds,
1.06 of seed 0). Of seed 0 with batches of 64 and half the steps it is 1.95, or 1.81 with a gamma of
5 at the start, and at a rate of 5e-4 it is 3.71.

The other data sets have the paper's settings for CIFAR-10: stages of 768 channels with two blocks
each, batch 512, gamma from 0.05 to 0.005, rate from 2e-4 to 5e-5 and second decay from 0.9 to 0.99
over the first 20 million images of 200. The paper's run is class-conditional
(``--config.generator.conditioning=concat --config.discriminator.conditioning=projection``) and
augments images adaptively, which this one does not.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg)
    c.variant = "r3gan"
    c.loss.name = "relativistic_pairing"
    c.penalty.update(name="r1_r2", weight=0.05, end_factor=0.1)
    c.generator.name = c.discriminator.name = "r3gan"
    c.generator.latent_dim = 64
    base.adam(c, 2e-4, 0.0, 0.9)
    base.schedule(c, "cosine")
    base.long(c, steps=390_000, batch_size=512)
    c.ema.update(half_life=5e6, ramp_up=0.25)
    burn_in(c, 39_000)
    return base.finish(c, arg, digits)


def burn_in(c: ConfigDict, steps: int) -> None:
    """Let rate, second decay and the penalty's weight change over the first train steps."""
    c.penalty.decay_steps = steps
    for optimizer in c.optimizer.values():
        optimizer.schedule.cosine.update(decay_steps=steps, end_factor=0.25)
        optimizer.adam.update(end_b2=0.99, end_b2_steps=steps)


def digits(c: ConfigDict) -> None:
    """Set what differs on scikit-learn's digits."""
    for network in (c.generator, c.discriminator):
        network.r3gan.update(features=(64, 32, 16), blocks=1, group_size=32)
    c.penalty.weight = 0.5
    base.learning_rate(c, 2e-3)
    base.short(c, steps=3000, every=500, batch_size=32)
    burn_in(c, c.train.steps)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: the penalty's weight at the start."""
    for gamma in (0.05, 0.5, 5.0):
        add(**{"penalty.weight": gamma})
