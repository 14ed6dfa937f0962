"""Translation and restoration of image files by a trained run.

A file that cannot be used is named
in the summary, and the others are translated.
"""

import collections
import concurrent.futures
import dataclasses
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from gan_jax import errors
from gan_jax.inference import scores
from gan_jax.inference.scores import Scores
from gan_jax.inference.translate_request import Example, Request
from gan_jax.report import grids, provenance
from gan_jax.report.bar import bar
from gan_jax.runs.run import Weights
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import make_sampling

T = TypeVar("T")

_THREADS = 4
# Files that are read or written while others are translated.
_AHEAD = 8
# Of the grid: images, and the side of the largest tile.
_SHOWN = 8
_TILE = 256


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of `translate`.

    Attributes:
      text: a summary in one line.
      outputs: the files written, by the name of the input.
      failures: the reasons of failures, by the name of the input.
      scores: of every restored image or sound, by its name, where inputs were degraded; see
        `gan_jax.inference.scores`. Else empty.
      mean: of these over all.
    """

    text: str
    outputs: Mapping[str, Path]
    failures: Mapping[str, str]
    scores: Mapping[str, Scores]
    mean: Scores

    def table(self) -> str:
        """Return the scores in lines: of every input, and their mean."""
        return scores.table({**self.scores, "mean": self.mean})


def translate(ask: Request) -> Summary:
    """Translate image files; failures of single files are in the summary, and not raised.

    Side effects: writes the files, and reports those that fail on standard error as they do. It
    computes with JAX's current matrix-product precision, as `gan_jax.inference.sample_run` does.

    Raises:
      WorkdirError: an output cannot be written.
      CheckpointError: there is no such checkpoint.
    """
    weights = ask.run.load(ask.checkpoint, make_sampling(ask.run.config, raw=ask.raw))
    dropout = ask.seed if ask.dropout else None
    text = provenance.synthetic(ask.run.path, weights.step, direction=ask.name)
    apply = translating.network(ask.game, ask.name, weights.variables, dropout=dropout)
    written: set[int] = set()
    failures: dict[int, str] = {}
    measured: dict[int, Scores] = {}
    holes: list[float] = []
    gallery: dict[int, list[Image.Image]] = {}
    with (
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
        # On standard error, so that it and the reports of failures do not run into each other.
        bar("translating", len(ask.files), sys.stderr) as advance,
    ):
        waiting: dict[int, Example] = {}

        def fail(number: int, error: Exception) -> None:
            failures[number] = str(error)
            name = ask.files[number].full_name
            print(f"failed: {name}: {error}", file=sys.stderr, flush=True)
            advance(len(written) + len(failures))

        def inputs() -> Iterator[tiling.Input]:
            numbers = ((number,) for number in range(len(ask.files)))
            for (number,), reading in _ahead(pool, ask.read, numbers):
                try:
                    waiting[number] = ready = ask.degraded(number, reading.result())
                except errors.GanJaxError as error:
                    fail(number, error)
                    continue
                yield tiling.Input(number, ready.pixels, ready.known)

        def outputs() -> Iterator[tuple[Any, ...]]:
            for number, made in tiling.run(inputs(), apply, ask.tiling, batch_size=ask.batch_size):
                example = waiting.pop(number)
                if (target := example.target) is not None:
                    border = ask.measured_border
                    measured[number] = scores.measure(made, example.shown, target, border)
                if ask.way.masked and example.known is not None:
                    holes.append(1.0 - float(np.mean(example.known)))
                if ask.grid is not None and number < _SHOWN:
                    gallery[number] = _tiles(example, made)
                yield number, made, example.alpha, text

        for (number, *_), writing in _ahead(pool, ask.write, outputs()):
            try:
                writing.result()
            except errors.DataError as error:
                fail(number, error)
            else:
                written.add(number)
                advance(len(written) + len(failures))
    total = f"{len(ask.files):,} image{'s' if len(ask.files) > 1 else ''}"
    line = f"translated {len(written):,} of {total} ({ask.name}) at step {weights.step}: {ask.out}"
    if holes:
        line += f"; {_share(holes, ask.mask is not None and not ask.invert_mask)}"
    names = [file.name for file in ask.files]
    # An image that could not be written does not count.
    found = {names[i]: measured[i] for i in sorted(written & measured.keys())}
    failed = {names[i]: failures[i] for i in sorted(failures)}
    summary = Summary(
        line,
        {names[i]: ask.places[i] for i in sorted(written)},
        failed,
        found,
        scores.mean(list(found.values())),
    )
    if ask.degrade:
        _write_scores(ask, weights, summary)
    if ask.grid is not None and gallery:
        size = _save_gallery(ask.grid, [gallery[number] for number in sorted(gallery)])
        line += (
            f"; {len(gallery)} of them, the middle square of each scaled to {size}x{size}: "
            f"{ask.grid}"
        )
    line += remarks(written, ask.listing.left_out(), scored=ask.degrade)
    return dataclasses.replace(summary, text=line)


def remarks(made: Collection[Any], left_out: str, *, scored: bool) -> str:
    """Return the end of a summary.

    Args:
      made: the outputs; empty: all inputs failed.
      left_out: which files are not used, in words, or "".
      scored: whether the scores were written.
    """
    failed = "" if made else "all failed"
    file = f"{'scores' if made else 'reasons'} in {scores.FILE}" if scored else ""
    return "".join(f"; {remark}" for remark in (failed, file, left_out) if remark)


def _share(holes: list[float], may_invert: bool) -> str:
    """Return, in words, the mean share of the pixels that are holes."""
    share = sum(holes) / len(holes)
    hint = " (--invert_mask, if the masks are white elsewhere)" if may_invert else ""
    return f"holes are {share:.0%} of the pixels{hint if share > 0.5 else ''}"


def _ahead(
    pool: concurrent.futures.Executor,
    function: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
) -> Iterator[tuple[Any, concurrent.futures.Future[T]]]:
    """Yield each item and the future of ``function(*item)`` in order; a few are run ahead."""
    pending: collections.deque[tuple[Any, concurrent.futures.Future[T]]] = collections.deque()
    for item in items:
        pending.append((item, pool.submit(function, *item)))
        if len(pending) > _AHEAD:
            yield pending.popleft()
    yield from pending


def _tiles(example: Example, made: np.ndarray) -> list[Image.Image]:
    """Return the squares in the middle of an input, its output, and its target if there is one."""
    shown = [example.shown, made, *([] if example.target is None else [example.target])]
    pictures = [Image.fromarray(x[:, :, 0] if x.shape[2] == 1 else x) for x in shown]
    return [_square(picture.convert("RGB"), min(*picture.size, _TILE)) for picture in pictures]


def _save_gallery(path: str | Path, columns: list[list[Image.Image]]) -> int:
    """Write a picture of tiles, a column per image; return the size of its tiles."""
    size = max(tile.width for column in columns for tile in column)
    rows = zip(*columns, strict=True)
    tiles = np.stack([np.stack([np.array(_square(t, size)) for t in row]) for row in rows])
    grids.save_png(path, grids.named_rows(tiles, ["input", "output", "target"][: len(tiles)]))
    return size


def _square(picture: Image.Image, size: int) -> Image.Image:
    if picture.size == (size, size):
        return picture
    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)


def _write_scores(ask: Request, weights: Weights, summary: Summary) -> None:
    enlarged = ", enlarged by Pillow's bicubic" if ask.way.scale > 1 else ""
    scores.write(
        ask,
        weights,
        summary.scores,
        summary.failures,
        "images",
        direction=ask.name,
        dropout=ask.dropout,
        seed=ask.seed,
        scale=ask.way.scale,
        input=f"degraded, in bytes{enlarged}",
        border=ask.measured_border,
        luminance="BT.601, 16 to 235 of 255",
        tile=ask.tiling.tile,
        overlap=ask.tiling.overlap,
    )
