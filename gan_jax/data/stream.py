"""The streamed path of a pipeline: threads or Grain's worker processes read and decode ahead."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Generator
from typing import Any

import numpy as np

from gan_jax.data import spec as specs
from gan_jax.data.order import Layout
from gan_jax.data.sources.base import Source
from gan_jax.data.sources.pairs import domains
from gan_jax.errors import DataError

Batch = dict[str, np.ndarray]

# Grain wants a length; no run reaches this many batches.
_ENDLESS = 2**53
# After SIGTERM, a worker waits this long for its parent to fetch the batches of its last steps.
_GRACE_SECONDS = 60.0
# Not the name of a field: bool [domains, batch] of the examples that could not be decoded.
_FAILED = "/failed"


def calls(
    source: Source,
    layout: Layout,
    first: int,
    shape: tuple[int, int, int],
    prefetch: int,
    workers: int,
) -> Generator[Batch, None, None]:
    """Yield the examples of calls, stacked by field, and log the images that were skipped.

    Args:
      source: the data set.
      layout: which examples.
      first: number of the first batch.
      shape: (steps of a call, batches of a step, examples of a batch in this process).
      prefetch: calls that are read ahead.
      workers: worker processes; 0: threads.
    """
    steps, per_step, _ = shape
    rows = _stream(source, layout, first, prefetch * steps * per_step, workers)
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
                # A worker process reports what it skipped in its batches.
                chosen = layout.indices(first + k)
                for side, own, failed in zip(sides, chosen, row[_FAILED], strict=True):
                    for i in own[0][failed].tolist():
                        side.failures.setdefault(i, f"{side.item_name(i)} cannot be decoded")
                del row, values, failed  # views of shared memory, which is freed with them
            reported = [warn_of_failures(*pair) for pair in zip(sides, reported, strict=True)]
            yield {
                name: values.reshape(steps, per_step, *values.shape[1:])
                for name, values in call.items()
            }
            first += steps * per_step
    finally:
        rows.close()


def warn_of_failures(source: Source, reported: int) -> int:
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


def _next(source: Source, rows: Any) -> Batch:
    """Return Grain's next batch; any error while reading becomes a DataError."""
    try:
        return next(rows)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"reading {source.name} failed: {error}") from error


class _ReadBatch:
    """Reads the batch of a number; is pickled for Grain's workers."""

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
    """Return Grain's iterator over batches from number ``first`` on; it reads ``ahead`` of them."""
    import grain  # slow to import, and needed for this path only

    # Whole batches are Grain's elements, so that distributing them over workers keeps their order.
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
    """Let a worker process survive signals to the whole job, but end with its parent.

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
