"""MidiNet: bars of music in a given scale, with binary neurons (Yang 2017, 1703.10847).

    python -m experiments.main --config=configs/midinet.py
    python -m experiments.main --config=configs/midinet.py:midi --config.data.path=FOLDER
    python -m experiments.sample --run=RUN --label="C minor" --num=20 --out=DIR/

Networks see all pitches of a step at once and move in time alone, as MidiNet's do, and the scale is
an input of every layer. The rest is MuseGAN's (Dong 2017, 1709.06298): a Wasserstein loss with
gradient penalty, its settings, and binary neurons (1804.09399), whose slope rises from 1 to 5.

MidiNet is conditioned on the previous bar and on chords, too; MuseGAN's examples are four bars of
five tracks. The classes of MIDI files are their folders; without any, `conditioning` of
both networks has to be none.

The default trains on synthetic bars of 16 steps and 16 pitches in four scales, in two minutes on
two CPU cores: 0.1 % of the notes are not of the scale, see docs/results.md.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration; ``arg`` joins a data set and ``smoke``."""
    c = base.get_config(arg, base.MUSIC)
    c.variant = c.generator.name = c.discriminator.name = "midinet"
    c.generator.conditioning = c.discriminator.conditioning = "concat"
    c.game.update(discriminator_steps=5, joint_batch=True)
    c.loss.name = "wasserstein"
    c.penalty.update(name="wgan_gp", weight=10.0)
    c.generator.latent_dim = 128
    base.adam(c, 1e-3, 0.5, 0.9)
    base.schedule(c, "linear")
    base.long(c, steps=50_000, batch_size=64)
    return base.finish(c, arg, scales)


def scales(c: ConfigDict) -> None:
    """Set what differs on synthetic bars."""
    c.generator.midinet.features = c.discriminator.midinet.features = 128
    c.generator.latent_dim = 32
    c.game.discriminator_steps = 2
    # In one run, of DCGAN's networks, a slope that rises to 5 was no better.
    c.generator.midinet.end_slope = 1.0
    base.short(c, steps=5000, every=1000, batch_size=32, log_every=100, checkpoint_every=1000)


def sweep(add: Callable[..., None]) -> None:
    """Add the runs of a sweep: the last slope, and binary neurons that are drawn."""
    for stochastic in (False, True):
        for slope in (1.0, 5.0):
            add(
                **{"generator.midinet.stochastic": stochastic, "generator.midinet.end_slope": slope}
            )
