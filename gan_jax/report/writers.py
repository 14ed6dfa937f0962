"""Where the numbers, pictures and words of a run go: ``metrics.jsonl`` and TensorBoard.

``metrics.jsonl`` is the primary record: one strict JSON object per log step, so that any tool reads
it. JSON has no NaN or infinity; they are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``
(as in the JSON form of protocol buffers), which ``float`` understands, and ``read_rows`` turns
back.
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
from typing import Any, Protocol

import numpy as np

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_RESERVED = ("step", "kimg")
_FLUSH_SECONDS = 10.0


class Writer(Protocol):
    """What training reports to."""

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Record numbers of a step; ``kimg``: thousands of real images shown so far."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers of a step whose record is kept elsewhere."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Record a picture of a step, uint8 [height, width, channels], of 1 or 3 channels."""

    def text(self, name: str, text: str) -> None:
        """Record words about the whole run."""

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system."""

    def close(self) -> None:
        """Flush, and let go of files and threads."""


class NullWriter:
    """Records nothing: for every process but the first."""

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Do nothing."""

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Do nothing."""

    def text(self, name: str, text: str) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class JsonlWriter(NullWriter):
    """Appends a row per step to a file; pictures and words have no place in it."""

    def __init__(self, path: str | Path):
        """Open a file for appending; makes it and its folder where they are missing.

        Raises:
          WorkdirError: it cannot be written.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # No buffer: it would keep a row that could not be written, and try again at the end.
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._told(error) from error

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Append one row, ``{"step": ..., "kimg": ..., ...values}``, whole or not at all.

        Raises:
          ValueError: a value is named "step" or "kimg".
          WorkdirError: it cannot be written.
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
            raise self._told(error) from error

    def close(self) -> None:
        """Close the file; every row is with the operating system already.

        Raises:
          WorkdirError: a file system that writes late, as NFS does, could not write it.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._told(error) from error

    def _append(self, line: bytes) -> None:
        """Write a line; of one that there is no room for, leave nothing."""
        size = os.fstat(self._file.fileno()).st_size
        try:
            # A disk that is nearly full takes the beginning, and is full then.
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    def _told(self, error: OSError) -> WorkdirError:
        return WorkdirError(f"Cannot write {self.path}: {atomic.reason(error)}")


class TensorBoardWriter:
    """Writes TensorBoard's event files, without TensorFlow.

    Built from the parts of tensorboardX below its ``SummaryWriter``, whose ``flush`` does not wait
    for its own queue, and its ``EventsWriter``, which leaves a file open that it cannot flush. Here
    an event is in the file's buffer when the call returns.
    """

    def __init__(self, directory: str | Path, resume_step: int | None = None):
        """Start an event file; makes the folder where it is missing.

        Args:
          directory: where TensorBoard's ``--logdir`` is to point.
          resume_step: the step that the run continues from: TensorBoard then hides what an earlier
            process has recorded of later steps. None for a new run.

        Raises:
          WorkdirError: the folder cannot be written.
        """
        self._directory = Path(directory)
        self._tensorboard = _tensorboard()
        with self._told():
            self._directory.mkdir(parents=True, exist_ok=True)
            # TensorBoard looks for "tfevents", and reads in the order of the names. The last number
            # keeps files of one second apart.
            started = time.time_ns()
            name = f"events.out.tfevents.{started // 10**9}.{socket.gethostname()}.{started}"
            self._file = self._tensorboard.RecordWriter(str(self._directory / name))
        try:
            self._write(0, file_version="brain.Event:2")
            if resume_step is not None:
                session = self._tensorboard.SessionLog(status=self._tensorboard.SessionLog.START)
                self._write(resume_step + 1, session_log=session)
            self.flush()
        except WorkdirError:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Record each number as a curve, and ``kimg`` as one more.

        Raises:
          WorkdirError: the file cannot be written.
        """
        if kimg is not None:
            values = {**values, "kimg": kimg}
        summary = self._tensorboard.Summary
        curves = [
            summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()
        ]
        self._write(step, summary=summary(value=curves))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Record each number as a curve, at once: they are rare.

        Raises:
          WorkdirError: the file cannot be written.
        """
        self.scalars(step, values)
        self.flush()

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Record a picture, uint8 [height, width, channels], of 1 or 3 channels.

        Raises:
          WorkdirError: the file cannot be written.
        """
        self._write(step, summary=self._tensorboard.image(name, image, dataformats="HWC"))
        self.flush()

    def text(self, name: str, text: str) -> None:
        """Record words, shown as Markdown.

        Raises:
          WorkdirError: the file cannot be written.
        """
        self._write(0, summary=self._tensorboard.text(name, text))

    def flush(self) -> None:
        """Write to disk what is still in the buffer, as also happens every ten seconds.

        Raises:
          WorkdirError: the file cannot be written.
        """
        with self._told():
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the file; where it cannot be flushed, close it nevertheless.

        Raises:
          WorkdirError: the file cannot be written.
        """
        with self._told(), contextlib.closing(self._file):
            self._file.flush()

    def _write(self, step: int, **content: Any) -> None:
        event = self._tensorboard.Event(step=step, wall_time=time.time(), **content)
        with self._told():
            self._file.write(event.SerializeToString())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell an error of the file system as the user is to read it."""
        try:
            yield
        except OSError as error:
            raise WorkdirError(f"Cannot write {self._directory}: {atomic.reason(error)}") from error


class Writers:
    """Passes everything on to several writers, in their order."""

    def __init__(self, writers: Iterable[Writer]):
        self._writers = tuple(writers)

    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        """Record numbers of a step."""
        for writer in self._writers:
            writer.scalars(step, values, kimg=kimg)

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers of a step whose record is kept elsewhere."""
        for writer in self._writers:
            writer.curves(step, values)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Record a picture of a step, uint8 [height, width, channels]."""
        for writer in self._writers:
            writer.image(step, name, image)

    def text(self, name: str, text: str) -> None:
        """Record words about the whole run."""
        for writer in self._writers:
            writer.text(name, text)

    def flush(self) -> None:
        """Flush every writer."""
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        """Close every writer, also where another one cannot be closed."""
        with contextlib.ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)


def make_writers(workdir: str | Path, resume_step: int | None = None) -> Writers:
    """Return the writers of a run directory: ``metrics.jsonl`` and ``tensorboard/``.

    Side effect: what a process that was killed has recorded of steps after ``resume_step`` is
    dropped, because these steps will be trained, and recorded, again.

    Args:
      workdir: the run directory.
      resume_step: the step that training continues from; None for the beginning.

    Raises:
      WorkdirError: the directory cannot be written.
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
    """Import what is needed of tensorboardX, and hide PyTorch from it meanwhile.

    It imports PyTorch wherever that is installed, for a type annotation: seconds of start-up time.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # so `import torch` fails
    try:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import image, text
    finally:
        if hidden:
            del sys.modules["torch"]
    return types.SimpleNamespace(
        Event=Event,
        RecordWriter=RecordWriter,
        SessionLog=SessionLog,
        Summary=Summary,
        image=image,
        text=text,
    )


def truncate_after(path: str | Path, step: int | None) -> None:
    """Drop the rows of steps later than ``step``, and a row that a crash has left unfinished.

    The rows that stay keep every byte. A file that needs no change is not touched, and a missing
    one not made; a crash leaves the old rows or the new ones, never less.

    Args:
      path: a ``metrics.jsonl``.
      step: the last step to stay; None drops every row.

    Raises:
      WorkdirError: it cannot be read or written.
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
    """Return the rows of a ``metrics.jsonl``, NaN and infinities as floats again.

    Rows that are not complete (one is being written, or a crash has cut it) are left out.
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
    """Return the step of a row; infinity where the line is not a complete row."""
    if not line.endswith(b"\n"):
        return math.inf
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _strict(value: float) -> float | int | str:
    """Return a number as JSON can hold it."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, int):
        return number
    number = float(number)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
