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
from gan_jax.metrics import extractors
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
    config.train.update(batch_size=16, steps=6, log_every=3, checkpoint_every=6, sample_every=6)
    config.sample.num = 1
    config.eval.update(every=3, metrics=("quarters_fid", "quarters_recall"), num_fake=50)
    return config
"""


@pytest.fixture(scope="module", autouse=True)
def extractors_restored():
    """Remove at the end the extractor that reading the configuration file adds."""
    with mock.patch.dict(extractors.EXTRACTORS):
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A configuration file: WGAN-GP with batch-norm in the generator, by plain SGD."""
    path = tmp_path_factory.mktemp("config") / "mine.py"
    path.write_text(CONFIG)
    return f"--config={path}"


@pytest.fixture(scope="module")
def one_process(config, tmp_path_factory):
    """The run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    succeeded(call(config, f"--workdir={workdir}", "--config.num_devices=4"))
    return workdir


def assert_alike(a, b):
    """Assert that a run has, up to the step where another ended, the other's state and numbers."""
    last = program.status(b)["step"]
    one, other = program.leaves(a, last), program.leaves(b)
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, other[name], err_msg=name, **TOLERANCE)
    one, other = program.metrics(a), program.metrics(b)
    assert [row["step"] for row in other] == [3, 6]
    for row, another in zip(one, other, strict=False):
        assert row == pytest.approx(another, rel=1e-4, abs=1e-5)
    one, other = (evaluations.read(path / "eval.jsonl") for path in (a, b))
    assert [row["step"] for row in other] == [3, 6]
    for row, another in zip(one, other, strict=False):
        assert row["step"] == another["step"]
        for name in ("quarters_fid", "quarters_recall"):
            assert row[name] == pytest.approx(another[name], rel=1e-3, abs=1e-6)


def goes_on_with_one_device(config, workdir, *flags):
    """Continue a run in this process; assert that it ends well."""
    last = program.status(workdir)["step"] + 3
    flags = (*flags, f"--config.train.steps={last}", "--config.num_devices=1")
    succeeded(call(config, f"--workdir={workdir}", *flags))
    assert program.checkpoints(workdir)[-1] == last
    assert all(np.all(np.isfinite(leaf)) for leaf in program.leaves(workdir).values())


@pytest.mark.slow
def test_two_processes_train_as_one_until_a_signal_to_one_stops_both(
    config, one_process, start, tmp_path
):
    # The directory of the second one does not exist, and is not needed.
    workdirs = [[f"--workdir={tmp_path / name}"] for name in ("run", "other")]
    flags = ("--config.train.steps_per_call=3", "--config.train.keep_every=6")
    endless = (*flags, "--config.train.steps=300000")
    processes = several.start(start, 2, config, *endless, each=workdirs, devices=2)
    assert processes[0].wait_for(r"step +9/")
    processes[1].signal(signal.SIGTERM)
    first, second = [process.wait() for process in processes]
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    assert re.search(r"devices +4 x cpu", first.out)
    assert re.search(r"step +6/", first.out)
    assert not re.search(r"step +6/", second.out)  # Only the first process reports, and writes.
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    run = tmp_path / "run"
    now = program.status(run)
    assert (now["state"], now["reason"]) == ("preempted", "SIGTERM")
    assert program.checkpoints(run)[-1] == now["step"]
    assert_alike(run, one_process)
    goes_on_with_one_device(config, run, *flags)


@pytest.mark.slow
def test_two_processes_that_stream_and_share_the_state_train_as_one(
    config, one_process, start, tmp_path
):
    flags = (
        f"--workdir={tmp_path}",
        "--config.data.device_cache_gib=0",
        "--config.data.workers=0",
        "--config.fsdp.devices=4",  # Over both processes.
        "--config.fsdp.min_size=16",
    )
    for process in several.start(start, 2, config, *flags, devices=2):
        ended = process.wait()
        assert ended.code == 0, ended.err
    assert program.status(tmp_path)["state"] == "done"
    assert_alike(tmp_path, one_process)
    assert best.read(tmp_path).step == best.read(one_process).step
    goes_on_with_one_device(config, tmp_path, "--config.data.device_cache_gib=0")


@pytest.mark.slow
def test_a_replica_in_each_process_that_slurms_variables_name(config, start, tmp_path):
    # Each replica is in one process: networks that share nothing between devices will do.
    mlp = [f"--config.{role}.name=mlp" for role in ("generator", "discriminator")]
    flags = (config, *mlp, "--config.train.replicas=2")
    succeeded(call(*flags, f"--workdir={tmp_path / 'one'}", "--config.num_devices=4"))
    # JAX derives the port from the job's number.
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost"}
    processes = [
        start(
            *flags,
            f"--workdir={tmp_path / 'two'}",
            "--distributed=auto",
            devices=2,
            **job,
            SLURM_NTASKS="2",
            SLURM_PROCID=str(i),
            SLURM_LOCALID=str(i),
        )
        for i in range(2)
    ]
    first, second = [process.wait() for process in processes]
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "done at step 6" in first.out
    assert "done at step 6" not in second.out
    assert program.status(tmp_path / "two")["state"] == "done"
    pairs = (replicas.folders(tmp_path / name, 2) for name in ("one", "two"))
    for one, other in zip(*pairs, strict=True):
        assert_alike(other, one)


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


@pytest.mark.slow
def test_an_environment_that_jax_does_not_know_is_reported(config, run, tmp_path):
    message = complaint(run(config, f"--workdir={tmp_path / 'run'}", "--distributed=auto"))
    assert message.startswith("--distributed=auto could not start: ")
    assert "accepted: --distributed=explicit" in message


@pytest.mark.slow
def test_a_start_timeout_names_what_to_check(run, tmp_path):
    alone = ("--distributed=explicit", "--coordinator=127.0.0.1:1", "--num_processes=2")
    flags = (*POINTS, f"--workdir={tmp_path / 'run'}", *alone, "--start_timeout=1")
    message = complaint(run(*flags, "--process_id=1"))
    assert message.startswith("not all processes of this run came together")
    assert "--coordinator" in message
