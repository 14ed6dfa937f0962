"""Processes that read a source into shared memory, for sets of many small images.

Decoding a small image is mostly Python's work, for which the threads of one process take turns.
These processes import neither JAX nor the main module of the program, and end with the process that
has started them.
"""

import contextlib
import mmap
import multiprocessing
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import numpy as np

from gan_jax.data.sources.base import Example, Source
from gan_jax.errors import DataError

Fill = Callable[[int, Sequence[int]], None]
# XLA takes arrays that begin at a multiple of this without copying them.
_ALIGNMENT = 64


def fill(source: Source, data: Example, start: int, indices: Sequence[int]) -> None:
    """Read examples into the rows of ``data`` from ``start`` on; raises as `Source.read`."""
    for name, values in source.read(indices).items():
        data[name][start : start + len(indices)] = values


@contextlib.contextmanager
def filling(source: Source, size: int, count: int) -> Iterator[tuple[Example, Fill]]:
    """Start processes, and end them with the context.

    Args:
      source: what they read.
      size: examples that are read.
      count: of the processes.

    Yields:
      Arrays ``[size, ...]`` by field, and a function that does what `fill` does with them, for as
      many threads as there are processes.
    """
    idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()

    def fill_in_process(start: int, indices: Sequence[int]) -> None:
        connection = idle.get()
        try:
            connection.send((start, list(indices)))
            answer = connection.recv()
        except (EOFError, OSError) as error:
            raise DataError(
                f"a process that reads {source.name} has ended, perhaps for lack of memory"
            ) from error
        finally:
            idle.put(connection)
        if isinstance(answer, Exception):
            raise answer
        if answer:
            source.read(answer)  # Here, too, these failures are noted.

    with _memory() as memory, contextlib.ExitStack() as stack:
        data = _arrays(memory, source, size)
        connections = [stack.enter_context(_started(memory)) for _ in range(count)]
        packed = ForkingPickler.dumps((source, size))  # Once: of many files, it takes a while.
        for connection in connections:
            connection.send_bytes(packed)
            idle.put(connection)
        yield data, fill_in_process


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    """Open a file that has no name, and takes memory as far as it is written to."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("gan_jax"), "w+b") as file:
            yield file.fileno()
    else:
        with tempfile.TemporaryFile() as file:
            yield file.fileno()


def _arrays(memory: int, source: Source, size: int) -> Example:
    """Return arrays ``[size, ...]`` by field in a file: in every process, the same memory."""
    starts, end = {}, 0
    for name, field in source.spec.items():
        starts[name] = end
        width = np.dtype(field.dtype).itemsize * int(np.prod(field.shape))
        end += -(-size * width // _ALIGNMENT) * _ALIGNMENT
    os.ftruncate(memory, end)
    mapped = mmap.mmap(memory, end)
    return {
        name: np.ndarray((size, *field.shape), field.dtype, mapped, starts[name])
        for name, field in source.spec.items()
    }


@contextlib.contextmanager
def _started(memory: int) -> Iterator[Connection]:
    """Start a process, which ends when the connection to it is closed."""
    here, there = multiprocessing.Pipe()
    with there:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(there.fileno()), str(memory)],
            pass_fds=[there.fileno(), memory],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
            # Signals to the whole job are for the process that has started it.
            start_new_session=True,
        )
    with process, here:
        yield here


def _serve(connection: Connection, memory: int) -> None:
    """Fill rows as `fill` does, and answer with the failed indices or an error, until the end."""
    with contextlib.suppress(EOFError, ConnectionError):  # The other end is closed.
        source, size = connection.recv()
        data = _arrays(memory, source, size)
        while True:
            start, indices = connection.recv()
            answer: list[int] | Exception
            try:
                fill(source, data, start, indices)
                answer = [i for i in indices if i in source.failures]
            except Exception as error:  # Of any kind: whoever waits for the answer raises it.
                answer = error
            connection.send(answer)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
