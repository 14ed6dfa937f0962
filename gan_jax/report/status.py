"""``status.json``: the state of a run, and why it ended, for people, schedulers and sweeps."""

import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic

_BLOCK = 4096  # Bytes; the smallest size of a file on disk.
_ENDS = ("diverged", "failed")  # Final states that must be written even on a full disk.
STATES = ("running", "preempted", "diverged", "failed", "done")


class Status:
    """The status file of a run directory."""

    def __init__(self, workdir: str | Path):
        """Name the file ``<workdir>/status.json``; nothing is written yet."""
        self.path = Path(workdir) / "status.json"
        self._started = _now()

    def write(
        self,
        state: str,
        reason: str = "",
        step: int | None = None,
        total_steps: int | None = None,
    ) -> None:
        """Replace the status atomically.

        On a full disk, "diverged" and "failed" overwrite the content of the existing file.

        Args:
          state: one of `STATES`.
          reason: why, in one line.
          step: the last finished step.
          total_steps: the step at which the run is done.

        Raises:
          ValueError: the state is not one of these.
          WorkdirError: the file cannot be written.
        """
        if state not in STATES:
            raise ValueError(f"state = {state!r}; accepted: {', '.join(STATES)}.")
        content = {
            "state": state,
            "reason": reason,
            "step": step,
            "total_steps": total_steps,
            "started": self._started,
            "updated": _now(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        text = json.dumps(content, indent=2) + "\n"
        try:
            atomic.write_text(self.path, text)
        except WorkdirError as error:
            # On a full disk the final state still fits into the space of the old file.
            final = state in _ENDS and atomic.is_full(error.__cause__)
            if not (final and _overwrite(self.path, text)):
                raise

    def read(self) -> dict[str, Any] | None:
        """Return the last status written by any process; None if the file does not exist.

        Raises:
          WorkdirError: the file is not a status.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise WorkdirError(f"Cannot read {self.path}: {error}") from error
        if not isinstance(content, dict) or content.get("state") not in STATES:
            raise WorkdirError(f"Cannot read {self.path}: it is not a status of a run.")
        return content


def _overwrite(path: Path, text: str) -> bool:
    """Overwrite a file in place, which needs no space on a full disk; return whether it succeeded.

    The text is written by one system call, so that local readers do not see a truncated file.
    """
    content = text.encode()
    try:
        size = path.stat().st_size
        # A text longer than a disk block might be written only in part.
        if len(content) > _BLOCK:
            return False
        with path.open("r+b", buffering=0) as file:
            # Spaces after JSON are ignored; the file is truncated once the text is written.
            file.write(content.ljust(size))
            file.truncate(len(content))
    except OSError:
        return False
    return True


def _now() -> str:
    """Return the current UTC time in ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
