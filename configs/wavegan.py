"""WaveGAN: raw sound by convolutions in time, with phase shuffle (Donahue 2018, 1802.04208).

    python -m experiments.main --config=configs/wavegan.py
    python -m experiments.main --config=configs/wavegan.py:sounds --config.data.path=DIR
    python -m experiments.sample --run=RUN --num=100 --out=DIR

The critic's activations are shifted in time by up to two steps, one shift per example and layer, so
that it cannot recognise samples by the phase of the artefacts of transposed convolutions.

The default trains on synthetic tones of ten pitches, 1,024 samples at 8 kHz, with the loss and the
penalties of R3GAN instead of WGAN-GP and one discriminator step: all samples have the pitch of a
class, with weaker harmonics than the tones (classifier-IS 7.0 of 9.7; docs/results.md). The other
data sets have the paper's settings for 16,384 samples at 16 kHz: batch 64, five critic steps,
Adam(0.5, 0.9) at 1e-4. The paper trains for 200,000 generator steps and selects by the Inception
Score; its latents are uniform, here they are normal.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = paper(arg)
    c.variant = c.generator.name = c.discriminator.name = "wavegan"
    return base.finish(c, arg, tones)


def paper(arg: str) -> ConfigDict:
    """Return the paper's settings without those of the networks."""
    c = base.get_config(arg, base.SOUND)
    c.game.update(discriminator_steps=5, joint_batch=True)
    c.loss.name = "wasserstein"
    c.penalty.update(name="wgan_gp", weight=10.0)
    c.generator.latent_dim = 100
    base.adam(c, 1e-4, 0.5, 0.9)
    base.long(c, steps=200_000, batch_size=64)
    return c


def tones(c: ConfigDict) -> None:
    """Set what differs on synthetic tones."""
    relativistic(c)
    c.generator.wavegan.features = c.discriminator.wavegan.features = 16
    base.short(c, steps=3000, every=500)


def relativistic(c: ConfigDict) -> None:
    """Set the game on synthetic tones: R3GAN's loss and penalties, one discriminator step."""
    c.generator.latent_dim = 32
    c.game.discriminator_steps = 1
    c.loss.name = "relativistic_pairing"
    c.penalty.update(name="r1_r2", weight=1.0)
    base.adam(c, 2e-3, 0.0, 0.99)
    base.schedule(c, "linear")


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: the greatest shift of phase shuffle."""
    for most in (0, 1, 2, 4):
        add(**{"discriminator.wavegan.phase_shuffle": most})
