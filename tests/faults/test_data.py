"""A file of the data set vanishes while the run reads it."""

import numpy as np
import pytest
from PIL import Image

from tests.experiments import program
from tests.experiments.program import assert_same_run, complaint, succeeded


@pytest.fixture
def photos(tmp_path):
    """A folder of 64 images of 8x8."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(64):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i:03d}.png")
    return folder


@pytest.mark.slow
def test_a_file_that_vanishes_is_named_and_with_it_back_the_run_goes_on(
    photos, start, run, tmp_path
):
    flags = (
        "--config=configs/gan.py:smoke",
        "--config.data.name=folder",
        f"--config.data.path={photos}",
        "--config.data.resolution=8",
        "--config.data.device_cache_gib=0",
        "--config.data.workers=1",
        "--config.train.batch_size=16",
        "--config.train.log_every=5",
        "--config.train.checkpoint_every=20",
        "--config.train.sample_every=100000",
        "--config.sample.num=1",
    )
    running = start(*flags, "--config.train.steps=100000", f"--workdir={tmp_path / 'run'}")
    assert running.wait_for(r"step +25/")
    victim = photos / "017.png"
    victim.rename(tmp_path / "away.png")
    message = complaint(running.wait())
    assert str(victim) in message
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"]) == ("failed", message)
    saved = program.checkpoints(tmp_path / "run")
    assert saved[-1] >= 20

    (tmp_path / "away.png").rename(victim)
    steps = f"--config.train.steps={saved[-1] + 20}"
    succeeded(run(*flags, steps, f"--workdir={tmp_path / 'run'}"))
    succeeded(run(*flags, steps, f"--workdir={tmp_path / 'whole'}"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
