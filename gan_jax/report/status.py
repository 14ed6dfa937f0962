"""``status.json``: what a run is doing, or why it stopped, for people, schedulers and sweeps."""

import datetime
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic

_BLOCK = 4096  # Bytes; the least that a file of one byte takes.
_ENDS = ("diverged", "failed")  # What must be told where it can be.
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
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the status; a reader sees the old one or the new one, whole.

        On a full disk, "diverged" and "failed" are written over the old one, where it lies.

        Args:
          state: "running", "preempted", "diverged", "failed" or "done".
          reason: why, in one line.
          step: the last finished step.
          total_steps: the step at which the run is done.
          extra: anything else, JSON-able.

        Raises:
          ValueError: the state is another word.
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
            **({"extra": dict(extra)} if extra else {}),
        }
        text = json.dumps(content, indent=2) + "\n"
        try:
            atomic.write_text(self.path, text)
        except WorkdirError as error:
            # That the disk is full is what a reader wants to know: the old file has room for it.
            if state not in _ENDS or not atomic.is_full(error.__cause__):
                raise
            if not _overwrite(self.path, text):
                raise

    def read(self) -> dict[str, Any] | None:
        """Return the status that was written last, by any process; None if there is none.

        Raises:
          WorkdirError: the file is there, and is no status.
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
    """Write over a file where it lies, which takes no room on a full disk; return whether it did.

    It is done in one call, so that no reader sees the text cut, but for one of a network drive.
    """
    content = text.encode()
    try:
        size = path.stat().st_size
        # Longer than a block of the disk: a part might not find room.
        if len(content) > _BLOCK:
            return False
        with path.open("r+b", buffering=0) as file:
            # Blanks behind JSON are nothing; the file is cut to size when that is safe.
            file.write(content.ljust(size))
            file.truncate(len(content))
    except OSError:
        return False
    return True


def _now() -> str:
    """Return the time of day in UTC, to the second, as ISO 8601 writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
