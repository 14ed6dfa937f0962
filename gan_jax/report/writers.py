"""Writers of metrics and images: ``metrics.jsonl`` and TensorBoard.

``metrics.jsonl`` is the primary record: one strict JSON object per log step, readable by any tool.
JSON has no NaN or infinity; they are written as the strings ``"NaN"``, ``"Infinity"`` and
``"-Infinity"`` (as in the JSON form of protocol buffers), which ``float`` accepts and ``read_rows``
converts back.
"""

import contextlib
import functools
import json
import math
import os
import socket
import sys
import time
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_RESERVED = ("step", "kimg")
_FLUSH_SECONDS = 10.0


class Writer:
    """Interface through which training reports; this base class, on its own, records nothing.

    The constructor and all methods raise a `WorkdirError` where a file cannot be written.
    """

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Record metrics of a step; ``kimg``: thousands of real images shown so far."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers of a step whose record is kept elsewhere."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Record an image of a step, uint8 [height, width, channels] with 1 or 3 channels."""

    def close(self) -> None:
        """Write what is buffered, and release the files, even where that fails."""


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


class TensorBoardWriter(Writer):
    """Writes TensorBoard's event files without TensorFlow.

    It uses tensorboardX's record writer. ``SummaryWriter`` writes in a thread: an error there ends
    the thread without a report, and the run waits forever once the queue is full. ``EventsWriter``
    leaves a file open that it cannot flush, and two processes that start within a second write to
    the same file.
    """

    def __init__(self, directory: str | Path, resume_step: int | None = None):
        """Create an event file, and its folder if it is missing.

        Args:
          directory: the folder for TensorBoard's ``--logdir``.
          resume_step: the step from which the run continues: TensorBoard then hides records of
            later steps by earlier processes. None for a new run.
        """
        self._directory = Path(directory)
        self._tensorboard = _tensorboard()
        with self._as_workdir_error():
            self._directory.mkdir(parents=True, exist_ok=True)
            # TensorBoard looks for "tfevents" and reads files by name. The last number
            # distinguishes files of the same second.
            started = time.time_ns()
            name = f"events.out.tfevents.{started // 10**9}.{socket.gethostname()}.{started}"
            self._file = self._tensorboard.RecordWriter(str(self._directory / name))
        try:
            self._write(0, file_version="brain.Event:2")
            if resume_step is not None:
                session = self._tensorboard.SessionLog(status=self._tensorboard.SessionLog.START)
                self._write(resume_step + 1, session_log=session)
            self._flush()
        except WorkdirError:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        if kimg is not None:
            values = {**values, "kimg": kimg}
        summary = self._tensorboard.Summary
        curves = [
            summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()
        ]
        self._write(step, summary=summary(value=curves))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    @override
    def curves(self, step: int, values: Mapping[str, float]) -> None:
        self.scalars(step, values)
        self._flush()

    @override
    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._write(step, summary=self._tensorboard.image(name, image, dataformats="HWC"))
        self._flush()

    @override
    def close(self) -> None:
        with self._as_workdir_error(), contextlib.closing(self._file):
            self._file.flush()

    def _flush(self) -> None:
        with self._as_workdir_error():
            self._file.flush()
        self._flushed = time.monotonic()

    def _write(self, step: int, **content: Any) -> None:
        event = self._tensorboard.Event(step=step, wall_time=time.time(), **content)
        with self._as_workdir_error():
            self._file.write(event.SerializeToString())

    @contextlib.contextmanager
    def _as_workdir_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkdirError(f"Cannot write {self._directory}: {atomic.reason(error)}") from error


class Writers(Writer):
    """Passes everything to several writers in order."""

    def __init__(self, writers: Iterable[Writer]):
        self._writers = tuple(writers)

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        for writer in self._writers:
            writer.scalars(step, values, kimg=kimg)

    @override
    def curves(self, step: int, values: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.curves(step, values)

    @override
    def image(self, step: int, name: str, image: np.ndarray) -> None:
        for writer in self._writers:
            writer.image(step, name, image)

    @override
    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)


def has_records(workdir: str | Path) -> bool:
    """Return whether anything has been logged in a run directory."""
    path = Path(workdir) / METRICS
    return path.exists() and path.stat().st_size > 0


def make_writers(workdir: str | Path, resume_step: int | None = None) -> Writers:
    """Return the writers of a run directory: ``metrics.jsonl`` and ``tensorboard/``.

    Side effect: removes records of steps after ``resume_step``, since these steps are trained and
    recorded again.

    Args:
      workdir: the run directory.
      resume_step: the step from which training continues; None: the beginning.
    """
    workdir = Path(workdir)
    truncate_after(workdir / METRICS, resume_step)
    jsonl = JsonlWriter(workdir / METRICS)
    try:
        return Writers([jsonl, TensorBoardWriter(workdir / TENSORBOARD, resume_step)])
    except WorkdirError:
        jsonl.close()
        raise


@functools.cache
def _tensorboard() -> types.SimpleNamespace:
    """Import parts of tensorboardX while PyTorch is hidden from it.

    It imports an installed PyTorch for a type annotation, which takes seconds.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # so `import torch` fails
    try:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import image
    finally:
        if hidden:
            del sys.modules["torch"]
    return types.SimpleNamespace(
        Event=Event,
        RecordWriter=RecordWriter,
        SessionLog=SessionLog,
        Summary=Summary,
        image=image,
    )


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
