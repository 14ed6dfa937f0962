"""A real training: a run of WGAN-GP finds every mode of a mixture, evenly."""

import numpy as np

from gan_jax.data.sources import make_source
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from scripts import toy_table


def test_wgan_gp_covers_all_eight_modes_of_the_ring(tmp_path):
    config = toy_table.make_config("wasserstein", "wgan_gp", 2000)
    config.train.steps_per_call = 500
    loop.train(config, tmp_path)
    points = open_run(tmp_path).sample(2000, seed=0, batch_size=2000)
    modes = make_source(config.data).modes
    distance = np.linalg.norm(points[:, None] - modes[None], axis=-1)
    near = distance.min(axis=1) < 0.25
    # Evenly spread there would be 250 to a mode.
    counts = np.bincount(distance.argmin(axis=1)[near], minlength=len(modes))
    assert len(modes) == 8
    assert counts.min() > 100, counts
    assert near.mean() > 0.6
