"""From a source to the batches of a run, on one of two paths that give the same batches.

Resident: the whole set is in device memory as it is stored, and a call gets indices, by which the
step gathers. Streamed (`gan_jax.data.stream`): a call gets the examples.

Example ``i`` of batch ``k`` of step ``s`` stands at position
``(s * batches_per_step + k) * global_batch + i`` of the order (:mod:`gan_jax.data.order`); process
``p`` of ``P`` reads the ``p``-th contiguous part of every batch. So what a step sees depends on the
seed and its number alone.

Each of two domains (`gan_jax.data.sources.pairs.DomainSource`) has an order of its own.
"""

import concurrent.futures
import dataclasses
import functools
import math
import os
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.data import decoded, processes, stream
from gan_jax.data import spec as specs
from gan_jax.data.order import Layout
from gan_jax.data.sources.base import Source
from gan_jax.data.sources.pairs import domains
from gan_jax.data.stream import Batch
from gan_jax.errors import ConfigError

Progress = Callable[[int, int], None]

_READ_AT_ONCE = 256
# Fewer examples are decoded by threads before a process has started.
_LEAST_FOR_PROCESSES = 4096


@dataclasses.dataclass(eq=False)
class Pipeline:
    """The batches of a run; made by `make_pipeline`.

    Attributes:
      source: the data set.
      layout: which examples, in what order.
      steps_per_call: train steps of one call.
      resident: True: a call gets indices into `data`; False: it gets the examples.
      workers: as for `make_pipeline`.
      prefetch: likewise.
      progress: likewise.
    """

    source: Source
    layout: Layout
    steps_per_call: int
    resident: bool
    workers: int
    prefetch: int
    progress: Progress | None

    @functools.cached_property
    def data(self) -> Batch:
        """The resident data set, read and decoded when first asked for; {} when streamed.

        Arrays ``[n, ...]`` by field; the ``n`` of two domains differ.
        """
        if not self.resident:
            return {}
        loaded: Batch = {}
        for name, side in domains(self.source).items():
            decode = functools.partial(load, side, self.progress)
            arrays = decoded.load(self._files[name], side, decode)
            loaded.update({name: specs.data(arrays, side.spec)} if name else arrays)
        return loaded

    @functools.cached_property
    def _files(self) -> dict[str, Path | None]:
        """Where the cache directory keeps the decoded set, or each of two domains."""
        return {name: decoded.file_of(side) for name, side in domains(self.source).items()}

    @property
    def is_decoded(self) -> bool:
        """Whether a resident set is in the cache directory, or one of two domains."""
        return self.resident and any(file and file.exists() for file in self._files.values())

    def read(self, progress: Progress) -> Batch:
        """Return `data`; while they are read, ``progress`` is called as for `load`."""
        self.progress = progress
        return self.data

    def abstract_data(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of everything in `data`, without reading it."""
        if not self.resident:
            return {}
        sides = domains(self.source)
        return {
            name: ((len(sides.get(name, self.source)), *field.shape), np.dtype(field.dtype))
            for name, field in self.source.spec.items()
        }

    def abstract_batch(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of one call's batches over all processes."""
        layout = self.layout
        leading = (self.steps_per_call, layout.batches_per_step, layout.global_batch)
        if self.resident:
            return {name or "index": (leading, np.int32) for name in domains(self.source)}
        return {
            name: ((*leading, *field.shape), np.dtype(field.dtype))
            for name, field in self.source.spec.items()
        }

    def batches(self, start_step: int) -> "Batches":
        """Return an iterator over the calls from a step on; close it, or use ``with``.

        Args:
          start_step: number of the first step; starting costs the same wherever it is.

        Returns:
          An endless iterator over dicts with leading dimensions
          ``[steps_per_call, batches_per_step, local_batch]``: when resident, ``{"index": int32}``,
          or of two domains ``{"a": int32, "b": int32}``; when streamed, the examples by field.
        """
        per_call = self.steps_per_call * self.layout.batches_per_step
        shape = (self.steps_per_call, self.layout.batches_per_step, self.layout.local_batch)
        first = start_step * self.layout.batches_per_step
        if self.resident:
            names = [name or "index" for name in domains(self.source)]
            return Batches(_index_calls(self.layout, names, first, per_call, shape))
        streamed = stream.calls(self.source, self.layout, first, shape, self.prefetch, self.workers)
        return Batches(streamed)


class Batches(Iterator[Batch]):
    """An iterator over calls that can be closed, which ends its threads and worker processes."""

    def __init__(self, calls: Generator[Batch, None, None]):
        self._calls = calls
        # Also runs without `close`: at the latest when the interpreter exits, before modules are
        # torn down, which Grain's shared memory requires.
        self._end = weakref.finalize(self, calls.close)

    def __next__(self) -> Batch:
        """Return the next call's batches.

        Raises:
          DataError: the data cannot be read; the iterator is closed.
          StopIteration: the iterator is closed.
        """
        return next(self._calls)

    def close(self) -> None:
        """End threads and worker processes; may be called twice.

        Raises:
          ValueError: another thread is waiting for a batch just now.
        """
        self._end()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_pipeline(
    source: Source,
    *,
    seed: int,
    global_batch: int,
    batches_per_step: int,
    steps_per_call: int,
    process_index: int = 0,
    process_count: int = 1,
    device_cache_gib: float = 2.0,
    workers: int = 0,
    prefetch: int = 2,
    resident: bool | None = None,
    progress: Progress | None = None,
) -> Pipeline:
    """Return the batches of a run; nothing is read yet.

    Args:
      source: the data set.
      seed: seed of the order.
      global_batch: examples of one batch, over all processes.
      batches_per_step: batches that one train step consumes.
      steps_per_call: train steps of one call.
      process_index: number of this process.
      process_count: number of processes; each reads its part of every batch.
      device_cache_gib: a set up to this size is resident, unless ``resident`` says otherwise.
      workers: processes that read when streamed; 0: threads of this process. Processes return
        examples in shared memory: a container's /dev/shm must hold ``prefetch`` calls.
      prefetch: calls that are read ahead when streamed.
      resident: the path; None chooses by size.
      progress: called with (examples read, examples in all) while the resident set is read.

    Raises:
      ConfigError: the batch is not a multiple of the processes, or a number is out of range, such
        as ``$GAN_JAX_DECODED_GIB``.
    """
    for field, value in [
        ("train.batch_size", global_batch),
        ("batches_per_step", batches_per_step),
        ("train.steps_per_call", steps_per_call),
        ("data.prefetch", prefetch),
    ]:
        if value < 1:
            raise ConfigError(f"{field} = {value}; accepted: 1 or more")
    if workers < 0:
        raise ConfigError(f"data.workers = {workers}; accepted: 0 (threads) or more")
    if global_batch % process_count:
        raise ConfigError(
            f"train.batch_size = {global_batch}; accepted: a multiple of the {process_count} "
            "processes"
        )
    decoded.limit_bytes()  # One that is no number is reported before anything is read.
    if resident is None:
        resident = resident_bytes(source) <= device_cache_gib * 2**30
    sizes = tuple(len(side) for side in domains(source).values())
    layout = Layout(seed, sizes, global_batch, batches_per_step, process_index, process_count)
    return Pipeline(source, layout, steps_per_call, resident, workers, prefetch, progress)


def resident_bytes(source: Source) -> int:
    """Return the bytes that the set takes as the arrays of `Pipeline.data`."""
    sides = domains(source)
    return sum(
        len(sides.get(name, source)) * math.prod(field.shape) * np.dtype(field.dtype).itemsize
        for name, field in source.spec.items()
    )


def load(
    source: Source, progress: Progress | None = None, indices: Sequence[int] | None = None
) -> Batch:
    """Read and decode a source on all cores, and return arrays ``[n, ...]`` by field.

    Side effect: a set of many files is decoded in processes, which end before this returns.

    Args:
      source: the data set.
      progress: called with (examples read, examples in all), from this thread.
      indices: the examples to read; ``None``: all.

    Raises:
      DataError: an example cannot be read or decoded.
    """
    size = len(source) if indices is None else len(indices)
    wanted = range(size) if indices is None else indices
    count = min(16, os.cpu_count() or 1)
    filling: AbstractContextManager[tuple[Batch, processes.Fill]]
    if source.decodes and count > 1 and size >= _LEAST_FOR_PROCESSES:
        filling = processes.filling(source, size, count)
    else:
        empty = {name: np.empty((size, *f.shape), f.dtype) for name, f in source.spec.items()}
        filling = nullcontext((empty, functools.partial(processes.fill, source, empty)))

    with filling as (data, fill), concurrent.futures.ThreadPoolExecutor(count) as pool:

        def read(start: int) -> int:
            chosen = wanted[start : start + _READ_AT_ONCE]
            fill(start, chosen)
            return len(chosen)

        futures = [pool.submit(read, start) for start in range(0, size, _READ_AT_ONCE)]
        done = 0
        try:
            for future in concurrent.futures.as_completed(futures):
                done += future.result()
                if progress is not None:
                    progress(done, size)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    stream.warn_of_failures(source, 0)
    return data


def _index_calls(
    layout: Layout, names: list[str], first: int, per_call: int, shape: tuple[int, ...]
) -> Generator[Batch, None, None]:
    while True:
        rows = layout.indices(first, per_call)
        yield {
            name: own.reshape(shape).astype(np.int32) for name, own in zip(names, rows, strict=True)
        }
        first += per_call
