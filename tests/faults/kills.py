"""Runs that are killed again and again."""

import random
import signal
import time

from tests.experiments import program
from tests.experiments.program import POINTS, assert_same_run, succeeded

# Every step is saved, so that a kill hits a save more often than not.
SAVING = (*POINTS, "--config.train.log_every=1", "--config.train.checkpoint_every=1")


def kill_often(start, run, folder, steps, kills, seed):
    """Kill a run at random moments, start it again each time, and compare how it ends."""
    whole, parts = folder / "whole", folder / "parts"
    once = ("--config.train.checkpoint_every=100000", f"--config.train.steps={steps}")
    succeeded(run(*SAVING, *once, f"--workdir={whole}"))
    chance = random.Random(seed)
    landed, temporary = 0, 0
    flags = (*SAVING, f"--config.train.steps={steps}", f"--workdir={parts}")
    while landed < kills:
        running = start(*flags)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0.5, 5.0))  # while it starts, or soon after
        else:
            assert running.wait_for(r"step +\d+/"), running.wait()
            time.sleep(chance.uniform(0.0, 0.6))
        running.signal(signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL, "the run is too short for so many kills"
        landed += 1
        if (parts / "checkpoints").exists():
            names = [p.name for p in (parts / "checkpoints").iterdir()]
            temporary += any(not name.isdigit() for name in names)
    ended = run(*flags)
    assert ended.code == 0, ended.err
    assert program.status(parts)["state"] == "done"
    assert_same_run(parts, whole)
    return temporary
