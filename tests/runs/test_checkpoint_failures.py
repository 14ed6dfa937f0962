"""A save that fails or is interrupted loses nothing, and is reported in one line."""

import logging
import shutil
import subprocess
import sys

import pytest

from gan_jax.errors import CheckpointError
from gan_jax.runs.checkpoint import Checkpoints
from tests.experiments import program
from tests.runs.checkpoints import save_steps

# One checkpoint of 4 MB fails; then there is room again. A limit on the size of files fails a write
# as a full disk does (EFBIG for ENOSPC), and needs no privileges.
FULL_DISK = """
import os, resource, signal, sys
import jax, jax.numpy as jnp, numpy as np
from gan_jax.errors import CheckpointError
from gan_jax.runs.checkpoint import Checkpoints

def state_of(step, size):
    # Random, so that compression does not make it small.
    return {"w": jax.device_put(np.random.default_rng(step).random(size, np.float32)),
            "step": jnp.asarray(step)}

directory = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoints = Checkpoints(directory, keep_latest=1)
checkpoints.save(1, state_of(1, 1000), {})
checkpoints.wait()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for how, kilobytes in ("wait", 1000), ("wait", 0.1), ("save", 1000), ("close", 1000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(kilobytes * 1000), hard))
    try:
        checkpoints.save(2, state_of(2, 1_000_000), {})
        if how == "save":
            checkpoints.save(3, state_of(3, 1000), {})
        else:
            getattr(checkpoints, how)()
        print("MISSED", how)
    except CheckpointError as error:
        print(error, checkpoints.steps())
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
with Checkpoints(directory, keep_latest=1) as checkpoints:
    wanted = {"w": jnp.zeros(1000), "step": jnp.asarray(0)}
    print("restored", int(checkpoints.restore(wanted).state["step"]))
    checkpoints.save(2, state_of(2, 1000), {})
    checkpoints.wait()
    print(checkpoints.steps(), os.listdir(directory))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path],
        env=program.environment(XLA_FLAGS=""),
        capture_output=True,
        text=True,
        timeout=program.LIMIT,
        check=True,
    )
    failed = f"Could not save step 2 in {tmp_path}: File too large; complete checkpoints: 1. [1]"
    assert ended.stdout.splitlines() == [failed] * 4 + ["restored 1", "[2] ['2']"]
    # Orbax's own report, pages long, is kept away from the user.
    assert ended.stderr == ""


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"Cannot keep checkpoints in .*/file/checkpoints: "):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_an_error_in_the_block_is_not_hidden_by_that_of_the_save(tmp_path, small, monkeypatch):
    checkpoints = Checkpoints(tmp_path)

    def fail() -> None:
        raise CheckpointError("disk full")

    monkeypatch.setattr(checkpoints, "wait", fail)
    with pytest.raises(ZeroDivisionError), checkpoints:
        raise ZeroDivisionError


def test_what_an_interrupted_save_left_is_removed_at_the_next_start(tmp_path, small):
    save_steps(tmp_path, small, [1])
    left = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", left)
    (left / "commit_success.txt").unlink()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(2, small, {})
    assert not left.exists()
    assert Checkpoints(tmp_path, read_only=True).steps() == [1, 2]


def test_the_later_errors_of_a_failed_write_are_not_logged(tmp_path, caplog):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.steps() == []
    log = logging.getLogger("asyncio")
    for one in (
        "Task finished coro=<_write() done, defined at /lib/orbax/checkpoint/handlers.py:1>",
        'Future finished exception=ValueError(\'OUT_OF_RANGE: Error writing "params/0.0" in OCDBT '
        'database at local file "/run/4.orbax-checkpoint-tmp/state/": File too large\')',
        "Future finished exception=ValueError('NOT_FOUND: [source locations=\"tensorstore/')",
    ):
        log.error("Future exception was never retrieved\nfuture: <%s>", one)
    assert caplog.records == []
    log.error("Task exception was never retrieved\nfuture: <Task finished of the user's>")
    log.error("/lib/orbax/checkpoint/handlers.py took long")
    assert len(caplog.records) == 2
