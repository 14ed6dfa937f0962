"""The kernels of a profile: their kinds, durations, and the gaps between them."""

import collections
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from scripts.train_steps import Row

# By the first pattern that a kernel's name matches: XLA's own kernels come before libraries'.
KINDS = (
    ("reduction", r"^(input|loop|wrapped)_\w*reduce"),
    ("elementwise", r"^(input|loop|wrapped)_"),
    ("padding and set-up", r"AddPadding|init_device_workspace|convertTensor|[Mm]em(set|cpy)"),
    ("convolution", r"fprop|dgrad|wgrad|[Cc]onvol|implicit_gemm"),
    ("matrix product", r"gemm|nvjet|cublas|dot|cutlass"),
)


class Kernel(NamedTuple):
    """One kernel of a trace, in nanoseconds."""

    name: str
    start: float
    duration: float


def read(path: Path) -> list[Kernel]:
    """Return the kernels in a profile by their start; on CPU what its threads ran."""
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    chosen = [plane for plane in planes if "/device:GPU" in plane.name or "TPU" in plane.name]
    kernels = []
    for plane in chosen or planes:
        for line in plane.lines:
            if chosen and "Stream" not in line.name and "TPU" not in plane.name:
                continue  # Lines of XLA's operations repeat what the streams ran.
            found = (Kernel(e.name, e.start_ns, e.duration_ns) for e in line.events)
            kernels += [k for k in found if not k.name.startswith("$")]  # Python functions.
    return sorted(kernels, key=lambda kernel: kernel.start)


def gaps(kernels: Sequence[Kernel]) -> tuple[float, list[tuple[float, str, str]]]:
    """Return the nanoseconds in which any kernel runs, and the gaps: length, before, after."""
    busy, found, end, last = 0.0, [], kernels[0].start, ""
    for kernel in kernels:
        if kernel.start >= end and last:
            found.append((kernel.start - end, last, kernel.name))
        stop = kernel.start + kernel.duration
        if stop > end:
            busy += stop - max(end, kernel.start)
            end, last = stop, kernel.name
    return busy, found


def rows(name: str, kernels: Sequence[Kernel], steps: int) -> Iterator[Row]:
    """Yield a summary with all lists nested, then kinds and the longest kernels, per train step."""
    busy, between = gaps(kernels)
    lengths = [length for length, *_ in between]
    span = max(k.start + k.duration for k in kernels) - kernels[0].start
    longest = _sums("kernel", ((k.name, k.duration) for k in kernels), steps)
    by_gap = ((f"{before} -> {after}", length) for length, before, after in between)
    yield {
        "profile": name,
        "ms from first to last kernel": span * 1e-6 / steps,
        "ms busy": busy * 1e-6 / steps,
        "ms in gaps": sum(lengths) * 1e-6 / steps,
        "kernels": len(kernels) / steps,
        "mean gap, us": float(np.mean(lengths)) / 1e3 if lengths else 0.0,
        "kernel list": longest[:60],
        "gap list": _sums("gap", by_gap, steps)[:10],
    }
    yield from _sums("kind of kernel", ((_kind(k.name), k.duration) for k in kernels), steps)
    for row in longest[:10]:
        yield {**row, "share of busy": row["ms"] / (busy * 1e-6 / steps)}


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), "other")


def _sums(column: str, durations: Iterable[tuple[str, float]], steps: int) -> list[Row]:
    """Return milliseconds and number by name, the longest first."""
    totals: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for name, nanoseconds in durations:
        totals[name] += nanoseconds
        counts[name] += 1
    return [
        {column: name, "ms": total * 1e-6 / steps, "count": counts[name] / steps}
        for name, total in totals.most_common()
    ]
