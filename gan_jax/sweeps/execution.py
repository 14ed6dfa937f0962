"""One run of a sweep: an ordinary program in a process of its own, started, watched and stopped.

What became of it is read from its exit code, its ``status.json`` and the last line that it printed:
a run that has diverged, and one that was refused before it began, would do so again and are not
tried again; all other failures are worth another attempt, from the last checkpoint.
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

# How a run can end, and not be run again.
SETTLED = ("done", "diverged")
# A run that is asked to stop finishes its step, or its evaluation, and saves.
GRACE_SECONDS = 300.0
# Of what may pass by itself, or be made to pass: the message of a run that ends before it begins.
_PASSING = (" is in use by ", *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EIO)))
# A run directory may still be held by what an earlier, killed sweep has left; that is saving.
_BUSY_SECONDS = 600.0
_POLL_SECONDS = 0.3

# Becomes the program, and has the kernel send it SIGTERM when the process that started it is gone,
# however that ended: a sweep that is killed leaves no run behind. (Linux only.)
_LAUNCH = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
if os.getppid() != int(sys.argv[1]):
    sys.exit("what started this run is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclasses.dataclass(frozen=True)
class Task:
    """How to execute a run; JSON-able, so that it can be sent to another machine.

    Attributes:
      name: of the run.
      folder: the sweep's directory.
      command: the program with its arguments.
      cwd: the folder it starts in.
      environment: variables that it gets besides those that are set.
    """

    name: str
    folder: str
    command: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Return the task as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Return the task that `to_json` has made text of."""
        fields = json.loads(text)
        return cls(**{**fields, "command": tuple(fields["command"])})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an attempt at a run has ended.

    Attributes:
      state: ``"done"``, ``"diverged"``, ``"preempted"`` (it was stopped, and saved), ``"refused"``
        (before it began, for a reason that stays) or ``"failed"``.
      reason: why, in one line.
    """

    state: str
    reason: str = ""

    @property
    def final(self) -> bool:
        """Whether another attempt would end alike."""
        return self.state in (*SETTLED, "refused")


def make_task(
    sweep: record.Sweep,
    folder: record.Folder,
    run: definition.Run,
    program: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> Task:
    """Return how to execute a run.

    Args:
      sweep: what it belongs to.
      folder: where that is kept.
      run: the run.
      program: what takes ``--config``, ``--config.FIELD`` and ``--workdir``.
      environment: variables for the run.
    """
    overrides = {**sweep.common, **run.overrides}
    command = [
        *program,
        f"--config={sweep.config}",
        *(definition.flag(field, value) for field, value in overrides.items()),
        f"--workdir={folder.run(run.name)}",
    ]
    return Task(run.name, str(folder.path), tuple(command), sweep.cwd, dict(environment or {}))


class Execution:
    """An attempt at a run, which whoever made it polls until it has ended.

    The program starts with the first `poll` that finds the run directory free.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._folder = record.Folder(task.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._outcome: Outcome | None = None
        self._began = time.monotonic()
        self._started = _now()

    def poll(self) -> Outcome | None:
        """Return how it ended; ``None`` while it has not.

        Side effects: starts the program; when that has ended, records the attempt.

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
        """Ask the run to save and stop, wait until it has, and return how it ended.

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
                    # Ctrl-C is for the sweep, which asks its runs to stop in its own way.
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
        """Add a row for this attempt: when it starts, and with how it ended when it has."""
        pid = None if self._process is None else self._process.pid
        row = {"started": self._started, "pid": pid, "host": socket.gethostname()}
        # What became of the run matters more than a row that finds no room.
        with contextlib.suppress(errors.WorkdirError):
            evaluations.append(self._folder.attempts(self._task.name), {**row, **ended})

    def _judge(self, code: int, pid: int) -> Outcome:
        """Return how a program has ended."""
        state = read_status(self._folder.run(self._task.name))
        own = state.get("pid") == pid and state.get("host") == socket.gethostname()
        if own and (state["state"] == "diverged" or (state["state"] == "done" and code == 0)):
            return Outcome(state["state"], state["reason"])
        if own and state["state"] == "preempted" and code == 0:
            return Outcome("preempted", state["reason"])
        if own and state["state"] == "failed":
            return Outcome("failed", state["reason"])
        last = _last_line(self._folder.log(self._task.name))
        if code == 1 and last.startswith("error: ") and not own:
            passing = any(words in last for words in _PASSING)
            return Outcome("failed" if passing else "refused", last.removeprefix("error: "))
        if code < 0:
            return Outcome("failed", f"ended by {_signal_name(-code)}")
        return Outcome("failed", f"ended with exit code {code}: {last}")


def execute(task: Task, retries: int, asked_to_stop: Callable[[], bool]) -> Outcome:
    """Execute a run, and try again from its checkpoint where it fails.

    Args:
      task: the run.
      retries: attempts after the first.
      asked_to_stop: whether to have the run save and stop; asked again and again.
    """
    outcome = Outcome("failed")
    for attempt in range(retries + 1):
        execution = Execution(task)
        while (ended := execution.poll()) is None:
            if asked_to_stop():
                return execution.stop()
            time.sleep(_POLL_SECONDS)
        outcome = ended
        if outcome.final or asked_to_stop():
            return outcome
        if attempt < retries:
            print(f"{task.name}: {outcome.reason}; it goes on from its checkpoint", flush=True)
    return outcome


def read_status(run: Path) -> dict[str, Any]:
    """Return a run's status; empty where there is none that can be read."""
    try:
        return status.Status(run).read() or {}
    except errors.WorkdirError:
        return {}


def read_attempts(folder: record.Folder, name: str) -> list[dict[str, Any]]:
    """Return a row for each time that a run was started.

    It has ``started``, ``pid`` and ``host``, and, if its end was seen, ``seconds``, ``code``,
    ``state`` and ``reason``. The end is not seen where the sweep is killed, or a machine is lost.
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
            continue  # A crash has cut it off.
        rows[identity] = rows.get(identity, {}) | row
    return list(rows.values())


def _last_line(path: Path) -> str:
    """Return the last line of an attempt's output; its error, where one is told."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    # Below the heading of the attempt.
    text = re.split(r"^== .*\n", text, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or [""])[-1]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
