"""The lock of a run's directory, and the errors of file systems."""

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading

import pytest

from gan_jax import errors
from gan_jax.report import lock
from gan_jax.runs.run_directory import RunDirectory
from tests.experiments import program


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_reported(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    message = f"--workdir={tmp_path} cannot be locked: {os.strerror(number)}"
    with pytest.raises(errors.WorkdirError, match=re.escape(message)):
        RunDirectory(tmp_path).claim()


def test_a_second_process_is_refused_and_the_holder_named(tmp_path):
    holder = RunDirectory(tmp_path)
    holder.claim()
    with pytest.raises(errors.WorkdirError, match=rf"is in use by process {os.getpid()} on "):
        RunDirectory(tmp_path).claim()
    assert lock.holder(tmp_path).startswith(f"process {os.getpid()} on ")
    # A short look at the lock by another process, as `lock.holder` takes, is waited for.
    threading.Timer(0.2, holder.release).start()
    mine = RunDirectory(tmp_path)
    mine.claim()
    mine.release()
    assert lock.holder(tmp_path) is None


HOLD = """
import sys, time
from gan_jax.runs.run_directory import RunDirectory

run = RunDirectory(sys.argv[1])
run.claim()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        env=program.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    assert lock.holder(tmp_path).startswith(f"process {holder.pid} on ")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    mine = RunDirectory(tmp_path)
    mine.claim()
    mine.release()


# Stands for a full disk, whose first bytes are those of the lock.
FULL = """
import resource, sys
from gan_jax import errors
from gan_jax.runs.run_directory import RunDirectory

most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
run = RunDirectory(sys.argv[1])
try:
    run.claim()
except errors.WorkdirError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    RunDirectory(sys.argv[1]).claim()
    print(error)
"""


@pytest.mark.slow
def test_a_new_lock_on_a_full_disk_is_reported_and_given_back(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "run"],
        env=program.environment(),
        capture_output=True,
        text=True,
        timeout=program.LIMIT,
        check=False,
    )
    message = f"--workdir={tmp_path / 'run'} cannot be written to: File too large\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, message, "")


def test_the_parent_of_a_branch_may_be_named_in_another_way(tmp_path):
    parent, branch = RunDirectory(tmp_path / "parent"), RunDirectory(tmp_path / "branch")
    (branch.checkpoints / "4").mkdir(parents=True)
    (tmp_path / "link").symlink_to(parent.path)
    branch.write_origin({"run": str(tmp_path / "link"), "step": 2, "kimg": 0.1})
    for name in ("link", "parent", "branch/../parent"):
        branch.check_origin(f"{tmp_path / name}@2")
    with pytest.raises(errors.WorkdirError, match=r"continues .*link@2, not --continue_from="):
        branch.check_origin(f"{tmp_path / 'other'}@2")
