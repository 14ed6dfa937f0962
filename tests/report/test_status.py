"""status.json has the state of a run, and environment.json what it ran on, at any moment."""

import datetime
import json
import os
import subprocess

import jax
import numpy as np
import pytest

import gan_jax
from gan_jax.errors import WorkdirError
from gan_jax.report import environment
from gan_jax.report.status import STATES, Status


@pytest.mark.parametrize("state", STATES)
def test_what_is_written_is_read(tmp_path, state):
    status = Status(tmp_path / "run")
    assert status.read() is None
    status.write(state, "because", step=3, total_steps=10)
    read = Status(tmp_path / "run").read()
    assert read is not None
    started = datetime.datetime.fromisoformat(read.pop("started"))
    updated = datetime.datetime.fromisoformat(read.pop("updated"))
    assert started <= updated
    assert abs(datetime.datetime.now(datetime.UTC) - updated) < datetime.timedelta(minutes=1)
    assert read.pop("host")
    assert read == {
        "state": state,
        "reason": "because",
        "step": 3,
        "total_steps": 10,
        "pid": os.getpid(),
    }
    assert os.listdir(tmp_path / "run") == ["status.json"]


def test_an_unknown_state_is_refused_and_a_broken_file_named(tmp_path):
    status = Status(tmp_path)
    with pytest.raises(ValueError, match="'crashed'; accepted: running, preempted, diverged"):
        status.write("crashed")
    for content in ("{", "[]", '{"state": "odd"}'):
        status.path.write_text(content)
        with pytest.raises(WorkdirError, match=r"Cannot read .*status\.json"):
            status.read()


def test_a_failed_write_keeps_the_old_status(tmp_path, monkeypatch):
    status = Status(tmp_path)
    status.write("running", step=1)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WorkdirError, match="No space left"):
        status.write("done", step=2)
    assert (status.read() or {})["state"] == "running"


def test_environment_is_recorded_at_every_start(tmp_path):
    first = environment.record(tmp_path, ["main.py", "--config=a"])
    environment.record(tmp_path, ["main.py", "--config=b"])
    entries = json.loads((tmp_path / "environment.json").read_text())
    assert [entry["argv"][1] for entry in entries] == ["--config=a", "--config=b"]
    assert entries[0] == first
    assert first["packages"]["jax"] == jax.__version__
    assert first["packages"]["numpy"] == np.__version__
    assert all(first["packages"][name] for name in ("flax", "optax", "orbax-checkpoint"))
    assert first["gan_jax"] == gan_jax.__version__
    assert first["backend"] == "cpu"
    assert sum(first["devices"].values()) == len(jax.devices()) == 8
    assert first["processes"] == 1
    assert first["workdir"] == str(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_broken_environment_file_stops_no_run(tmp_path, caplog, content):
    (tmp_path / "environment.json").write_text(content)
    environment.record(tmp_path)
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 1
    assert "and is replaced" in caplog.text


def test_the_commit_is_that_of_the_code_and_marks_changes(tmp_path, monkeypatch):
    package = tmp_path / "checkout" / "gan_jax"
    package.mkdir(parents=True)
    source = package / "__init__.py"
    source.write_text("")
    monkeypatch.setattr(gan_jax, "__file__", str(source))

    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com", *arguments]
        done = subprocess.run(
            command, cwd=package.parent, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit():
        return environment.describe(tmp_path)["commit"]

    assert commit() is None  # no checkout
    git("init", "--quiet")
    assert commit() is None  # nothing committed
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    assert commit() == git("rev-parse", "HEAD")
    source.write_text("changed = True")
    assert commit() == git("rev-parse", "HEAD") + "+"
    # A copy installed somewhere inside a checkout is not that checkout's code.
    installed = package.parent / "site-packages" / "gan_jax" / "__init__.py"
    monkeypatch.setattr(gan_jax, "__file__", str(installed))
    assert commit() is None
