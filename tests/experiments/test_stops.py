"""Signals, kills, a full disk, a second process: a run continues bit for bit."""

import os
import resource
import signal
import socket
import time

import pytest

from tests.experiments import program
from tests.experiments.program import POINTS, assert_same_run, call, complaint, succeeded
from tests.faults.kills import kill_often

pytestmark = pytest.mark.slow

# Never over before a signal comes.
ENDLESS = (*POINTS, "--config.train.log_every=5", "--config.train.steps=100000")


def test_a_second_process_is_refused_and_a_signal_saves_the_first(start, tmp_path):
    flags = (*ENDLESS, "--config.train.checkpoint_every=100000")
    running = start(*flags, f"--workdir={tmp_path / 'run'}")
    assert running.wait_for(r"step +20/")
    message = complaint(call(*flags, f"--workdir={tmp_path / 'run'}"))
    holder = f"process {running.process.pid} on {socket.gethostname()}"
    assert message == f"--workdir={tmp_path / 'run'} is in use by {holder}"
    assert program.status(tmp_path / "run")["state"] == "running"

    running.signal(signal.SIGINT)
    ended = succeeded(running.wait())
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"]) == ("preempted", "SIGINT")
    assert now["step"] >= 20
    assert program.checkpoints(tmp_path / "run") == [now["step"]]
    assert ended.out.splitlines()[-1].startswith(f"preempted at step {now['step']}: ")

    steps = f"--config.train.steps={now['step'] + 20}"
    succeeded(call(*flags, steps, f"--workdir={tmp_path / 'run'}"))
    assert program.status(tmp_path / "run")["state"] == "done"
    succeeded(call(*flags, steps, f"--workdir={tmp_path / 'whole'}"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_signal_while_it_starts_harms_nothing(start, tmp_path):
    workdir = tmp_path / "run"
    flags = (*POINTS, f"--workdir={workdir}")
    succeeded(call(*flags))
    before, rows = program.leaves(workdir), program.metrics(workdir)
    running = start(*flags)
    time.sleep(1.5)
    running.signal(signal.SIGTERM)
    assert running.wait().code in (0, -signal.SIGTERM)
    after = program.leaves(workdir)
    assert {name: leaf.tobytes() for name, leaf in before.items()} == {
        name: leaf.tobytes() for name, leaf in after.items()
    }
    assert program.metrics(workdir) == rows


def test_kills_at_random_moments(start, tmp_path):
    kill_often(start, tmp_path, kills=2, seed=1)


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path):
    workdir = tmp_path / "run"
    flags = (
        *POINTS,
        "--config.generator.mlp.features=(700,700)",
        "--config.discriminator.mlp.features=(16,)",
        f"--workdir={workdir}",
    )
    succeeded(call(*flags, "--config.train.steps=2"))
    before = program.leaves(workdir, step=2)

    # No file may grow beyond this: a checkpoint cannot be written, all else can.
    with program.limited(resource.RLIMIT_FSIZE, 1_000_000):
        message = complaint(call(*flags, "--config.train.steps=4"))
    assert message.startswith(f"Could not save step 4 in {workdir / 'checkpoints'}: ")
    assert "File too large" in message
    assert message.endswith("complete checkpoints: 2.")
    now = program.status(workdir)
    assert (now["state"], now["reason"]) == ("failed", message)
    assert program.checkpoints(workdir) == [2]
    after = program.leaves(workdir, step=2)
    assert all(after[name].tobytes() == leaf.tobytes() for name, leaf in before.items())

    succeeded(call(*flags, "--config.train.steps=4"))
    assert program.status(workdir)["state"] == "done"
    assert program.checkpoints(workdir) == [2, 4]
    assert not any(".orbax" in name for name in os.listdir(workdir / "checkpoints"))
