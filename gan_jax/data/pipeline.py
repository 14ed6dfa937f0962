"""From a source to the batches of a run, on one of two paths that give the same batches.

Resident: the whole set lies in device memory as uint8, a call gets indices and gathers inside the
step. Streamed: threads or Grain's worker processes read and decode ahead, a call gets the examples.

Example ``i`` of batch ``k`` of step ``s`` stands at position
``(s * batches_per_step + k) * global_batch + i`` of the order (:mod:`gan_jax.data.order`); process
``p`` of ``P`` reads the ``p``-th contiguous part of every batch. So what a step sees depends on the
seed and its number alone.

Of two domains (`gan_jax.data.sources.pairs.DomainSource`) each has an order of its own; an index
stands for the A and the B that meet at a position, and the resident set holds both sets.
"""

import concurrent.futures
import dataclasses
import functools
import logging
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
from gan_jax.data.sources.base import Source
from gan_jax.data.sources.pairs import DomainSource
from gan_jax.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]
Progress = Callable[[int, int], None]

# Grain wants a length; no run reaches this many batches.
_ENDLESS = 2**53
# A worker that is told to end waits so long for its parent to fetch the batches of its last steps.
_GRACE_SECONDS = 60.0
_READ_AT_ONCE = 256
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

    def indices(self, batch: int, count: int = 1) -> np.ndarray:
        """Return this process's part of some batches, counted from the start of training.

        Args:
          batch: number of the first batch, ``step * batches_per_step + k``.
          count: number of batches.

        Returns:
          int32 (int64 from 2^31 examples on, and for domains) [count, local_batch].
        """
        start, total = batch * self.global_batch, count * self.global_batch
        rows = order.indices(self.seed, start, total, self.sizes[0])
        if len(self.sizes) == 2:
            second = order.indices(self.seed + _SECOND, start, total, self.sizes[1])
            rows = rows.astype(np.int64) * self.sizes[1] + second
        first = self.process_index * self.local_batch
        return rows.reshape(count, self.global_batch)[:, first : first + self.local_batch]


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

        ``{"image": uint8 [n, h, w, c] or float32 [n, 2], "label": int32 [n]}``; of two domains
        ``image`` and ``label`` are the first's, and ``other`` has the images of the second.
        """
        if not self.resident:
            return {}
        if isinstance(self.source, DomainSource):
            first, second = (load(s, self._progress) for s in (self.source.a, self.source.b))
            return {**first, "other": second["image"]}
        return load(self.source, self._progress)

    def abstract_data(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of everything in :attr:`data`, without reading it."""
        if not self.resident:
            return {}
        first = self.source.a if isinstance(self.source, DomainSource) else self.source
        dtype = np.float32 if len(first.shape) == 1 else np.uint8
        found: dict[str, tuple[tuple[int, ...], Any]] = {
            "image": ((len(first), *first.shape), dtype),
            "label": ((len(first),), np.int32),
        }
        if isinstance(self.source, DomainSource):
            second = self.source.b
            found["other"] = ((len(second), *second.shape), np.uint8)
        return found

    def abstract_batch(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of one call's batches over all processes."""
        layout = self._layout
        leading = (self._steps_per_call, layout.batches_per_step, layout.global_batch)
        if self.resident:
            pair = (2,) if len(layout.sizes) == 2 else ()
            return {"index": ((*leading, *pair), np.int32)}
        dtype = np.float32 if len(self.source.shape) == 1 else np.uint8
        return {"image": ((*leading, *self.source.shape), dtype), "label": (leading, np.int32)}

    def batches(self, start_step: int) -> "Batches":
        """Return an iterator over the calls from a step on; close it, or use ``with``.

        Args:
          start_step: number of the first step; starting costs the same wherever it is.

        Returns:
          An endless iterator over dicts with leading dimensions
          ``[steps_per_call, batches_per_step, local_batch]``: ``{"index": int32}`` when resident
          (of two domains with a last dimension of 2), ``{"image", "label"}`` when streamed.
        """
        per_call = self._steps_per_call * self._layout.batches_per_step
        shape = (self._steps_per_call, self._layout.batches_per_step, self._layout.local_batch)
        first = start_step * self._layout.batches_per_step
        if self.resident:
            return Batches(_index_calls(self._layout, first, per_call, shape))
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
    sizes: tuple[int, ...] = (len(source),)
    if isinstance(source, DomainSource):
        sizes = (len(source.a), len(source.b))
    layout = Layout(seed, sizes, global_batch, batches_per_step, process_index, process_count)
    return Pipeline(source, layout, steps_per_call, resident, workers, prefetch, progress)


def resident_bytes(source: Source) -> int:
    """Return the bytes that the set takes as the arrays of :attr:`Pipeline.data`."""
    if isinstance(source, DomainSource):
        return resident_bytes(source.a) + resident_bytes(source.b)
    item = 4 if len(source.shape) == 1 else 1  # toy points are float32
    return len(source) * (item * int(np.prod(source.shape)) + 4)


def load(
    source: Source, progress: Progress | None = None, indices: Sequence[int] | None = None
) -> Batch:
    """Read and decode a source, in threads.

    Args:
      source: the data set.
      progress: called with (examples read, examples in all), from this thread.
      indices: the examples to read; ``None``: all.

    Returns:
      ``{"image": uint8 [n, h, w, c] or float32 [n, 2], "label": int32 [n]}``.

    Raises:
      DataError: an example cannot be read or decoded.
    """
    size = len(source) if indices is None else len(indices)
    wanted = range(size) if indices is None else indices
    dtype = np.float32 if len(source.shape) == 1 else np.uint8
    data = {"image": np.empty((size, *source.shape), dtype), "label": np.empty(size, np.int32)}

    def read(start: int) -> int:
        chunk = source.read(wanted[start : start + _READ_AT_ONCE])
        stop = start + len(chunk["label"])
        data["image"][start:stop], data["label"][start:stop] = chunk["image"], chunk["label"]
        return stop - start

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
    layout: Layout, first: int, per_call: int, shape: tuple[int, ...]
) -> Generator[Batch, None, None]:
    while True:
        index = layout.indices(first, per_call).reshape(shape)
        if len(layout.sizes) == 2:
            index = np.stack(np.divmod(index, layout.sizes[1]), axis=-1)
        yield {"index": index.astype(np.int32)}
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
    reported = len(source.failures)
    try:
        while True:
            call: Batch = {}
            for k in range(steps * per_step):
                row = _next(source, rows)
                for name in ("image", "label"):
                    values = row[name]
                    if name not in call:
                        call[name] = np.empty((steps * per_step, *values.shape), values.dtype)
                    call[name][k] = values
                # What a worker process skipped, this process learns from its batches.
                for i in layout.indices(first + k)[0][row["failed"]].tolist():
                    source.failures.setdefault(i, f"{source.item_name(i)} cannot be decoded")
                del row, values  # views of shared memory, which is freed with them
            reported = _warn_of_failures(source, reported)
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
        chosen = self._layout.indices(batch)[0]
        row = self._source.read(chosen)
        failed = [int(i) in self._source.failures for i in chosen]
        return {**row, "failed": np.array(failed, bool)}


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
    """Let Grain read its own flags where nobody parsed a command line, as in a notebook.

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
