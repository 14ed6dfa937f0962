"""Runs that are killed again and again."""

import random
import signal
import time

from tests.experiments import program
from tests.experiments.program import POINTS, assert_same_run, call, succeeded

# Every step is saved, so that a kill hits a save more often than not.
SAVING = (*POINTS, "--config.train.log_every=1", "--config.train.checkpoint_every=1")


def kill_often(start, folder, kills, seed):
    """Kill a run at random moments, start it again each time, and compare how it ends.

    Returns:
      How many kills left a save unfinished.
    """
    whole, parts = folder / "whole", folder / "parts"
    chance = random.Random(seed)
    temporary = 0
    for _ in range(kills):
        # Never over before the kill, however fast the machine is.
        running = start(*SAVING, "--config.train.steps=100000", f"--workdir={parts}")
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0.5, 5.0))  # while it starts, or soon after
        else:
            assert running.wait_for(r"step +\d+/"), running.wait()
            time.sleep(chance.uniform(0.0, 0.6))
        running.signal(signal.SIGKILL)
        assert running.wait().code == -signal.SIGKILL
        if (parts / "checkpoints").exists():
            names = [p.name for p in (parts / "checkpoints").iterdir()]
            temporary += any(not name.isdigit() for name in names)
    steps = f"--config.train.steps={max(program.checkpoints(parts), default=0) + 10}"
    ended = call(*SAVING, steps, f"--workdir={parts}")
    assert ended.code == 0, ended.err
    assert program.status(parts)["state"] == "done"
    once = "--config.train.checkpoint_every=100000"
    succeeded(call(*SAVING, once, steps, f"--workdir={whole}"))
    assert_same_run(parts, whole)
    return temporary
