"""One run: how its end is judged, tried again, stopped, and never left behind."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gan_jax import errors
from gan_jax.report import evaluations, lock
from gan_jax.sweeps import execution
from tests.experiments.program import REPO, environment
from tests.sweeps.conftest import PLAN, make_sweep, starts

LIMIT = 60.0


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Look at a run more often than a sweep has to."""
    monkeypatch.setattr(execution, "_POLL_SECONDS", 0.02)


def task_of(folder, **overrides):
    sweep = make_sweep(lambda add: add("run", **overrides))
    return execution.make_task(sweep, folder, sweep.runs[0], PLAN)


def never():
    return False


def wait_for(condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps(folder):
    return [row["step"] for row in evaluations.read(folder.run("run") / "eval.jsonl")]


@pytest.mark.parametrize(
    ("mode", "state", "reason", "started"),
    [
        ("good", "done", "", 1),
        ("fails_once", "done", "", 2),
        ("killed_once", "done", "", 2),
        ("fails", "failed", "the disk is full", 3),
        ("diverges", "diverged", "the loss is not finite", 1),
        ("refused", "refused", "loss.name = 'x' is unknown", 1),
    ],
)
def test_what_is_worth_another_attempt_gets_one(mode, state, reason, started, folder, capsys):
    outcome = execution.execute(task_of(folder, mode=mode), 2, never)
    assert outcome == execution.Outcome(state, reason)
    assert starts(folder, "run") == started
    attempts = execution.read_attempts(folder, "run")
    assert len(attempts) == started
    assert attempts[-1]["state"] == state
    if mode.endswith("_once"):
        # It went on where it had been.
        assert steps(folder) == [1, 2, 3, 4]
        assert "resuming from its checkpoint" in capsys.readouterr().out


def test_what_is_settled_is_not_started_again(folder):
    for mode in ("good", "diverges"):
        task = task_of(folder, mode=mode)
        first = execution.execute(task, 2, never)
        assert execution.execute(task, 2, never) == first
        assert starts(folder, "run") == 1
        (folder.run("run") / "starts").unlink()
        (folder.run("run") / "status.json").unlink()
        (folder.run("run") / "step").unlink()


@pytest.mark.slow
def test_a_run_that_is_stopped_saves_and_the_next_one_goes_on(folder):
    task = task_of(folder, pause=0.3)
    outcome = execution.execute(task, 2, lambda: len(steps(folder)) >= 2)
    assert outcome == execution.Outcome("preempted", "SIGTERM")
    before = steps(folder)
    assert 2 <= len(before) < 4
    assert execution.execute(task, 2, never).state == "done"
    assert steps(folder) == [1, 2, 3, 4]
    assert starts(folder, "run") == 2


def test_a_run_that_does_not_stop_is_killed(folder):
    stubborn = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path('ready').touch(); time.sleep(600)"
    )
    folder.path.mkdir(parents=True)
    command = (sys.executable, "-c", stubborn)
    one = execution.Execution(
        execution.Task("run", str(folder.path), command, str(folder.path), {})
    )
    assert one.poll() is None
    wait_for((folder.path / "ready").exists)
    assert one.stop(grace=0.2) == execution.Outcome("failed", "ended by SIGKILL")


@pytest.mark.slow
def test_a_run_waits_for_what_still_holds_its_directory(folder):
    first = execution.Execution(task_of(folder, pause=0.3))
    assert first.poll() is None
    wait_for(lambda: lock.holder(folder.run("run")))
    second = execution.Execution(task_of(folder, pause=0.3))
    assert second.poll() is None
    assert starts(folder, "run") == 1
    assert first.stop().state == "preempted"
    assert lock.holder(folder.run("run")) is None
    while second.poll() is None:
        time.sleep(0.02)
    assert second.poll() == execution.Outcome("done")
    assert starts(folder, "run") == 2
    assert steps(folder) == [1, 2, 3, 4]


def test_what_cannot_say_how_it_ended_is_judged_by_its_last_words(folder):
    command = (sys.executable, "-c", "raise ValueError('oh')")
    task = execution.Task("run", str(folder.path), command, str(REPO), {})
    outcome = execution.execute(task, 0, never)
    assert outcome == execution.Outcome("failed", "ended with exit code 1: ValueError: oh")


def ends_with(folder, words):
    """Execute what prints some words and ends with 1; return how that is judged."""
    command = (sys.executable, "-c", f"print({words!r}, end=''); raise SystemExit(1)")
    task = execution.Task("run", str(folder.path), command, str(REPO), {})
    return execution.execute(task, 0, never)


def test_the_heading_of_the_log_is_not_a_run_s_last_word(folder):
    ended = execution.Outcome("failed", "ended with exit code 1: ")
    assert [ends_with(folder, "") for _ in range(2)] == [ended] * 2
    assert ends_with(folder, "a\n== b\nc").reason.endswith(": c")


def test_a_disk_that_is_full_at_the_start_is_worth_another_attempt(folder):
    reason = f"Cannot write status.json: {os.strerror(errno.ENOSPC)} (make room, ...)"
    assert ends_with(folder, f"error: {reason}\n") == execution.Outcome("failed", reason)


def test_attempts_are_reported_whatever_becomes_of_their_record(folder):
    file = folder.attempts("run")
    file.parent.mkdir(parents=True)
    # A crash has cut a row off; the next ones are not lost with it.
    file.write_text('{"started": "2026", "sec')
    ends_with(folder, "")
    (row,) = execution.read_attempts(folder, "run")
    assert (row["state"], row["code"]) == ("failed", 1)
    # A row that finds no room does not hide how the run ended.
    file.unlink()
    file.mkdir()
    assert ends_with(folder, "").state == "failed"
    assert execution.read_attempts(folder, "run") == []


def test_an_attempt_that_could_not_start_is_recorded(folder):
    task = execution.Task("run", str(folder.path), ("true",), str(folder.path / "missing"), {})
    folder.path.mkdir()
    with pytest.raises(errors.WorkdirError, match="Cannot start run: "):
        execution.execute(task, 0, never)
    (row,) = execution.read_attempts(folder, "run")
    assert row["state"] == "failed"
    assert row["reason"].startswith("Cannot start run: ")


def test_an_attempt_whose_end_nobody_saw_is_counted(folder):
    one = execution.Execution(task_of(folder, pause=0.3))
    assert one.poll() is None
    (row,) = execution.read_attempts(folder, "run")
    assert "state" not in row
    wait_for(lambda: lock.holder(folder.run("run")))
    one.stop()
    (row,) = execution.read_attempts(folder, "run")
    assert row["state"] == "preempted"


def test_a_status_of_another_process_is_not_believed(folder):
    assert execution.execute(task_of(folder, mode="fails"), 0, never).state == "failed"
    assert execution.execute(task_of(folder, mode="refused"), 0, never).state == "refused"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="uses prctl of Linux")
def test_a_run_ends_with_the_process_that_started_it(folder):
    task = task_of(folder, pause=0.1, **{"train.steps": 100000})
    script = (
        "import json, sys, time; from gan_jax.sweeps import execution; "
        "task = execution.Task(**json.loads(sys.argv[1])); execution.Execution(task).poll(); "
        "time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(dataclasses.asdict(task))],
        env=environment(),
        cwd=REPO,
    )
    try:
        wait_for(lambda: len(steps(folder)) >= 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: lock.holder(folder.run("run")) is None)
    now = execution.read_status(folder.run("run"))
    assert (now["state"], now["reason"]) == ("preempted", "SIGTERM")


def test_overrides_come_after_those_of_all_runs(folder):
    sweep = make_sweep(lambda add: add("run", rate=0.5), policy=("a", "b"))
    task = execution.make_task(sweep, folder, sweep.runs[0], execution.Plan(["main"], {}))
    assert task.command == [
        "main",
        f"--config={sweep.config}",
        "--config.policy=('a', 'b')",
        "--config.rate=0.5",
        f"--workdir={folder.run('run')}",
    ]
    assert execution.Task(**json.loads(json.dumps(dataclasses.asdict(task)))) == task
    assert os.path.isabs(task.folder)
