"""Numbers that are not finite, too little memory, and repeated signals."""

import resource
import signal
import time
from pathlib import Path

import pytest

from gan_jax.training import optimizers
from tests.experiments import program
from tests.experiments.program import POINTS, assert_same_run, call, complaint, succeeded
from tests.faults.scenario import FLAGS

pytestmark = pytest.mark.slow

# The gradients of the generator are NaN from one step on; both players move once per step.
NAN_CONFIG = """
import jax
import jax.numpy as jnp
import optax
from gan_jax.training import optimizers
from tests.training import tiny

def nan_from(step):
    def update(gradients, count, params=None):
        bad = jnp.where(count >= step, jnp.nan, 0.0)
        return jax.tree.map(lambda g: g + bad, gradients), count + 1
    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)

def get_config():
    optimizers.OPTIMIZERS["sgd"] = lambda rate: optax.chain(nan_from(25), optax.sgd(rate))
    config = tiny.sgd(tiny.point_config())
    config.train.update(steps=60, log_every=5, checkpoint_every=10, sample_every=100000)
    config.sample.num = config.num_devices = 1
    return config
"""


def test_gradients_that_are_not_numbers_stop_the_run_at_its_last_good_checkpoint(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(optimizers, "OPTIMIZERS", dict(optimizers.OPTIMIZERS))
    (tmp_path / "mine.py").write_text(NAN_CONFIG)
    flags = (f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}")
    message = complaint(call(*flags))
    assert "not finite" in message
    assert "the last good checkpoint is of step 20" in message
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"]) == ("diverged", message)
    good = program.files(tmp_path / "run" / "checkpoints" / "20")

    # The same command again: it diverges again, and overwrites nothing good.
    assert complaint(call(*flags)) == message
    assert program.checkpoints(tmp_path / "run")[-1] == 20
    assert program.files(tmp_path / "run" / "checkpoints" / "20") == good


def test_too_large_a_batch_is_reported_with_its_size_and_what_helps(tmp_path):
    # 2 million points through 4096 units are 32 GiB, of which the process may have 12 more.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    flags = (
        *POINTS,
        "--config.train.batch_size=2097152",
        "--config.generator.mlp.features=(4096,)",
        "--config.train.steps=2",
        f"--workdir={tmp_path / 'run'}",
    )
    with program.limited(resource.RLIMIT_AS, pages * resource.getpagesize() + 12 * 2**30):
        message = complaint(call(*flags))
    assert message.startswith("out of device memory (")
    assert "train.batch_size = 2097152 is on one device" in message
    assert "train.accumulate = 2" in message
    now = program.status(tmp_path / "run")
    assert (now["state"], now["reason"]) == ("failed", message)


# The program on a disk that is slow for as long as there is a certain file.
SLOW_DISK = """
import os, pathlib, time
from experiments import command_line, main
from gan_jax.runs.checkpoint import Checkpoints

slow, wait = pathlib.Path(os.environ["SLOW"]), Checkpoints.wait

def wait_for_the_disk(checkpoints):
    if slow.exists():
        print("the disk is slow", flush=True)
    while slow.exists():
        time.sleep(0.01)
    wait(checkpoints)

Checkpoints.wait = wait_for_the_disk
command_line.run(main._main)
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        # tests/runs/test_preemption.py has the second Ctrl-C in this process.
        pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive),
    ],
)
def test_a_second_signal_during_the_save_loses_nothing(number, start, tmp_path):
    (tmp_path / "slow_disk.py").write_text(SLOW_DISK)
    slow = tmp_path / "slow"
    running = start(
        *FLAGS,
        "--config.train.steps=100000",
        f"--workdir={tmp_path / 'run'}",
        module="slow_disk",
        PYTHONPATH=f"{tmp_path}:{program.REPO}",
        SLOW=str(slow),
    )
    # The save of step 20 is complete when that of step 40 has begun.
    assert running.wait_for(r"step +45/")
    slow.touch()
    running.signal(number)
    assert running.wait_for("the disk is slow")
    if number == signal.SIGTERM:
        # It comes again and again, as schedulers do it: while it saves, and until the end.
        for i in range(1000):
            running.signal(number)
            time.sleep(0.01)
            if i == 50:
                slow.unlink()
            if running.ended:
                break
    else:
        time.sleep(1.5)  # two within a second count as one
        running.signal(number)
        time.sleep(0.1)
        slow.unlink()
    ended = running.wait()
    if number == signal.SIGTERM:
        assert (ended.code, ended.err) == (0, "")
        now = program.status(tmp_path / "run")
        assert (now["state"], now["reason"]) == ("preempted", "SIGTERM")
        assert program.checkpoints(tmp_path / "run")[-1] == now["step"]
    else:
        # The second Ctrl-C does not wait for the end of the step. On a machine that is busy with
        # other things, both may come as one, or the second after the program's own end.
        assert ended.code in (0, 130, -signal.SIGINT)
        assert program.checkpoints(tmp_path / "run")[-1] >= 20
    last = program.checkpoints(tmp_path / "run")[-1]
    steps = f"--config.train.steps={last + 20}"
    succeeded(call(*FLAGS, steps, f"--workdir={tmp_path / 'run'}"))
    succeeded(call(*FLAGS, steps, f"--workdir={tmp_path / 'whole'}"))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
