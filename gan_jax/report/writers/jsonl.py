"""``metrics.jsonl``, the primary record: one strict JSON object per log step.

JSON has no NaN or infinity; they are written as the strings ``"NaN"``, ``"Infinity"`` and
``"-Infinity"`` (as in the JSON form of protocol buffers), which ``float`` accepts and ``read_rows``
converts back.
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic
from gan_jax.report.writers.writer import Writer

METRICS = "metrics.jsonl"

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_RESERVED = ("step", "kimg")


class JsonlWriter(Writer):
    """Appends one row per step to a file; ignores curves and images."""

    def __init__(self, path: str | Path):
        """Open a file for appending; create it and its folder if they are missing."""
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a buffer would keep a row that could not be written, and retry at the end.
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._as_workdir_error(error) from error

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Append one row, ``{"step": ..., "kimg": ..., ...values}``, completely or not at all.

        Raises:
          ValueError: a value is named "step" or "kimg".
        """
        for name in _RESERVED:
            if name in values:
                raise ValueError(f"A metric is named {name!r}; accepted: any name but {_RESERVED}.")
        row: dict[str, Any] = {"step": int(step)}
        if kimg is not None:
            row["kimg"] = _strict(kimg)
        row |= {name: _strict(value) for name, value in values.items()}
        try:
            self._append((json.dumps(row, allow_nan=False) + "\n").encode())
        except OSError as error:
            raise self._as_workdir_error(error) from error

    @override
    def close(self) -> None:
        try:
            self._file.close()  # A file system that defers writes, such as NFS, may fail here.
        except OSError as error:
            raise self._as_workdir_error(error) from error

    def _append(self, line: bytes) -> None:
        """Write a line; remove a partial line if the disk is full."""
        size = os.fstat(self._file.fileno()).st_size
        try:
            # A nearly full disk accepts only the beginning of the line.
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    def _as_workdir_error(self, error: OSError) -> WorkdirError:
        return WorkdirError(f"Cannot write {self.path}: {atomic.reason(error)}")


def has_records(workdir: str | Path) -> bool:
    """Return whether anything has been logged in a run directory."""
    path = Path(workdir) / METRICS
    return path.exists() and path.stat().st_size > 0


def truncate_after(path: str | Path, step: int | None) -> None:
    """Remove the rows of steps later than ``step``, or all, and a row truncated by a crash.

    The remaining rows keep every byte. A file that needs no change is not written, and a missing
    one is not created. The file is replaced atomically.

    Raises:
      WorkdirError: the file cannot be read or written.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkdirError(f"Cannot read {path}: {error.strerror or error}") from error
    kept = b"".join(
        line
        for line in content.splitlines(keepends=True)
        if step is not None and _row_step(line) <= step
    )
    if kept != content:
        atomic.write_bytes(path, kept)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``, with NaN and infinities as floats.

    Incomplete rows (being written, or truncated by a crash) are left out.
    """
    rows = []
    for line in Path(path).read_bytes().splitlines(keepends=True):
        if _row_step(line) < math.inf:
            row = json.loads(line)
            rows.append(
                {
                    name: _NOT_FINITE.get(value, value) if isinstance(value, str) else value
                    for name, value in row.items()
                }
            )
    return rows


def _row_step(line: bytes) -> float:
    """Return the step of a row, or infinity if the line is not a complete row."""
    if not line.endswith(b"\n"):
        return math.inf
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return math.inf


def _strict(value: float) -> float | int | str:
    """Return a number as a value that strict JSON can represent."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, int):
        return number
    number = float(number)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
