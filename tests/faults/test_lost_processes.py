"""A process of a run is killed or fails: the others end with a reason, and the run goes on."""

import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.experiments import program, several
from tests.experiments.program import call, complaint, succeeded

# As in tests/experiments/test_distributed.py: SGD, because Adam hides factors and grows rounding.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
STEPS = 60
CONFIG = f"""
import os, time
from gan_jax.report import progress
from tests.training import tiny

update = progress.Progress.update

def slowly(bar, step, losses):
    update(bar, step, losses)
    if step >= 24:
        time.sleep(float(os.environ["PAUSE"]))

if "PAUSE" in os.environ:
    progress.Progress.update = slowly

def get_config():
    config = tiny.sgd(tiny.point_config())
    config.train.update(
        steps={STEPS}, log_every=2, checkpoint_every=10, sample_every=100000, keep_every=10
    )
    config.sample.num = 1
    return config
"""
GONE = "killed, cut off, or ended by an error that it reported itself"
# JAX needs several times the limit of its heartbeats where only these fail.
LIMIT = program.LIMIT


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A configuration file: MLPs on points of the plane, by plain SGD."""
    path = tmp_path_factory.mktemp("config") / "mine.py"
    path.write_text(CONFIG)
    return f"--config={path}"


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    """The uninterrupted run of one process with one device."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    succeeded(call(config, f"--workdir={workdir}", "--config.num_devices=1"))
    return workdir


def assert_alike(a, b):
    one, other = program.leaves(a), program.leaves(b)
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, other[name], err_msg=name, **TOLERANCE)
    rows = {row["step"]: row for row in program.metrics(a)}
    others = {row["step"]: row for row in program.metrics(b)}
    assert list(rows) == list(others) == list(range(2, STEPS + 1, 2))
    for step, row in rows.items():
        assert row == pytest.approx(others[step], rel=1e-3, abs=1e-4)


def finish(start, config, workdir, processes, devices):
    """Continue a run on some processes, with some devices each; a single process is this one."""
    flags = (config, f"--workdir={workdir}")
    if processes == 1:
        succeeded(call(*flags, f"--config.num_devices={devices}"))
    else:
        for process in several.start(start, processes, *flags, devices=devices):
            ended = process.wait()
            assert ended.code == 0, ended.err
    assert program.status(workdir)["state"] == "done"


@pytest.mark.parametrize(
    ("processes", "devices", "victim", "later"),
    [
        pytest.param(2, 1, 1, [(1, 1)], id="2 processes lose number 1"),
        pytest.param(
            4,
            1,
            2,
            [(1, 1), (2, 1)],
            id="4 processes lose number 2",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            2, 2, 0, [(4, 1)], id="2 processes lose number 0", marks=pytest.mark.exhaustive
        ),
    ],
)
@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_goes_on(
    processes, devices, victim, later, config, uninterrupted, start, tmp_path
):
    workdir = tmp_path / "run"
    # From step 24 on so slow that the kill comes before the end.
    slow = {number: {"PAUSE": "2"} for number in range(processes)}
    flags = (config, f"--workdir={workdir}", "--peer_timeout=10")
    running = several.start(start, processes, *flags, devices=devices, options=slow)
    # The save of step 10 is complete when that of step 20 has begun.
    assert running[0].wait_for(r"step +24/")
    running[victim].signal(signal.SIGKILL)
    assert running[victim].wait().code == -signal.SIGKILL
    deadline = time.monotonic() + LIMIT
    for number, process in enumerate(running):
        if number != victim:
            message = complaint(process.wait(deadline - time.monotonic()))
            assert GONE in message
            assert f"process {victim} is gone" in message or "another process is gone" in message
            assert "the same command" in message
    now = program.status(workdir)
    if victim:
        assert (now["state"], GONE in now["reason"]) == ("failed", True)
    assert 10 in program.checkpoints(workdir)
    assert now["step"] is None or now["step"] < STEPS

    for number, (count, each) in enumerate(later):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(workdir, copy)
        finish(start, config, copy, count, each)
        assert_alike(copy, uninterrupted)


# Stands for a run whose collective operations wait for a lost process without end, as on GPUs.
WAITING = """
import sys, time
from gan_jax.report.status import Status
from gan_jax.launch import supervisor

_, workdir, number, address = sys.argv
supervisor.supervise(workdir)
from gan_jax.launch import distributed

distributed.start(distributed.Launch("explicit", address, 2, int(number), peer_timeout=10))
if number == "0":
    Status(workdir).write("running", "", 42, 100)
print("together", flush=True)
time.sleep(1000)
"""


@pytest.mark.slow
def test_a_process_that_waits_for_a_lost_one_is_ended_after_a_silence(start, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "run" / "checkpoints" / "40").mkdir(parents=True)
    address = several.free_address()
    first, second = [
        start(tmp_path / "run", str(i), address, module="waiting", cwd=tmp_path) for i in range(2)
    ]
    assert first.wait_for("together")
    assert second.wait_for("together")
    second.signal(signal.SIGKILL)
    message = complaint(first.wait(LIMIT))
    assert message.startswith(f"process 1 is gone ({GONE})")
    assert message.endswith("goes on from step 40")
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"], now["step"]) == ("failed", message, 42)


# A mistake that all processes find, one of them late.
MISTAKEN = """
import sys, time
from gan_jax.launch import supervisor

_, workdir, number, address = sys.argv
supervisor.supervise(workdir)
import jax
from experiments import command_line
from gan_jax import errors
from gan_jax.launch import distributed

# Whatever keeps the other from running, it is waited for.
distributed._REPORT_SECONDS = 100.0
distributed.start(distributed.Launch("explicit", address, 2, int(number), peer_timeout=60))
assert jax.device_count() == 2
time.sleep(2 * int(number))
error = errors.ConfigError("one = 2; accepted: 1")
distributed.leave(error, command_line.report(error))
"""


@pytest.mark.slow
def test_process_0_ends_last_so_that_all_can_tell_the_same_mistake(start, tmp_path):
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    address = several.free_address()
    both = [
        start(tmp_path / "run", str(i), address, module="mistaken", cwd=tmp_path) for i in range(2)
    ]
    assert [complaint(process.wait()) for process in both] == ["one = 2; accepted: 1"] * 2


def image_folder(path):
    """Write 64 images of 8x8, the same ones always."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(64):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path / f"{i:03d}.png")
    return path


@pytest.mark.slow
def test_a_process_that_fails_takes_the_others_along_and_they_say_why(start, tmp_path):
    workdir = tmp_path / "run"
    flags = (
        "--config=configs/gan.py:smoke",
        "--config.optimizer.generator.schedule.name=constant",
        "--config.optimizer.discriminator.schedule.name=constant",
        "--config.optimizer.encoder.schedule.name=constant",
        "--config.data.name=folder",
        "--config.data.resolution=8",
        "--config.data.device_cache_gib=0",
        "--config.data.workers=0",
        "--config.train.batch_size=16",
        "--config.train.log_every=2",
        "--config.train.checkpoint_every=10",
        "--config.train.sample_every=100000",
        "--config.sample.num=1",
        f"--workdir={workdir}",
    )
    # Two hosts with the data on disks of their own, one of which fails.
    folders = [image_folder(tmp_path / f"host-{i}" / "photos") for i in range(2)]
    paths = [[f"--config.data.path={folder}"] for folder in folders]
    running = several.start(start, 2, *flags, "--config.train.steps=100000", each=paths)
    # The save of step 10 is complete when that of step 20 has begun.
    assert running[0].wait_for(r"step +24/")
    for file in folders[1].iterdir():
        file.unlink()
    first, second = [process.wait(LIMIT) for process in running]
    reason = complaint(second)
    assert str(folders[1]) in reason
    assert complaint(first).startswith(f"process 1 has failed: {reason}. This process is well: ")
    now = program.status(workdir)
    assert (now["state"], now["reason"]) == ("failed", complaint(first))
    saved = program.checkpoints(workdir)
    assert saved

    last = f"--config.train.steps={saved[-1] + 20}"
    succeeded(call(*flags, last, *paths[0], "--config.num_devices=1"))
    assert program.checkpoints(workdir)[-1] == saved[-1] + 20
