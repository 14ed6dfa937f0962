"""From a source to the batches of a run, on one of two paths that give the same batches.

Resident: the whole set lies in device memory as it is stored, a call gets indices and gathers
inside the step. Streamed: threads or Grain's worker processes read and decode ahead, a call gets
the examples.

Example ``i`` of batch ``k`` of step ``s`` stands at position
``(s * batches_per_step + k) * global_batch + i`` of the order (:mod:`gan_jax.data.order`); process
``p`` of ``P`` reads the ``p``-th contiguous part of every batch. So what a step sees depends on the
seed and its number alone.

Each of two domains (`gan_jax.data.sources.pairs.DomainSource`) has an order of its own.
"""

import concurrent.futures
import dataclasses
import functools
import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from gan_jax.data import order
from gan_jax.data import spec as specs
from gan_jax.data.sources.base import Source
from gan_jax.data.sources.pairs import domains
from gan_jax.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]
Progress = Callable[[int, int], None]

# Grain wants a length; no run reaches this many batches.
_ENDLESS = 2**53
# A worker that is told to end waits so long for its parent to fetch the batches of its last steps.
_GRACE_SECONDS = 60.0
_READ_AT_ONCE = 256
# Not the name of a field: bool [domains, batch] of the examples that could not be decoded.
_FAILED = "/failed"
# The second domain's order has a seed that no run can have.
_SECOND = 2**32


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which examples a process reads, in what order.

    Attributes:
      seed: seed of the order.
      sizes: number of examples of the data set, or of each of two domains.
      global_batch: examples of one batch over all processes.
      batches_per_step: batches that one train step consumes.
      process_index: number of this process.
      process_count: number of processes.
    """

    seed: int
    sizes: tuple[int, ...]
    global_batch: int
    batches_per_step: int
    process_index: int = 0
    process_count: int = 1

    @property
    def local_batch(self) -> int:
        """Examples of one batch that this process reads."""
        return self.global_batch // self.process_count

    def indices(self, batch: int, count: int = 1) -> list[np.ndarray]:
        """Return this process's part of some batches, counted from the start of training.

        Args:
          batch: number of the first batch, ``step * batches_per_step + k``.
          count: number of batches.

        Returns:
          int32 (int64 from 2^31 examples on) [count, local_batch], of each of ``sizes``.
        """
        start, total = batch * self.global_batch, count * self.global_batch
        first = self.process_index * self.local_batch
        rows = []
        for number, size in enumerate(self.sizes):
            drawn = order.indices(self.seed + number * _SECOND, start, total, size)
            own = drawn.reshape(count, self.global_batch)[:, first : first + self.local_batch]
            rows.append(own)
        return rows


class Pipeline:
    """The batches of a run; made by :func:`make_pipeline`.

    Attributes:
      source: the source.
      resident: True: a call gets indices into :attr:`data`; False: it gets the examples.
    """

    def __init__(
        self,
        source: Source,
        layout: Layout,
        steps_per_call: int,
        resident: bool,
        workers: int,
        prefetch: int,
        progress: Progress | None,
    ):
        self.source = source
        self.resident = resident
        self._layout = layout
        self._steps_per_call = steps_per_call
        self._workers = workers
        self._prefetch = prefetch
        self._progress = progress

    @functools.cached_property
    def data(self) -> Batch:
        """The resident data set, read and decoded when first asked for; {} when streamed.

        Arrays ``[n, ...]`` by field; the ``n`` of two domains differ.
        """
        if not self.resident:
            return {}
        loaded: Batch = {}
        for name, side in domains(self.source).items():
            arrays = load(side, self._progress)
            loaded.update({name: specs.data(arrays, side.spec)} if name else arrays)
        return loaded

    def abstract_data(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of everything in :attr:`data`, without reading it."""
        if not self.resident:
            return {}
        sides = domains(self.source)
        return {
            name: ((len(sides.get(name, self.source)), *field.shape), np.dtype(field.dtype))
            for name, field in self.source.spec.items()
        }

    def abstract_batch(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of one call's batches over all processes."""
        layout = self._layout
        leading = (self._steps_per_call, layout.batches_per_step, layout.global_batch)
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
        per_call = self._steps_per_call * self._layout.batches_per_step
        shape = (self._steps_per_call, self._layout.batches_per_step, self._layout.local_batch)
        first = start_step * self._layout.batches_per_step
        if self.resident:
            names = [name or "index" for name in domains(self.source)]
            return Batches(_index_calls(self._layout, names, first, per_call, shape))
        ahead = self._prefetch * per_call
        rows = functools.partial(_stream, self.source, self._layout, first, ahead, self._workers)
        return Batches(_example_calls(self.source, self._layout, rows, first, shape))


class Batches(Iterator[Batch]):
    """An iterator over calls that can be closed, which ends its threads and worker processes."""

    def __init__(self, calls: Generator[Batch, None, None]):
        self._calls = calls
        # Also runs when it is forgotten: at the latest when the interpreter exits, before modules
        # are torn down, of which Grain's shared memory would complain.
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
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
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
      workers: processes that read when streamed; 0: threads of this process. Processes hand over
        through shared memory: in a container give /dev/shm room for ``prefetch`` calls.
      prefetch: calls that are read ahead when streamed.
      resident: the path; None chooses by size.
      progress: called with (examples read, examples in all) while the resident set is read.

    Raises:
      ConfigError: the batch does not divide, or a number cannot work.
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
    if resident is None:
        resident = resident_bytes(source) <= device_cache_gib * 2**30
    sizes = tuple(len(side) for side in domains(source).values())
    layout = Layout(seed, sizes, global_batch, batches_per_step, process_index, process_count)
    return Pipeline(source, layout, steps_per_call, resident, workers, prefetch, progress)


def resident_bytes(source: Source) -> int:
    """Return the bytes that the set takes as the arrays of :attr:`Pipeline.data`."""
    sides = domains(source)
    return sum(
        len(sides.get(name, source)) * math.prod(field.shape) * np.dtype(field.dtype).itemsize
        for name, field in source.spec.items()
    )


def load(
    source: Source, progress: Progress | None = None, indices: Sequence[int] | None = None
) -> Batch:
    """Read and decode a source, in threads.

    Args:
      source: the data set.
      progress: called with (examples read, examples in all), from this thread.
      indices: the examples to read; ``None``: all.

    Returns:
      Arrays ``[n, ...]`` by field.

    Raises:
      DataError: an example cannot be read or decoded.
    """
    size = len(source) if indices is None else len(indices)
    wanted = range(size) if indices is None else indices
    data = {name: np.empty((size, *f.shape), f.dtype) for name, f in source.spec.items()}

    def read(start: int) -> int:
        chosen = wanted[start : start + _READ_AT_ONCE]
        for name, values in source.read(chosen).items():
            data[name][start : start + len(chosen)] = values
        return len(chosen)

    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
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
    _warn_of_failures(source, 0)
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


def _example_calls(
    source: Source,
    layout: Layout,
    start: Callable[[], Any],
    first: int,
    shape: tuple[int, int, int],
) -> Generator[Batch, None, None]:
    """Put the batches of Grain's iterator together to calls, and note what had to be skipped."""
    steps, per_step, _ = shape
    rows = start()
    sides = list(domains(source).values())
    reported = [len(side.failures) for side in sides]
    try:
        while True:
            call: Batch = {}
            for k in range(steps * per_step):
                row = _next(source, rows)
                for name in source.spec:
                    values = row[name]
                    if name not in call:
                        call[name] = np.empty((steps * per_step, *values.shape), values.dtype)
                    call[name][k] = values
                # What a worker process skipped, this process learns from its batches.
                chosen = layout.indices(first + k)
                for side, own, failed in zip(sides, chosen, row[_FAILED], strict=True):
                    for i in own[0][failed].tolist():
                        side.failures.setdefault(i, f"{side.item_name(i)} cannot be decoded")
                del row, values, failed  # views of shared memory, which is freed with them
            reported = [_warn_of_failures(*pair) for pair in zip(sides, reported, strict=True)]
            yield {
                name: values.reshape(steps, per_step, *values.shape[1:])
                for name, values in call.items()
            }
            first += steps * per_step
    finally:
        rows.close()


def _next(source: Source, rows: Any) -> Batch:
    """Return Grain's next batch; whatever goes wrong while reading is a DataError."""
    try:
        return next(rows)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"reading {source.name} failed: {error}") from error


def _warn_of_failures(source: Source, reported: int) -> int:
    """Log the failures since the first ``reported``, and return how many there are in all."""
    new = list(source.failures.values())[reported:]
    if new:
        logging.getLogger(__name__).warning(
            "%s: skipped %d images that cannot be decoded (%d in all), first: %s",
            source.name,
            len(new),
            len(source.failures),
            new[0],
        )
    return reported + len(new)


class _ReadBatch:
    """Reads the batch of a number; travels to Grain's workers."""

    def __init__(self, source: Source, layout: Layout):
        self._source = source
        self._layout = layout

    def __call__(self, batch: int) -> Batch:
        row: Batch = {}
        failed = []
        chosen = self._layout.indices(batch)
        for (name, side), (own,) in zip(domains(self._source).items(), chosen, strict=True):
            arrays = side.read(own.tolist())
            row.update({name: specs.data(arrays, side.spec)} if name else arrays)
            failed.append([i in side.failures for i in own.tolist()])
        return {**row, _FAILED: np.array(failed, bool)}


def _stream(source: Source, layout: Layout, first: int, ahead: int, workers: int) -> Any:
    """Return Grain's iterator over this process's batches from number ``first`` on.

    Args:
      source: the data set.
      layout: which examples.
      first: number of the first batch.
      ahead: batches that are read ahead.
      workers: worker processes; 0: threads.
    """
    import grain  # slow to import, and needed for this path only

    # Whole batches are Grain's elements, so that dealing them out to workers keeps their order.
    batches = grain.MapDataset.range(first, _ENDLESS).map(_ReadBatch(source, layout))
    if workers == 0:
        threads = min(16, os.cpu_count() or 1, ahead)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        return iter(batches.to_iter_dataset(options))
    _mark_flags_as_parsed()
    each = -(-ahead // workers)
    # One thread a worker: decoding small images holds the interpreter's lock most of the time.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    parallel = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=each)
    # Small arrays are cheaper through the pipe than in shared memory of their own.
    dataset = grain.experimental.WithOptionsIterDataset(
        batches.to_iter_dataset(options), grain.experimental.DatasetOptions(min_shm_size=2048)
    )
    return iter(dataset.mp_prefetch(parallel, worker_init_fn=_start_worker))


def _mark_flags_as_parsed() -> None:
    """Let Grain read its own flags where no command line was parsed, as in a notebook.

    Side effect: marks absl's global flags as parsed. Grain 0.2.17 and 0.2.18 read a flag when
    worker processes start, and fail without (google/grain#1355).
    """
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _start_worker(index: int, count: int) -> None:
    """Set up a worker process: it outlives a signal to the whole job, but never its parent.

    Ctrl-C and a scheduler's SIGTERM reach workers too. The parent finishes its step and saves, for
    which it needs their batches; it ends them when it closes the iterator.
    """
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_later(*_: object) -> None:
        timer = threading.Timer(_GRACE_SECONDS, os._exit, [1])
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end_later)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
