"""Translation and restoration of image files by a trained run.

Mistakes in the arguments are raised before a checkpoint is read. A file that cannot be used is
named in the summary, and the others are translated.
"""

import collections
import concurrent.futures
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageOps

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data.degrade import Degradation
from gan_jax.games import draws, translation
from gan_jax.inference import export, image_files
from gan_jax.inference.image_files import ImageFile
from gan_jax.metrics import similarity
from gan_jax.report import atomic, grids
from gan_jax.report.bar import bar
from gan_jax.runs.run import Weights, choose_step, open_run
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import make_sampling

#: The file of the scores, in the folder of the restored images.
SCORES = "scores.json"
_THREADS = 4
# Files that are read or written while others are translated.
_AHEAD = 8
# Of the grid: images, and the largest tile.
_SHOWN = 8
_TILE = 256
_HOLE = 128

Scores = dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `translate`.

    Attributes:
      run: the run directory.
      input: an image, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the folder of the outputs, which keep the names and sub-folders of the input.
      direction: such as "AtoB"; ``None``: the run's first.
      mask: for a run that fills holes: an image that is white in them, for all inputs, or a folder
        with one of the same name for each; ``None``: holes are where an input is not opaque.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      dropout: keep the dropout of networks whose noise it is.
      seed: of the dropout, and of the degradation.
      degrade: the inputs are clean images: degrade them as in training, restore and measure them.
      border: rows and columns at each edge that are not measured; ``None``: the factor of a run
        that enlarges, else 0.
      tile: height and width of the tiles that larger images are split into.
      overlap: of neighbouring tiles, in pixels of the input.
      batch_size: images or tiles at a time.
      suffix: of the outputs, one of `image_files.FORMATS`.
      overwrite: replace existing files.
      grid: a ``.png`` of inputs beside outputs to write as well; ``None``: none.
    """

    run: str | Path
    input: str | Path
    out: str | Path
    direction: str | None = None
    mask: str | Path | None = None
    checkpoint: str = "latest"
    raw: bool = False
    dropout: bool = False
    seed: int = 0
    degrade: bool = False
    border: int | None = None
    tile: int = 512
    overlap: int = 64
    batch_size: int = 8
    suffix: str = "png"
    overwrite: bool = False
    grid: str | Path | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of `translate`.

    Attributes:
      text: a summary in one line.
      outputs: the files written, by the name of the input.
      failures: the reasons of failures, by the name of the input.
      scores: of every restored image, by its name, where images were degraded: "psnr" and "ssim",
        in colour also "psnr_y" and "ssim_y", on luminance, and each with "input_" before it for
        the degraded image; ``None`` for an image that is too small. Else empty.
      mean: of these over the images.
    """

    text: str
    outputs: Mapping[str, Path]
    failures: Mapping[str, str]
    scores: Mapping[str, Scores] = dataclasses.field(default_factory=dict)
    mean: Scores = dataclasses.field(default_factory=dict)

    def table(self) -> str:
        """Return the scores in lines: of every image, and their mean."""
        names = [name for name in self.mean if not name.startswith("input_")]
        heads = [f"{_HEADS[name]} (input)" for name in names]
        first = [*self.scores, "mean"]
        rows = [["", *heads]]
        for name, scores in zip(first, [*self.scores.values(), self.mean], strict=True):
            cells = [
                f"{_number(name, scores[name])} ({_number(name, scores[f'input_{name}'])})"
                for name in names
            ]
            rows.append([name, *cells])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )


_HEADS = {"psnr": "PSNR dB", "ssim": "SSIM", "psnr_y": "PSNR-Y dB", "ssim_y": "SSIM-Y"}


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name.startswith("psnr") else f"{value:.4f}"


def translate(ask: Request) -> Summary:
    """Translate image files; see `Request`.

    Side effects: writes the files, and reports those that fail on standard error as they do.

    Returns:
      The summary; failures of single files are not raised.

    Raises:
      ConfigError: an argument has a wrong value, or does not suit the run.
      DataError: there are no images.
      WorkdirError: this is no run directory, or an output exists already or cannot be written.
      CheckpointError: there is no such checkpoint.
    """
    job = _Job(ask)
    with job.run.precision():
        return _translate(job, ask)


def _translate(job: "_Job", ask: Request) -> Summary:
    weights = job.run.load(job.step, make_sampling(job.run.config, raw=ask.raw))
    dropout = ask.seed if ask.dropout else None
    apply = translating.network(job.game, job.name, weights.variables, dropout=dropout)
    scores: dict[str, Scores] = {}
    gallery = _Gallery()
    with (
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
        # On standard error, so that it and the reports of failures do not run into each other.
        bar("translating", len(job.files), sys.stderr) as advance,
    ):
        waiting: dict[int, _Example] = {}
        writing: collections.deque[_Writing] = collections.deque()

        def inputs() -> Iterator[tiling.Input]:
            for number, example in _ahead(pool, job.read, len(job.files)):
                try:
                    waiting[number] = ready = job.degraded(number, example())
                except errors.GanJaxError as error:
                    job.fail(number, error, advance)
                    continue
                yield tiling.Input(number, ready.pixels, ready.known)

        def settle(at_most: int) -> None:
            while len(writing) > at_most:
                number, future = writing.popleft()
                try:
                    future.result()
                except errors.DataError as error:
                    job.fail(number, error, advance)
                else:
                    job.done(number, advance)

        for number, made in tiling.run(inputs(), apply, job.tiling, batch_size=ask.batch_size):
            example = waiting.pop(number)
            writing.append((number, pool.submit(job.write, number, made, example.alpha)))
            if example.target is not None:
                name = job.files[number].name
                scores[name] = _measure(made, example.shown, example.target, job.border)
            if ask.grid is not None:
                gallery.add(number, example, made)
            settle(_AHEAD)
        settle(0)
    return _summary(job, weights, scores, gallery)


class _Example(NamedTuple):
    """An input image.

    Attributes:
      pixels: for the network, uint8 or float32 ``[height, width, channels]``.
      known: float32 ``[height, width, 1]``, or ``None``.
      alpha: uint8, of the size of the output, or ``None``.
      shown: uint8, the pixels for pictures and scores.
      target: uint8, the clean image, or ``None``.
    """

    pixels: np.ndarray
    known: np.ndarray | None
    alpha: np.ndarray | None
    shown: np.ndarray
    target: np.ndarray | None = None


_Writing = tuple[int, concurrent.futures.Future[None]]


class _Job:
    """A checked request, and its results so far.

    The constructor opens the run and checks the request; no checkpoint is read.
    """

    def __init__(self, ask: Request) -> None:
        self.ask, self.out = ask, Path(ask.out)
        if ask.batch_size < 1:
            raise errors.ConfigError(f"--batch_size={ask.batch_size}; accepted: 1 or more")
        self.files = image_files.find(ask.input, "--input", without=self.out)
        self.places = image_files.outputs(self.files, self.out, ask.suffix, overwrite=ask.overwrite)
        self._check_pictures()
        self.step = choose_step(ask.run, ask.checkpoint)
        self.run = open_run(ask.run)
        self.game = translation.as_translation(self.run.game, "experiments.translate")
        self.name = translation.choose_direction(self.game, ask.direction)
        self.direction = self.game.directions[self.name]
        self.degradation = self._degradation()
        self.border = self._border()
        self.tiling = translating.tiling_of(self.direction, ask.tile, ask.overlap)
        self.masks = self._masks()
        self.failures: dict[str, str] = {}
        self.written: dict[str, Path] = {}
        if self.degradation is not None:
            self._degrade = jax.jit(self._degraded_batch)

    def _check_pictures(self) -> None:
        """Check that the grid and the scores can be written."""
        ask = self.ask
        others = [self.out / SCORES] if ask.degrade else []
        if ask.grid is not None:
            if Path(ask.grid).suffix.lower() != ".png":
                raise errors.ConfigError(f"--grid={ask.grid}; accepted: a .png")
            if Path(ask.grid).resolve() in {place.resolve() for place in self.places}:
                raise errors.ConfigError(f"--grid={ask.grid} is an output; accepted: another name")
            others.append(Path(ask.grid))
        for path in others:
            if path.exists() and not ask.overwrite:
                raise errors.WorkdirError(f"{path} already exists; pass --overwrite to replace it")

    def _degradation(self) -> Degradation | None:
        if not self.ask.degrade:
            return None
        if (found := self.game.degradation) is None:
            raise errors.ConfigError(
                f"--degrade, but nothing degrades images in {self.run.config.variant!r}; accepted: "
                "runs with a degradation, such as denoise"
            )
        return found

    def _border(self) -> int:
        scale, border = self.direction.scale, self.ask.border
        if border is None:
            return scale if scale > 1 else 0
        if border < 0 or not self.ask.degrade:
            accepted = "0 or more" if self.ask.degrade else "with --degrade only"
            raise errors.ConfigError(f"--border={border}; accepted: {accepted}")
        return border

    def _masks(self) -> list[ImageFile] | None:
        """Return a mask per file; ``None``: it is in the file, or not needed."""
        mask = self.ask.mask
        needed = self.direction.masked and not self.ask.degrade
        if mask is not None:
            if not needed:
                why = "--degrade makes holes itself" if self.ask.degrade else "fills no holes"
                raise errors.ConfigError(
                    f"--mask={mask}, but {why if self.ask.degrade else self.name + ' ' + why}; "
                    "accepted: no --mask"
                )
            return image_files.match(self.files, image_files.find(mask, "--mask"))
        if needed and not any(image_files.has_alpha(file) for file in self.files):
            raise errors.ConfigError(
                f"{self.name} of {self.run.config.variant!r} fills holes, and no input has any; "
                "accepted: --mask, an image or a folder of them, white in holes, or inputs with "
                "transparency"
            )
        return None

    def read(self, number: int) -> _Example:
        """Return the image in a file.

        Raises:
          DataError: it cannot be used; the message has the reason alone.
        """
        way, file = self.direction, self.files[number]
        channels = way.inputs if self.degradation is None else way.outputs
        pixels, alpha = image_files.read(file, channels)
        if self.degradation is not None:
            return self._clean(pixels, alpha)
        if not way.masked:
            return _Example(pixels, None, _enlarged(alpha, way.scale), pixels)
        known = self._known(number, pixels, alpha)
        shown = np.where(known > 0.5, pixels, np.uint8(_HOLE))
        return _Example(pixels, known, None, shown)

    def _clean(self, pixels: np.ndarray, alpha: np.ndarray | None) -> _Example:
        """Return a clean image, cropped to a multiple of the factor."""
        scale = self.direction.scale
        height, width = (side // scale * scale for side in pixels.shape[:2])
        if not height or not width:
            raise errors.DataError(f"has fewer pixels on a side than the factor, {scale}")
        pixels = np.ascontiguousarray(pixels[:height, :width])
        kept = None if alpha is None or self.direction.masked else alpha[:height, :width]
        return _Example(pixels, None, kept, pixels, pixels)

    def _known(self, number: int, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        known = np.ones(pixels.shape[:2], bool) if alpha is None else alpha == 255
        if self.masks is not None:
            holes = image_files.read_holes(self.masks[number])
            if holes.shape != known.shape:
                raise errors.DataError(
                    f"has {_size(known)} pixels, its mask {self.masks[number].full_name} "
                    f"{_size(holes)}"
                )
            known &= ~holes
        elif alpha is None:
            raise errors.DataError("has no transparency that says where its holes are")
        return known[:, :, None].astype(np.float32)

    def degraded(self, number: int, example: _Example) -> _Example:
        """Return an example, degraded if the request says so.

        Raises:
          ConfigError: images of its size cannot be degraded.
        """
        if self.degradation is None:
            return example
        pixels, known = jax.device_get(self._degrade(np.uint32(number), example.pixels))
        shown = np.asarray(device.to_uint8(pixels))
        return example._replace(pixels=pixels, known=known, shown=shown)

    def _degraded_batch(self, number: jax.Array, clean: jax.Array) -> Any:
        assert self.degradation is not None
        key = draws.named(jax.random.key(np.uint32(self.ask.seed)), "degrade")
        keys = jax.random.fold_in(key, number)[None]
        found = self.degradation(keys, device.to_float(clean)[None])
        return found.input[0], None if found.known is None else found.known[0]

    def write(self, number: int, made: np.ndarray, alpha: np.ndarray | None) -> None:
        """Write an output.

        Raises:
          DataError: the format cannot hold it.
          WorkdirError: it cannot be written.
        """
        content = image_files.encode(made, alpha, self.ask.suffix)
        atomic.write_bytes(self.places[number], content)

    def done(self, number: int, advance: Callable[[int], None]) -> None:
        """Note that an output was written."""
        self.written[self.files[number].name] = self.places[number]
        advance(len(self.written) + len(self.failures))

    def fail(self, number: int, error: Exception, advance: Callable[[int], None]) -> None:
        """Note and report that a file failed."""
        file = self.files[number]
        self.failures[file.name] = str(error)
        print(f"failed: {file.full_name}: {error}", file=sys.stderr, flush=True)
        advance(len(self.written) + len(self.failures))


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _enlarged(alpha: np.ndarray | None, scale: int) -> np.ndarray | None:
    if alpha is None or scale == 1:
        return alpha
    return _bicubic(alpha, scale * alpha.shape[0], scale * alpha.shape[1])


def _bicubic(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _ahead(
    pool: concurrent.futures.Executor, read: Callable[[int], _Example], count: int
) -> Iterator[tuple[int, Callable[[], _Example]]]:
    """Yield every number and a function that returns its example; examples are read ahead."""
    reading: collections.deque[concurrent.futures.Future[_Example]] = collections.deque()
    for number in range(count):
        while len(reading) < _AHEAD and number + len(reading) < count:
            reading.append(pool.submit(read, number + len(reading)))
        yield number, reading.popleft().result


def _measure(made: np.ndarray, degraded: np.ndarray, target: np.ndarray, border: int) -> Scores:
    """Return PSNR and SSIM of an image and of its degraded input against the target, all uint8."""
    start = degraded[:, :, 0] if degraded.shape[2] == 1 else degraded
    if start.shape[:2] != target.shape[:2]:
        start = _bicubic(start, *target.shape[:2])
    start = np.asarray(Image.fromarray(start).convert("L" if target.shape[2] == 1 else "RGB"))
    scores: Scores = {}
    for prefix, image in (("", made), ("input_", start.reshape(target.shape))):
        scores |= _compare(prefix, image[None], target[None], border)
    return scores


def _compare(prefix: str, image: np.ndarray, target: np.ndarray, border: int) -> Scores:
    planes: list[tuple[str, np.ndarray, np.ndarray]] = [("", image, target)]
    if image.shape[3] == 3:
        one, other = (np.asarray(similarity.to_luminance(x)) for x in (image, target))
        planes.append(("_y", one, other))
    inner = min(image.shape[1:3]) - 2 * border
    scores: Scores = {}
    for suffix, one, other in planes:
        how: dict[str, Any] = {"data_range": 255.0, "border": border}
        for name, function, least in (
            ("psnr", similarity.psnr, 1),
            ("ssim", similarity.ssim, len(similarity.WINDOWS["gaussian"].taps)),
        ):
            value = float(function(one, other, **how)[0]) if inner >= least else None
            scores[f"{prefix}{name}{suffix}"] = value
    return scores


class _Gallery:
    """The picture of the first few images."""

    def __init__(self) -> None:
        self._tiles: dict[int, list[Image.Image]] = {}

    def add(self, number: int, example: _Example, made: np.ndarray) -> None:
        """Add an image, if it is one of the first."""
        if len(self) == _SHOWN and number > max(self._tiles):
            return
        shown = [example.shown, made, *([] if example.target is None else [example.target])]
        pictures = [Image.fromarray(x[:, :, 0] if x.shape[2] == 1 else x) for x in shown]
        self._tiles[number] = [_square(p.convert("RGB"), min(*p.size, _TILE)) for p in pictures]
        if len(self._tiles) > _SHOWN:
            del self._tiles[max(self._tiles)]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._tiles)

    def save(self, path: str | Path) -> int:
        """Write the picture, a column per image; return the size of its tiles."""
        columns = [self._tiles[number] for number in sorted(self._tiles)]
        size = max(tile.width for column in columns for tile in column)
        rows = zip(*columns, strict=True)
        tiles = np.stack([np.stack([np.array(_square(t, size)) for t in row]) for row in rows])
        names = ["input", "output", "target"][: len(tiles)]
        grids.save_png(path, grids.named_rows(tiles, names))
        return size


def _square(picture: Image.Image, size: int) -> Image.Image:
    if picture.size == (size, size):
        return picture
    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)


def _summary(
    job: _Job, weights: Weights, scores: Mapping[str, Scores], gallery: _Gallery
) -> Summary:
    ask = job.ask
    done, total = len(job.written), len(job.files)
    text = (
        f"translated {done:,} of {total:,} image{'s' if total > 1 else ''} ({job.name}) at step "
        f"{weights.step}: {job.out}"
    )
    order = [file.name for file in job.files]
    # An image that could not be written does not count.
    ordered = {name: scores[name] for name in order if name in scores and name in job.written}
    mean = _mean(list(ordered.values()))
    if ask.degrade:
        _write_scores(job, weights, ordered, mean)
        text += f"; scores in {SCORES}"
    if ask.grid is not None and len(gallery):
        size = gallery.save(ask.grid)
        text += (
            f"; {len(gallery)} of them, the middle square of each scaled to {size}x{size}: "
            f"{ask.grid}"
        )
    outputs = {name: job.written[name] for name in order if name in job.written}
    return Summary(text, outputs, job.failures, ordered, mean)


def _mean(scores: Sequence[Scores]) -> Scores:
    """Return the mean of every score over the images that have it."""
    means: Scores = {}
    for name in scores[0] if scores else ():
        values = [value for one in scores if (value := one[name]) is not None]
        means[name] = math.fsum(values) / len(values) if values else None
    return means


def _write_scores(job: _Job, weights: Weights, scores: Mapping[str, Scores], mean: Scores) -> None:
    assert job.degradation is not None
    ask = job.ask
    run = job.run
    record = {
        "protocol": {
            "run": str(run.path),
            "variant": run.config.variant,
            "step": weights.step,
            "weights": "raw" if make_sampling(run.config, raw=ask.raw).raw else "ema",
            "weights_hash": export.weights_hash(weights.variables),
            "direction": job.name,
            "dropout": ask.dropout,
            "degradation": {
                "name": job.degradation.name,
                **dataclasses.asdict(job.degradation),
            },
            "seed": ask.seed,
            "scale": job.direction.scale,
            "input": "degraded, in bytes"
            + (", enlarged by Pillow's bicubic" if job.direction.scale > 1 else ""),
            "border": job.border,
            "luminance": "BT.601, 16 to 235 of 255",
            "tile": job.tiling.tile,
            "overlap": job.tiling.overlap,
            "files": str(ask.input),
            "count": len(scores),
        },
        "mean": _jsonable(mean),
        "images": {name: _jsonable(one) for name, one in scores.items()},
        "failures": job.failures,
    }
    atomic.write_text(job.out / SCORES, json.dumps(record, indent=2, allow_nan=False) + "\n")


def _jsonable(scores: Scores) -> dict[str, float | str | None]:
    """Return scores as JSON can hold them: identical images have an infinite PSNR."""
    return {
        name: "inf" if value is not None and math.isinf(value) else value
        for name, value in scores.items()
    }
