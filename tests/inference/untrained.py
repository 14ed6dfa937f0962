"""Run directories of networks that have learned nothing."""

import jax

from configs import cgan
from gan_jax.data import sources
from gan_jax.runs import build
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run import open_run
from gan_jax.runs.run_directory import RunDirectory

STEP = 4


def make_run(path, config):
    """Write the directory of a run that has learned nothing, with an output that fills the range.

    A run that trains would take its compilation's time, and its samples would look no better.
    """
    config.num_devices = 1
    source = sources.make_source(config.data)
    training = build.make_training(config, source.spec)
    state = training.init_state()
    generator = state.networks["generator"]
    params = jax.tree.map(lambda x: 4.0 * x, generator.params)
    averaged = None if generator.ema is None else {**generator.ema, "params": params}
    generator = generator.replace(params=params, ema=averaged)
    state = state.replace(networks={**state.networks, "generator": generator})
    run = RunDirectory(path)
    run.write_config(config)
    run.write_data(source)
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(STEP, state, {})
    return open_run(run.path)


def of_classes(path):
    """Return a run of conditional MLPs on digits."""
    config = cgan.get_config("smoke")
    config.generator.name = config.discriminator.name = "mlp"
    return make_run(path, config)
