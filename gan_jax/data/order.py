"""The order of the examples: a pure function of (seed, position), one permutation per epoch.

A position counts examples since the start of training, over all processes. There is no state, so a
resumed run needs only its step, and the order depends neither on the number of workers and
processes nor on the size of the batches.

The permutation is the argsort of raw Philox bits (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", 2011). NumPy guarantees the streams of its bit generators (NEP 19), but not
``Generator.permutation``; a golden test holds this order fixed.
"""

import dataclasses
import functools

import numpy as np

# The second domain's order has a seed that no run can have.
_SECOND = 2**32


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the order of epoch ``epoch`` of a set of ``size`` examples.

    Returns:
      int32 (int64 from 2^31 examples on) [size], each of 0 ... size - 1 once; read-only, because
      the last few are cached.
    """
    bits = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(size)
    order = np.argsort(bits, kind="stable").astype(np.int32 if size < 2**31 else np.int64)
    order.flags.writeable = False
    return order


def indices(seed: int, start: int, count: int, size: int) -> np.ndarray:
    """Return the examples at positions ``start`` ... ``start + count - 1``.

    Args:
      seed: any integer; taken modulo 2^64.
      start: first position, from 0; may lie in any epoch.
      count: number of positions, in any number of epochs.
      size: number of examples of the data set.

    Returns:
      int32 (int64 from 2^31 examples on) [count], indices into the data set.

    Raises:
      ValueError: ``size`` is not positive, or ``start`` or ``count`` is negative.
    """
    if size <= 0 or start < 0 or count < 0:
        raise ValueError(f"need size > 0, start >= 0, count >= 0; got {size=}, {start=}, {count=}")
    pieces = []
    position, end = start, start + count
    while position < end:
        epoch, offset = divmod(position, size)
        piece = permutation(seed, epoch, size)[offset : offset + end - position]
        pieces.append(piece)
        position += len(piece)
    if not pieces:
        return np.zeros(0, np.int32 if size < 2**31 else np.int64)
    return np.concatenate(pieces)


def subset(size: int, count: int) -> np.ndarray:
    """Return ``count`` of the numbers below ``size``, ascending: a fixed random choice.

    A data set may be sorted by class, so its first examples are not a fair sample of it.
    """
    return np.sort(np.random.default_rng(0).permutation(size)[:count])


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which examples a process reads, in what order.

    Attributes:
      seed: seed of the order.
      sizes: number of examples of the data set, or of each of two domains, which have orders of
        their own.
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
        """Return this process's part of ``count`` batches from number ``batch`` on.

        Batch ``k`` of step ``s`` has the number ``s * batches_per_step + k``.

        Returns:
          int32 (int64 from 2^31 examples on) [count, local_batch], for each of ``sizes``.
        """
        start, total = batch * self.global_batch, count * self.global_batch
        first = self.process_index * self.local_batch
        rows = []
        for number, size in enumerate(self.sizes):
            drawn = indices(self.seed + number * _SECOND, start, total, size)
            own = drawn.reshape(count, self.global_batch)[:, first : first + self.local_batch]
            rows.append(own)
        return rows
