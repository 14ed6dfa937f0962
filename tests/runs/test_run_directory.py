"""Who may write to a run's directory, and what is told where nobody can."""

import errno
import fcntl
import os
import re
import subprocess
import sys

import pytest

from gan_jax import errors
from gan_jax.runs import run_directory
from gan_jax.runs.run_directory import RunDirectory
from tests.experiments import program


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_as_such(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    message = f"--workdir={tmp_path} cannot be locked: {os.strerror(number)}; accepted: "
    with pytest.raises(errors.WorkdirError, match=re.escape(message) + ".* flock"):
        RunDirectory(tmp_path).claim()


def test_a_holder_that_lets_go_at_once_is_waited_for_and_another_is_named(tmp_path, monkeypatch):
    holder = RunDirectory(tmp_path)
    holder.claim()
    pauses = []
    monkeypatch.setattr(run_directory.time, "sleep", pauses.append)
    with pytest.raises(errors.WorkdirError, match=rf"is in use by process {os.getpid()} on "):
        RunDirectory(tmp_path).claim()
    assert 0.4 < sum(pauses) < 1

    monkeypatch.setattr(run_directory.time, "sleep", lambda seconds: holder.release())
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


def test_a_new_lock_on_a_full_disk_is_told_and_given_back(tmp_path):
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
