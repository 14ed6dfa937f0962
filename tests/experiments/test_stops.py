"""Signals, kills, full disks and rivals: a run goes on as if they had never been."""

import os
import shutil
import signal
import socket
import time

import pytest

from tests.experiments import program
from tests.experiments.program import POINTS, assert_same_run, complaint, succeeded
from tests.faults.kills import kill_often

LONG = (*POINTS, "--config.train.steps=400", "--config.train.log_every=5")


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory):
    """A run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    succeeded(run(*LONG, "--config.train.checkpoint_every=400", f"--workdir={workdir}"))
    return workdir


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(number, start, run, tmp_path):
    # Never over before the signal comes; how long the run is to be follows from where it was hit.
    flags = (*LONG, "--config.train.checkpoint_every=100000")
    running = start(*flags, "--config.train.steps=100000", f"--workdir={tmp_path / 'run'}")
    assert running.wait_for(r"step +20/")
    running.signal(number)
    ended = succeeded(running.wait())
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"]) == ("preempted", number.name)
    assert now["step"] >= 20
    assert program.checkpoints(tmp_path / "run") == [now["step"]]
    assert ended.out.splitlines()[-1].startswith(f"preempted at step {now['step']}: ")

    steps = f"--config.train.steps={now['step'] + 20}"
    succeeded(run(*flags, steps, f"--workdir={tmp_path / 'run'}"))
    assert program.status(tmp_path / "run")["state"] == "done"
    succeeded(run(*flags, steps, f"--workdir={tmp_path / 'whole'}"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("seconds", [0.1, 1.5, 3.0])
def test_a_signal_while_it_starts_harms_nothing(seconds, uninterrupted, start, tmp_path, run):
    workdir = tmp_path / "run"
    shutil.copytree(uninterrupted, workdir)
    before = program.leaves(workdir)
    running = start(*LONG, "--config.train.checkpoint_every=400", f"--workdir={workdir}")
    time.sleep(seconds)
    running.signal(signal.SIGTERM)
    assert running.wait().code in (0, -signal.SIGTERM)
    after = program.leaves(workdir)
    assert {name: leaf.tobytes() for name, leaf in before.items()} == {
        name: leaf.tobytes() for name, leaf in after.items()
    }
    assert program.metrics(workdir) == program.metrics(uninterrupted)


def test_kills_at_random_moments(start, run, tmp_path):
    kill_often(start, run, tmp_path, kills=3, seed=1)


def test_a_second_process_is_refused_and_the_first_goes_on(start, run, tmp_path):
    flags = (*LONG, "--config.train.steps=100000", f"--workdir={tmp_path / 'run'}")
    running = start(*flags)
    assert running.wait_for(r"step +20/")
    message = complaint(run(*flags))
    holder = f"process {running.process.pid} on {socket.gethostname()}"
    assert message == f"--workdir={tmp_path / 'run'} is in use by {holder}"
    assert program.status(tmp_path / "run")["state"] == "running"
    running.signal(signal.SIGTERM)
    assert running.wait().code == 0
    assert program.status(tmp_path / "run")["state"] == "preempted"


def test_a_full_disk_loses_nothing_that_was_saved(run, tmp_path):
    workdir = tmp_path / "run"
    flags = (
        *POINTS,
        "--config.generator.mlp.features=(700,700)",
        "--config.discriminator.mlp.features=(16,)",
        f"--workdir={workdir}",
    )
    succeeded(run(*flags, "--config.train.steps=2"))
    before = program.leaves(workdir, step=2)

    # No file may grow beyond this: a checkpoint cannot be written, all else can.
    ended = run(*flags, "--config.train.steps=4", largest_file=1_000_000)
    message = complaint(ended)
    assert message.startswith(f"Could not save step 4 in {workdir / 'checkpoints'}: ")
    assert "File too large" in message
    assert message.endswith("complete checkpoints: 2.")
    now = program.status(workdir)
    assert (now["state"], now["reason"]) == ("failed", message)
    assert program.checkpoints(workdir) == [2]
    after = program.leaves(workdir, step=2)
    assert all(after[name].tobytes() == leaf.tobytes() for name, leaf in before.items())

    succeeded(run(*flags, "--config.train.steps=4"))
    assert program.status(workdir)["state"] == "done"
    assert program.checkpoints(workdir) == [2, 4]
    assert not any(".orbax" in name for name in os.listdir(workdir / "checkpoints"))
