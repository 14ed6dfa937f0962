"""One run of a sweep: an ordinary program in a process of its own, started, watched and stopped.

Its outcome is derived from its exit code, its ``status.json`` and the last line of its output. A
run that has diverged, or whose configuration was refused, would do so again and is not retried; any
other failure is retried from the last checkpoint.
"""

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax import errors
from gan_jax.report import evaluations, lock, status
from gan_jax.sweeps import definition, record

# States of runs that are not run again.
SETTLED = ("done", "diverged")
# A run that receives SIGTERM finishes its step, or its evaluation, and saves.
GRACE_SECONDS = 300.0
# Parts of the error messages of runs that ended before training for a temporary reason.
_PASSING = (" is in use by ", *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EIO)))
# A run of an earlier, killed sweep may still be saving and hold its directory.
_BUSY_SECONDS = 600.0
_POLL_SECONDS = 0.3

# Replaces itself by the program. The kernel sends SIGTERM when the parent process ends for whatever
# reason, so a killed sweep leaves no run behind (Linux only).
_LAUNCH = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this run has ended")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to execute the runs of a sweep.

    Attributes:
      program: the command of a run, or of a task of SLURM.
      environment: additional environment variables.
      num_parallel: number of concurrent runs; ``None``: as many as the resources allow.
      gpus: GPUs per run; ``None``: 1 if there are any, or as SLURM decides.
      cpus: CPU cores per run; ``None``: 1, or as SLURM decides.
      retries: number of attempts after a failed one.
    """

    program: Sequence[str]
    environment: dict[str, str]
    num_parallel: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    retries: int = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """How to execute a run; its fields are serializable as JSON, for another machine.

    Attributes:
      name: name of the run.
      folder: the sweep's directory.
      command: the program with its arguments.
      cwd: its working directory.
      environment: additional environment variables.
    """

    name: str
    folder: str
    command: Sequence[str]
    cwd: str
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an attempt at a run has ended.

    Attributes:
      state: ``"done"``, ``"diverged"``, ``"preempted"`` (it was stopped, and saved), ``"refused"``
        (before training, for a permanent reason) or ``"failed"``.
      reason: why, in one line.
    """

    state: str
    reason: str = ""

    @property
    def final(self) -> bool:
        """Whether another attempt would end in the same way."""
        return self.state in (*SETTLED, "refused")


def make_task(sweep: record.Sweep, folder: record.Folder, run: definition.Run, plan: Plan) -> Task:
    """Return how to execute a run by a program that accepts ``--config`` and ``--workdir``."""
    overrides = {**sweep.common, **run.overrides}
    command = [
        *plan.program,
        f"--config={sweep.config}",
        *(definition.flag(field, value) for field, value in overrides.items()),
        f"--workdir={folder.run(run.name)}",
    ]
    return Task(run.name, str(folder.path), command, sweep.cwd, plan.environment)


class Execution:
    """An attempt at a run; the caller polls it until it has ended.

    The program starts with the first `poll` at which the run directory is not in use.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._folder = record.Folder(task.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._outcome: Outcome | None = None
        self._began = time.monotonic()
        self._started = _now()

    def poll(self) -> Outcome | None:
        """Return the outcome, or ``None`` while the run has not ended.

        Side effects: starts the program, and records the attempt once it has ended.

        Raises:
          WorkdirError: the log cannot be written.
        """
        if self._outcome is not None:
            return self._outcome
        if self._process is None:
            state = read_status(self._folder.run(self._task.name))
            if state.get("state") in SETTLED:
                self._outcome = Outcome(state["state"], state["reason"])
            elif (holder := lock.holder(self._folder.run(self._task.name))) is None:
                self._start()
            elif time.monotonic() - self._began > _BUSY_SECONDS:
                self._outcome = Outcome("failed", f"its directory is in use by {holder}")
                self._record(seconds=0.0, **dataclasses.asdict(self._outcome))
            return self._outcome
        code = self._process.poll()
        if code is not None:
            self._end(code)
        return self._outcome

    def stop(self, grace: float = GRACE_SECONDS) -> Outcome:
        """Ask the run to save and stop, wait for its end, and return the outcome.

        Args:
          grace: seconds after which it is killed.
        """
        if self._outcome is None and self._process is None:
            self._outcome = Outcome("preempted", "not started")
        if self._outcome is None:
            assert self._process is not None
            self._process.terminate()
            try:
                code = self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            self._end(code, asked=True)
        assert self._outcome is not None
        return self._outcome

    def _start(self) -> None:
        task = self._task
        command = [sys.executable, "-c", _LAUNCH, str(os.getpid()), *task.command]
        log = self._folder.log(task.name)
        self._started, self._began = _now(), time.monotonic()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as out:
                out.write(f"== {self._started} on {socket.gethostname()}\n".encode())
                out.flush()
                self._process = subprocess.Popen(
                    command,
                    cwd=task.cwd,
                    env={**os.environ, **task.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C is handled by the sweep, which sends SIGTERM to its runs.
                    start_new_session=True,
                )
            self._record()
        except OSError as error:
            reason = f"Cannot start {task.name}: {error}"
            self._record(seconds=0.0, state="failed", reason=reason)
            raise errors.WorkdirError(reason) from error

    def _end(self, code: int, *, asked: bool = False) -> None:
        assert self._process is not None
        self._outcome = self._judge(code, self._process.pid)
        if asked and code == -signal.SIGTERM:
            self._outcome = Outcome("preempted", "before it could save")
        seconds = round(time.monotonic() - self._began, 1)
        self._record(seconds=seconds, code=code, **dataclasses.asdict(self._outcome))

    def _record(self, **ended: Any) -> None:
        """Append a row for this attempt: one at its start, and one with its outcome."""
        pid = None if self._process is None else self._process.pid
        row = {"started": self._started, "pid": pid, "host": socket.gethostname()}
        # The outcome must be returned even if the row cannot be written.
        with contextlib.suppress(errors.WorkdirError):
            evaluations.append(self._folder.attempts(self._task.name), {**row, **ended})

    def _judge(self, code: int, pid: int) -> Outcome:
        """Return the outcome of a program that has ended."""
        state = read_status(self._folder.run(self._task.name))
        own = state.get("pid") == pid and state.get("host") == socket.gethostname()
        believed = ("diverged", "failed", *(("done", "preempted") if code == 0 else ()))
        if own and state["state"] in believed:
            return Outcome(state["state"], state["reason"])
        last = _last_line(self._folder.log(self._task.name))
        if code == 1 and last.startswith("error: ") and not own:
            passing = any(words in last for words in _PASSING)
            return Outcome("failed" if passing else "refused", last.removeprefix("error: "))
        if code < 0:
            names = {number.value: number.name for number in signal.Signals}
            return Outcome("failed", f"ended by {names.get(-code, f'signal {-code}')}")
        return Outcome("failed", f"ended with exit code {code}: {last}")


def execute(task: Task, retries: int, asked_to_stop: Callable[[], bool]) -> Outcome:
    """Execute a run, with ``retries`` further attempts from its checkpoint where it fails.

    Once ``asked_to_stop`` returns true, the run saves and stops.
    """
    while True:
        execution = Execution(task)
        while (outcome := execution.poll()) is None:
            if asked_to_stop():
                return execution.stop()
            time.sleep(_POLL_SECONDS)
        if outcome.final or retries == 0 or asked_to_stop():
            return outcome
        retries -= 1
        print(f"{task.name}: {outcome.reason}; resuming from its checkpoint", flush=True)


def read_status(run: Path) -> dict[str, Any]:
    """Return a run's status; empty if it cannot be read."""
    try:
        return status.Status(run).read() or {}
    except errors.WorkdirError:
        return {}


def read_attempts(folder: record.Folder, name: str) -> list[dict[str, Any]]:
    """Return one row per attempt at a run.

    A row has ``started``, ``pid`` and ``host``, and, if its end was observed, ``seconds``,
    ``code``, ``state`` and ``reason``. The end is not observed where the sweep is killed or a
    machine is lost.
    """
    try:
        lines = folder.attempts(name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            identity = (row["started"], row["pid"], row["host"])
        except (ValueError, TypeError, KeyError):
            continue  # Truncated by a crash.
        rows[identity] = rows.get(identity, {}) | row
    return list(rows.values())


def _last_line(path: Path) -> str:
    """Return the last error line of an attempt's output, or else its last line."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    # Only the output of the last attempt.
    text = re.split(r"^== .*\n", text, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reported = [line for line in lines if line.startswith("error: ")]
    return (reported or lines or [""])[-1]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
