"""Two processes with two devices each, and four with one, are one process with four."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from gan_jax.evaluation import best
from gan_jax.report import evaluations
from tests.experiments import program, several
from tests.experiments.program import POINTS, complaint, succeeded

# Devices in one process sum in another order than those of several: float32 rounding, grown over
# the steps. SGD, because Adam hides gradients that are off by a factor.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
CONFIG = """
import os
from gan_jax.metrics import extractors
from tests.metrics import stub
from tests.training import tiny

def get_config():
    # Weights that nobody has seen: what is measured cannot come from the cache.
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
            id="threads",
        ),
        pytest.param(("--config.data.device_cache_gib=0",), marks=pytest.mark.slow, id="workers"),
    ],
)
def test_two_processes_train_as_one(path, config, one_process, start, tmp_path):
    processes = several.start(start, 2, config, f"--workdir={tmp_path / 'run'}", *path, devices=2)
    first, second = [process.wait() for process in processes]
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    assert re.search(r"devices +4 x cpu", first.out)
    assert "step 6/6" in first.out
    assert "step 6/6" not in second.out  # one process tells the story
    assert_alike(tmp_path / "run", one_process)


@pytest.mark.slow
def test_four_processes_train_as_one_and_only_the_first_writes(
    config, one_process, start, tmp_path
):
    # The others are told of a directory that does not exist, and must never miss it.
    workdirs = [[f"--workdir={tmp_path / name}"] for name in ("run", "1", "2", "3")]
    for process in several.start(start, 4, config, each=workdirs):
        ended = process.wait()
        assert ended.code == 0, ended.err
    assert_alike(tmp_path / "run", one_process)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("number", "together"),
    [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 5)],
    ids=["SIGTERM", "SIGINT", "SIGTERM where a call takes 5 steps"],
)
@pytest.mark.slow
def test_a_signal_to_one_process_stops_both(number, together, config, start, run, tmp_path):
    flags = (
        config,
        f"--workdir={tmp_path / 'run'}",
        f"--config.train.steps_per_call={together}",
        f"--config.train.log_every={2 * together}",
        f"--config.eval.every={3 * together}",
        "--config.train.checkpoint_every=100000",
        "--config.train.sample_every=100000",
    )
    processes = several.start(start, 2, *flags, "--config.train.steps=100000", devices=2)
    assert processes[0].wait_for(rf"step +{8 * together}/")
    processes[1].signal(number)
    for process in processes:
        ended = process.wait()
        assert ended.code == 0, ended.err
    now = program.status(tmp_path / "run")
    assert now["state"] == "preempted"
    assert now["reason"] == "SIGTERM"
    # The best one may be kept beside it.
    assert program.checkpoints(tmp_path / "run")[-1] == now["step"]

    # One process with one device goes on.
    last = now["step"] + 2 * together
    succeeded(run(*flags, f"--config.train.steps={last}"))
    assert program.status(tmp_path / "run")["step"] == last


@pytest.mark.slow
def test_pmap_is_refused_in_several_processes(config, start, tmp_path):
    flags = (config, f"--workdir={tmp_path / 'run'}", "--config.parallel=pmap")
    processes = several.start(start, 2, *flags, devices=2)
    for process in processes:
        message = complaint(process.wait())
        assert message == 'parallel = "pmap" with 2 processes; accepted: "shard_map"'
    assert not (tmp_path / "run").exists()


LEAVING = """
from gan_jax import errors
from gan_jax.launch import distributed

print("written", end="")
distributed.leave(errors.ConfigError("one = 2; accepted: 1"), 3)
"""


@pytest.mark.parametrize("stream", [f"1>{program.FULL}", "1>&-", "2>&-"])
@program.has_full
def test_a_process_can_leave_where_nobody_takes_its_words(stream):
    command = ["sh", "-c", f'exec "$@" {stream}', "sh", sys.executable, "-c", LEAVING]
    left = subprocess.run(
        command,
        # A buffer, whose content is still to be written.
        env=program.environment(PYTHONUNBUFFERED=None),
        timeout=program.LIMIT,
        capture_output=True,
        check=False,
    )
    assert (left.returncode, left.stderr) == (3, b"")


def test_an_environment_that_jax_does_not_know_is_told(config, run, tmp_path):
    message = complaint(run(config, f"--workdir={tmp_path / 'run'}", "--distributed=auto"))
    assert message.startswith("--distributed=auto could not start: ")
    assert "accepted: --distributed=explicit" in message


def test_a_process_that_waits_in_vain_says_for_what(run, tmp_path):
    alone = ("--distributed=explicit", "--coordinator=127.0.0.1:1", "--num_processes=2")
    flags = (*POINTS, f"--workdir={tmp_path / 'run'}", *alone, "--start_timeout=1")
    message = complaint(run(*flags, "--process_id=1"))
    assert message.startswith("not all processes of this run came together")
    assert "--coordinator" in message


@pytest.mark.slow
def test_slurm_tells_the_processes_who_they_are(start, tmp_path):
    # JAX makes the port of the job's number.
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
