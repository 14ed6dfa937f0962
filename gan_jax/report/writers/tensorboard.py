"""TensorBoard's event files, written by tensorboardX."""

import contextlib
import functools
import socket
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic
from gan_jax.report.writers.writer import Writer

TENSORBOARD = "tensorboard"

_FLUSH_SECONDS = 10.0


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
