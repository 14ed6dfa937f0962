"""A process that supervises the training process and reports how it ended.

JAX ends a process of a run of several by ``abort`` when another one is gone, from a thread of its
own and with pages of log: there is nothing that Python could catch, and a collective operation on
a GPU waits for ever without. So a run of several processes trains in children: each has a parent,
which does nothing but pass on messages and signals, and which turns such an end into one line, an
exit code of 1 and a truthful ``status.json``.
"""

import contextlib
import ctypes
import os
import re
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path

from gan_jax import errors
from gan_jax.launch import peers
from gan_jax.report.status import Status

_FORWARDED = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
# Seconds that a process has to exit once JAX has begun to abort it.
_ABORT_SECONDS = 30.0

# JAX's C++ log: severity, date and time, thread, file and line.
_RECORD = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ (?P<file>[\w./-]+):\d+\]")
_SERVICE = re.compile(r"[WEF]\d{4} .*(coordination|distributed_runtime|client\.h|preemption)")
_LOST = re.compile(r"coordination|distributed service")
_ABORTING = re.compile(r"F\d{4} .*|Fatal Python error: Aborted|terminate called after")
_PYTHON = re.compile(r"(error: |interrupted$|Traceback |[A-Z]+ [\w.]+: )")


def supervise(workdir: str | os.PathLike[str]) -> None:
    """Go on in a child process, and watch it in this one, which does not return.

    To be called before JAX is touched, while there is one thread. Does nothing where a process
    cannot fork. Side effects: this process ends as its child does; with 1 and one line on standard
    error if JAX has ended it because another process is gone. SIGTERM and Ctrl-C are handed on to
    the child, which dies with this process, leaves no core dump, and writes to this one's standard
    error.

    Args:
      workdir: the run directory, whose ``status.json``, and those of its replicas, are mended if
        the child could not write them.
    """
    if not hasattr(os, "fork"):
        return
    parent = os.getpid()
    _open_standard_streams()
    source, sink = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        # They may be on a full disk. Whoever started this may have closed them.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # A signal between the fork and the handlers would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child:
        os.close(sink)
        # At once: an orderly end would try again to flush, and fail where the disk is full.
        os._exit(_watch(child, source, Path(workdir)))
    os.close(source)
    os.dup2(sink, 2)
    os.close(sink)
    # A group of its own: what a terminal sends to this one's group would reach the child twice.
    os.setpgid(0, 0)
    _die_with(parent)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)


def _open_standard_streams() -> None:
    """Open the standard streams that are closed: the pipe to come must have none of their numbers.

    Side effect: `sys.stderr` is opened where it is missing, for the child's errors.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent is gone; Linux alone can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)


def _watch(child: int, source: int, workdir: Path) -> int:
    """Pass messages and signals on until the child has ended; return this process's exit code."""
    for number in _FORWARDED:
        signal.signal(number, lambda number, frame: _send(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    messages = Messages()
    os.set_blocking(source, False)
    is_open, ended, code = True, 0, 0
    while not ended:
        if is_open:
            select.select([source], [], [], 0.2)
            is_open = _pass_on(source, messages)
        else:
            time.sleep(0.05)
        ended, code = os.waitpid(child, os.WNOHANG)
        if messages.aborting and time.monotonic() - messages.aborting > _ABORT_SECONDS:
            _send(child, signal.SIGKILL)
    if is_open:
        # Its worker processes may hold the pipe open: what is in it now is all that is awaited.
        _pass_on(source, messages)
    for number in _FORWARDED:
        # The child that they would be forwarded to has exited; its exit code is returned next.
        signal.signal(number, signal.SIG_IGN)
    return _conclude(child, os.waitstatus_to_exitcode(code), messages, workdir)


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _pass_on(source: int, messages: "Messages") -> bool:
    """Show what can be read now; return whether there may be more later."""
    while True:
        try:
            data = os.read(source, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        # A character may be split over two reads: `_show` gives back the very bytes.
        _show(messages.feed(data.decode(errors="surrogateescape")))


def _show(text: str) -> None:
    """Write to standard error what it takes: the run needs none, and its disk may be full."""
    data = text.encode(errors="surrogateescape")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(2, data) :]


def _conclude(child: int, code: int, messages: "Messages", workdir: Path) -> int:
    """Report what the child could not report itself; return the exit code.

    Args:
      child: its process id.
      code: its exit code, or the negative number of the signal that ended it.
      messages: what it has written.
      workdir: the run directory.
    """
    rest, withheld = messages.close()
    _show(rest)
    if code >= 0:
        if not messages.told:
            _show(withheld)
        return code
    if -code in _FORWARDED:
        return 1 if messages.told else 128 - code
    lost = messages.aborting is not None and _LOST.search(withheld)
    if lost:
        reason = peers.never_met()
        if peers.have_met(withheld):
            reason = peers.gone(peers.missing(withheld), _steps(workdir))
    else:
        reason = f"the process that trains was ended by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            reason += ": by hand, by a scheduler, or by the system for want of memory"
    _mend_status(workdir, child, reason)
    if messages.told and messages.aborting is not None:
        # It was about to end, with its own error, when JAX missed the others.
        return 1
    if not lost:
        _show(withheld)
    _show(f"error: {reason}\n")
    return 1


def _steps(workdir: Path) -> list[int]:
    """Return the steps of the checkpoints, ascending (without JAX, which this process has not)."""
    # Those of the run, or of its first replica.
    for folder in _folders(workdir):
        with contextlib.suppress(OSError):
            names = [path.name for path in (folder / "checkpoints").iterdir()]
            return sorted(int(name) for name in names if name.isdecimal())
    return []


def _mend_status(workdir: Path, child: int, reason: str) -> None:
    """Write that the run and its replicas have failed, where the child's status says "running"."""
    # In containers, the children of several hosts often have the same number.
    own = {"state": "running", "pid": child, "host": socket.gethostname()}
    for folder in _folders(workdir):
        record = Status(folder)
        # A status that cannot be rewritten stays as it is; the others are still rewritten.
        with contextlib.suppress(errors.WorkdirError):
            last = record.read()
            if last is not None and own.items() <= last.items():
                record.write("failed", reason, last.get("step"), last.get("total_steps"))


def _folders(workdir: Path) -> list[Path]:
    """Return the run directory, and those of the replicas in it."""
    return [workdir, *sorted(workdir.glob("replica_*"))]


class Messages:
    """The child's standard error, line by line: what is to be seen, and what is held back.

    JAX's log of a lost process is held back, with everything behind the record that announces the
    end, but for what this project itself has to say.

    Attributes:
      told: whether the program has told its error in a line of its own.
      aborting: when JAX announced that it ends the process, in seconds of the monotonic clock;
        ``None``: it has not.
    """

    def __init__(self) -> None:
        self.told = False
        self._partial = ""
        self._withheld: list[str] = []
        self._withholding = False
        self.aborting: float | None = None

    def feed(self, text: str) -> str:
        """Return what is to be shown of everything read so far and not returned yet."""
        *lines, self._partial = (self._partial + text).split("\n")
        return "".join(f"{line}\n" for line in lines if self._is_shown(f"{line}\n"))

    def close(self) -> tuple[str, str]:
        """Return the rest that is to be shown, and all that was held back."""
        rest, self._partial = self._partial, ""
        shown = rest if rest and self._is_shown(rest) else ""
        return shown, "".join(self._withheld)

    def _is_shown(self, line: str) -> bool:
        if line.startswith("error: ") or line.strip() == "interrupted":
            self.told = True
            return True
        if self.aborting is None and _ABORTING.match(line):
            self.aborting = time.monotonic()
        if self.aborting is not None or _SERVICE.match(line):
            self._withholding = True
        elif _RECORD.match(line) or _PYTHON.match(line):
            self._withholding = False
        if self._withholding:
            self._withheld.append(line)
        return not self._withholding
