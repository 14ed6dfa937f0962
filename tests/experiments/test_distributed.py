"""Two processes with two devices each train as one process with four, whatever the layout."""

import os
import re
import signal
import subprocess
import sys
from unittest import mock

import jax
import numpy as np
import pytest

from gan_jax.evaluation import best
from gan_jax.report import evaluations
from gan_jax.runs import replicas
from tests.experiments import program, several
from tests.experiments.program import POINTS, call, complaint, succeeded

# Devices in one process sum in another order than those of several: float32 rounding, grown over
# the steps. SGD, because Adam hides gradients that are off by a factor.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
CONFIG = """
import os
from gan_jax.metrics import extractors
from tests.metrics import stub
from tests.training import tiny

def get_config():
    # New weights for each process, so that no statistics come from the cache.
    weights = f"process {os.getpid()}"
    extractors.EXTRACTORS["quarters"] = lambda setting: stub.extractor(weights=weights)
    config = tiny.sgd(tiny.image_config(critic_steps=1))
    config.train.update(batch_size=16, steps=6, log_every=2, checkpoint_every=6, sample_every=6)
    config.sample.num = 1
    config.eval.update(every=3, metrics=("quarters_fid", "quarters_recall"), num_fake=50)
    return config
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A configuration file: WGAN-GP with batch-norm in the generator, by plain SGD."""
    path = tmp_path_factory.mktemp("config") / "mine.py"
    path.write_text(CONFIG)
    return f"--config={path}"


@pytest.fixture(scope="module")
def one_process(config, run, tmp_path_factory):
    """The run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    succeeded(run(config, f"--workdir={workdir}", devices=4))
    return workdir


def assert_alike(a, b):
    one, other = program.leaves(a), program.leaves(b)
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, other[name], err_msg=name, **TOLERANCE)
    one, other = program.metrics(a), program.metrics(b)
    assert len(one) == len(other)
    for row, another in zip(one, other, strict=True):
        assert row == pytest.approx(another, rel=1e-4, abs=1e-5)
    one, other = (evaluations.read(path / "eval.jsonl") for path in (a, b))
    assert [row["step"] for row in one] == [row["step"] for row in other] == [3, 6]
    for row, another in zip(one, other, strict=True):
        for name in ("quarters_fid", "quarters_recall"):
            assert row[name] == pytest.approx(another[name], rel=1e-3, abs=1e-6)
    assert best.read(a).step == best.read(b).step


@pytest.mark.parametrize(
    "path",
    [
        pytest.param((), id="resident"),
        pytest.param(
            ("--config.data.device_cache_gib=0", "--config.data.workers=0"),
            marks=pytest.mark.slow,
            id="streamed",
        ),
    ],
)
def test_two_processes_train_as_one_and_only_the_first_writes(
    path, config, one_process, start, tmp_path
):
    # The directory of the second one does not exist, and is not needed.
    workdirs = [[f"--workdir={tmp_path / name}"] for name in ("run", "other")]
    processes = several.start(start, 2, config, *path, each=workdirs, devices=2)
    first, second = [process.wait() for process in processes]
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    assert re.search(r"devices +4 x cpu", first.out)
    assert "step 6/6" in first.out
    assert "step 6/6" not in second.out  # Only the first process reports.
    assert_alike(tmp_path / "run", one_process)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "layout",
    [
        ("--config.fsdp.devices=4", "--config.fsdp.min_size=16"),  # Over both processes.
        ("--config.train.replicas=2",),  # One in each process.
    ],
    ids=["fsdp", "replicas"],
)
@pytest.mark.slow
def test_two_processes_with_a_layout_train_as_one(layout, config, start, run, tmp_path):
    succeeded(run(config, f"--workdir={tmp_path / 'one'}", *layout, devices=4))
    two = f"--workdir={tmp_path / 'two'}"
    for process in several.start(start, 2, config, two, *layout, devices=2):
        ended = process.wait()
        assert ended.code == 0, ended.err
    count = int(layout[0].partition("replicas=")[2] or 1)
    pairs = (replicas.folders(tmp_path / name, count) for name in ("one", "two"))
    for one, other in zip(*pairs, strict=True):
        assert_alike(other, one)
    assert program.status(tmp_path / "two")["state"] == "done"

    if count == 1:  # One device goes on with a state that was sharded over processes.
        succeeded(call(config, two, "--config.train.steps=8", "--config.num_devices=1"))
        assert program.checkpoints(tmp_path / "two")[-1] == 8
        leaves = program.leaves(tmp_path / "two")
        assert all(np.all(np.isfinite(leaf)) for leaf in leaves.values())


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both(config, start, run, tmp_path):
    flags = (
        config,
        f"--workdir={tmp_path / 'run'}",
        "--config.train.steps_per_call=5",
        "--config.train.log_every=10",
        "--config.eval.every=15",
        "--config.train.checkpoint_every=100000",
        "--config.train.sample_every=100000",
    )
    processes = several.start(start, 2, *flags, "--config.train.steps=100000", devices=2)
    assert processes[0].wait_for(r"step +40/")
    processes[1].signal(signal.SIGTERM)
    for process in processes:
        ended = process.wait()
        assert ended.code == 0, ended.err
    now = program.status(tmp_path / "run")
    assert now["state"] == "preempted"
    assert now["reason"] == "SIGTERM"
    # The best one may be kept beside it.
    assert program.checkpoints(tmp_path / "run")[-1] == now["step"]

    # One process with one device goes on.
    last = now["step"] + 10
    succeeded(run(*flags, f"--config.train.steps={last}"))
    assert program.status(tmp_path / "run")["step"] == last


def test_pmap_is_refused_in_several_processes(config, tmp_path):
    flags = (config, f"--workdir={tmp_path / 'run'}", "--config.parallel=pmap")
    with mock.patch.object(jax, "process_count", return_value=2):
        message = complaint(call(*flags))
    assert message == 'parallel = "pmap" with 2 processes; accepted: "shard_map"'
    assert not (tmp_path / "run").exists()


LEAVING = """
from gan_jax import errors
from gan_jax.launch import distributed

print("written", end="")
distributed.leave(errors.ConfigError("one = 2; accepted: 1"), 3)
"""


@program.has_full
def test_a_process_can_leave_without_a_place_for_its_output():
    streams = f"1>{program.FULL} 2>&-"
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-c", LEAVING]
    left = subprocess.run(
        command,
        # A buffer, whose content is still to be written.
        env=program.environment(PYTHONUNBUFFERED=None),
        timeout=program.LIMIT,
        capture_output=True,
        check=False,
    )
    assert (left.returncode, left.stderr) == (3, b"")


def test_an_environment_that_jax_does_not_know_is_reported(config, run, tmp_path):
    message = complaint(run(config, f"--workdir={tmp_path / 'run'}", "--distributed=auto"))
    assert message.startswith("--distributed=auto could not start: ")
    assert "accepted: --distributed=explicit" in message


def test_a_start_timeout_names_what_to_check(run, tmp_path):
    alone = ("--distributed=explicit", "--coordinator=127.0.0.1:1", "--num_processes=2")
    flags = (*POINTS, f"--workdir={tmp_path / 'run'}", *alone, "--start_timeout=1")
    message = complaint(run(*flags, "--process_id=1"))
    assert message.startswith("not all processes of this run came together")
    assert "--coordinator" in message


@pytest.mark.slow
def test_processes_find_each_other_by_slurms_variables(start, tmp_path):
    # JAX derives the port from the job's number.
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost"}
    processes = [
        start(
            *POINTS,
            "--config.train.steps=2",
            f"--workdir={tmp_path / 'run'}",
            "--distributed=auto",
            **job,
            SLURM_NTASKS="2",
            SLURM_PROCID=str(i),
            SLURM_LOCALID=str(i),
        )
        for i in range(2)
    ]
    first, second = [process.wait() for process in processes]
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert re.search(r"devices +2 x cpu", first.out)
    assert "done at step 2" in first.out
    assert "done at step 2" not in second.out
