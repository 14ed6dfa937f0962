"""A process that supervises the training process and reports how it ended.

JAX aborts a process when another one of the run has died, from a thread of its own and with pages
of log, which Python cannot catch. So a run of several processes trains in children: each has a
parent that forwards messages and signals, and reports such an end by one line, exit code 1 and the
right ``status.json``.
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
    """Continue in a child process, and watch it in this one, which does not return.

    Call it before JAX is used, while there is one thread. Does nothing where a process cannot fork.
    Side effects: this process ends as its child does, but with 1 and one line on standard error if
    JAX has aborted it because another process has died; then the statuses of the run in ``workdir``
    and of its replicas are corrected. SIGTERM and Ctrl-C are forwarded to the child, which dies
    with this process and leaves no core dump.
    """
    if not hasattr(os, "fork"):
        return
    parent = os.getpid()
    _open_standard_streams()
    source, sink = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        # They may be on a full disk, or closed.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # A signal between the fork and the handlers would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child:
        os.close(sink)
        # A normal exit would flush again, and fail where the disk is full.
        os._exit(_watch(child, source, Path(workdir)))
    os.close(source)
    os.dup2(sink, 2)
    os.close(sink)
    # A group of its own: what a terminal sends to this one's group would reach the child twice.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        # The kernel kills this process when its parent has died.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)


def _open_standard_streams() -> None:
    """Open the standard streams that are closed, so that no pipe gets their numbers."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


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
        # Its worker processes may hold the pipe open.
        _pass_on(source, messages)
    for number in _FORWARDED:
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
        # A character may be split over two reads: `_show` restores the bytes.
        _show(messages.feed(data.decode(errors="surrogateescape")))


def _show(text: str) -> None:
    """Write to standard error; its disk may be full, which does not end the run."""
    data = text.encode(errors="surrogateescape")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(2, data) :]


def _conclude(child: int, code: int, messages: "Messages", workdir: Path) -> int:
    """Report what the child could not report itself; return the exit code.

    ``code`` is the child's exit code, or the negative number of the signal that ended it.
    """
    rest, withheld = messages.close()
    _show(rest)
    if code >= 0:
        if not messages.reported:
            _show(withheld)
        return code
    if -code in _FORWARDED:
        return 1 if messages.reported else 128 - code
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
    if messages.reported and messages.aborting is not None:
        # It was about to end, with its own error, when JAX missed the others.
        return 1
    if not lost:
        _show(withheld)
    _show(f"error: {reason}\n")
    return 1


def _steps(workdir: Path) -> list[int]:
    """Return the steps of the checkpoints of the run, or of its first replica, ascending."""
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
    """The child's standard error, line by line: what is shown, and what is withheld.

    JAX's log of a lost process is withheld, with everything after the record that announces the
    abort, except this project's own lines.

    Attributes:
      reported: whether the program has reported its error in a line of its own.
      aborting: when JAX announced the abort, in seconds of the monotonic clock; ``None``: never.
    """

    def __init__(self) -> None:
        self.reported = False
        self._partial = ""
        self._withheld: list[str] = []
        self._withholding = False
        self.aborting: float | None = None

    def feed(self, text: str) -> str:
        """Return what is shown of the lines that ``text`` completes."""
        *lines, self._partial = (self._partial + text).split("\n")
        return "".join(f"{line}\n" for line in lines if self._is_shown(f"{line}\n"))

    def close(self) -> tuple[str, str]:
        """Return the rest that is shown, and all that was withheld."""
        rest, self._partial = self._partial, ""
        shown = rest if rest and self._is_shown(rest) else ""
        return shown, "".join(self._withheld)

    def _is_shown(self, line: str) -> bool:
        if line.startswith("error: ") or line.strip() == "interrupted":
            self.reported = True
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
