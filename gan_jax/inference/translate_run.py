"""Translation and restoration of image files by a trained run.

Errors in the arguments are raised before a checkpoint is read. A file that cannot be used is named
in the summary, and the others are translated.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from PIL import Image, ImageOps

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data.degrade import Degradation
from gan_jax.games import draws
from gan_jax.games.translation import Direction, TranslationGame, as_translation, choose_direction
from gan_jax.inference import export, hole_masks, image_files, scores
from gan_jax.inference.image_files import ImageFile
from gan_jax.inference.scores import Scores
from gan_jax.report import atomic, grids, provenance
from gan_jax.report.bar import bar
from gan_jax.runs.run import Run, Weights, choose_step
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import make_sampling

T = TypeVar("T")

#: The file of the scores, in the folder of the restored images.
SCORES = "scores.json"
_THREADS = 4
# Files that are read or written while others are translated.
_AHEAD = 8
# Of the grid: images, and the side of the largest tile.
_SHOWN = 8
_TILE = 256
_HOLE = 128


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `translate`; they are checked at once, and no checkpoint is read.

    Attributes:
      run: the trained run.
      input: an image, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the folder of the outputs, which keep the names and sub-folders of the input.
      direction: such as "AtoB"; ``None``: the run's first.
      mask: for a run that fills holes: an image that is white in them, for all inputs, or a folder
        with one of the same name for each; ``None``: holes are where an input is not opaque. Other
        masks: see `gan_jax.inference.hole_masks`.
      invert_mask: the masks are white where there are no holes.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      dropout: keep the dropout that is a network's noise.
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

    run: Run
    input: str | Path
    out: str | Path
    direction: str | None = None
    mask: str | Path | None = None
    invert_mask: bool = False
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

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise errors.ConfigError(f"--batch_size={self.batch_size}; accepted: 1 or more")
        _ = self.places
        self._check_pictures()
        choose_step(self.run.path, self.checkpoint)
        _ = self.tiling, self.degradation, self.measured_border, self.masks

    def _check_pictures(self) -> None:
        """Check that the grid and the scores can be written."""
        if self.degrade:
            atomic.check_free(Path(self.out) / SCORES, self.overwrite)
        if self.grid is None:
            return
        if Path(self.grid).suffix.lower() != ".png":
            raise errors.ConfigError(f"--grid={self.grid}; accepted: a .png")
        if Path(self.grid).resolve() in {place.resolve() for place in self.places}:
            raise errors.ConfigError(f"--grid={self.grid} is an output; accepted: another name")
        atomic.check_free(self.grid, self.overwrite)

    @functools.cached_property
    def files(self) -> list[ImageFile]:
        """The inputs."""
        return image_files.find(self.input, "--input", without=Path(self.out))

    @functools.cached_property
    def places(self) -> list[Path]:
        """The output of each input."""
        out = Path(self.out)
        return image_files.outputs(self.files, out, self.suffix, overwrite=self.overwrite)

    @functools.cached_property
    def game(self) -> TranslationGame:
        """The game of the run."""
        return as_translation(self.run.game, "experiments.translate")

    @functools.cached_property
    def way(self) -> Direction:
        """What is known of the direction."""
        return self.game.directions[self.name]

    @functools.cached_property
    def name(self) -> str:
        """The name of the direction."""
        return choose_direction(self.game, self.direction)

    @functools.cached_property
    def tiling(self) -> tiling.Tiling:
        """How images are split into tiles."""
        return translating.tiling_of(self.way, self.tile, self.overlap)

    @functools.cached_property
    def degradation(self) -> Degradation | None:
        """The degradation of the inputs; ``None``: they are translated as they are."""
        if self.degrade and self.game.degradation is None:
            raise errors.ConfigError(
                f"--degrade, but nothing degrades images in {self.run.config.variant!r}; accepted: "
                "runs with a degradation, such as denoise"
            )
        return self.game.degradation if self.degrade else None

    @functools.cached_property
    def measured_border(self) -> int:
        """The rows and columns at each edge that are not measured."""
        if self.border is None:
            return self.way.scale if self.way.scale > 1 else 0
        if self.border < 0 or not self.degrade:
            accepted = "0 or more" if self.degrade else "with --degrade only"
            raise errors.ConfigError(f"--border={self.border}; accepted: {accepted}")
        return self.border

    @functools.cached_property
    def masks(self) -> list[ImageFile] | None:
        """A mask per input; ``None``: they are in the inputs, or not needed."""
        needed = self.way.masked and not self.degrade
        if self.mask is not None:
            if not needed:
                why = "--degrade makes holes" if self.degrade else f"{self.name} fills no holes"
                raise errors.ConfigError(f"--mask={self.mask}, but {why}; accepted: no --mask")
            found = image_files.find(self.mask, "--mask")
            if len(found) == 1:
                self._holes(found[0])
            return image_files.match(self.files, found)
        if self.invert_mask:
            raise errors.ConfigError("--invert_mask without --mask; accepted: both, or neither")
        if needed and not any(image_files.has_alpha(file) for file in self.files):
            raise errors.ConfigError(
                f"{self.name} of {self.run.config.variant!r} fills holes, and no input has any; "
                "accepted: --mask, an image or a folder of them, white in holes, or inputs with "
                "transparency"
            )
        return None

    def _holes(self, mask: ImageFile) -> np.ndarray:
        """Return where a mask has holes; a `DataError` names it."""
        try:
            return hole_masks.read(mask, inverted=self.invert_mask)
        except errors.DataError as error:
            raise errors.DataError(
                f"the mask {mask.full_name} {error}; accepted: white, coloured or transparent in "
                "holes, and neither elsewhere"
            ) from error

    def read(self, number: int) -> "_Example":
        """Return the image in a file; the message of a `DataError` has the reason alone."""
        way, file = self.way, self.files[number]
        channels = way.inputs if self.degradation is None else way.outputs
        pixels, alpha = image_files.read(file, channels, self.run.levels)
        if self.degradation is not None:
            return self._clean(pixels, alpha)
        if way.masked:
            known = self._known(number, pixels, alpha)
            shown = np.where(known > 0.5, pixels, np.uint8(_HOLE))
            return _Example(pixels, known, None, shown)
        if alpha is not None:
            height, width = (way.scale * side for side in alpha.shape)
            alpha = translating.bicubic(alpha[None, :, :, None], height, width)[0, :, :, 0]
        return _Example(pixels, None, alpha, pixels)

    def _clean(self, pixels: np.ndarray, alpha: np.ndarray | None) -> "_Example":
        """Return a clean image, cropped to a multiple of the factor."""
        scale = self.way.scale
        height, width = (side // scale * scale for side in pixels.shape[:2])
        if not height or not width:
            raise errors.DataError(f"has fewer pixels on a side than the factor, {scale}")
        pixels = np.ascontiguousarray(pixels[:height, :width])
        kept = None if alpha is None or self.way.masked else alpha[:height, :width]
        return _Example(pixels, None, kept, pixels, pixels)

    def _known(self, number: int, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        known = np.ones(pixels.shape[:2], bool) if alpha is None else alpha == 255
        if self.masks is not None:
            holes = self._holes(self.masks[number])
            if holes.shape != known.shape:
                sizes = [f"{x.shape[0]}x{x.shape[1]}" for x in (known, holes)]
                mask = self.masks[number].full_name
                raise errors.DataError(f"has {sizes[0]} pixels, its mask {mask} {sizes[1]}")
            known &= ~holes
        elif alpha is None:
            raise errors.DataError("has no transparency that says where its holes are")
        hole_masks.check(~known)
        return known[:, :, None].astype(np.float32)

    def degraded(self, number: int, example: "_Example") -> "_Example":
        """Return an example, degraded if that is asked for."""
        if self.degradation is None:
            return example
        pixels, known = jax.device_get(self._degrade(np.uint32(number), example.pixels))
        shown = np.asarray(device.to_uint8(pixels))
        return example._replace(pixels=pixels, known=known, shown=shown)

    @functools.cached_property
    def _degrade(self) -> Callable[..., Any]:
        degradation, seed = self.degradation, np.uint32(self.seed)
        assert degradation is not None

        @jax.jit
        def degrade(number: jax.Array, clean: jax.Array) -> Any:
            key = draws.named(jax.random.key(seed), "degrade")
            keys = jax.random.fold_in(key, number)[None]
            found = degradation(keys, device.to_float(clean)[None])
            return found.input[0], None if found.known is None else found.known[0]

        return degrade

    def write(
        self, number: int, made: np.ndarray, alpha: np.ndarray | None, text: Mapping[str, str]
    ) -> None:
        """Write an output; a `DataError` is raised where the format cannot hold it."""
        content = image_files.encode(made, alpha, self.suffix, text)
        atomic.write_bytes(self.places[number], content)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of `translate`.

    Attributes:
      text: a summary in one line.
      outputs: the files written, by the name of the input.
      failures: the reasons of failures, by the name of the input.
      scores: of every restored image, by its name, where images were degraded; see
        `gan_jax.inference.scores.measure`. Else empty.
      mean: of these over the images.
    """

    text: str
    outputs: Mapping[str, Path]
    failures: Mapping[str, str]
    scores: Mapping[str, Scores]
    mean: Scores

    def table(self) -> str:
        """Return the scores in lines: of every image, and their mean."""
        return scores.table({**self.scores, "mean": self.mean})


class _Example(NamedTuple):
    """An input image: arrays of its height and width, those of ``alpha`` the output's."""

    pixels: np.ndarray  # For the network, uint8 or float32 [height, width, channels].
    known: np.ndarray | None  # float32 [height, width, 1]
    alpha: np.ndarray | None  # uint8 [height, width]
    shown: np.ndarray  # uint8, for pictures and scores.
    target: np.ndarray | None = None  # uint8, the clean image.


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
        waiting: dict[int, _Example] = {}

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
        line += f"; scores in {SCORES}"
    if ask.grid is not None and gallery:
        size = _save_gallery(ask.grid, [gallery[number] for number in sorted(gallery)])
        line += (
            f"; {len(gallery)} of them, the middle square of each scaled to {size}x{size}: "
            f"{ask.grid}"
        )
    return dataclasses.replace(summary, text=line)


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


def _tiles(example: _Example, made: np.ndarray) -> list[Image.Image]:
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
    assert ask.degradation is not None
    enlarged = ", enlarged by Pillow's bicubic" if ask.way.scale > 1 else ""
    protocol = {
        "run": str(ask.run.path),
        "variant": ask.run.config.variant,
        "step": weights.step,
        "weights": "raw" if make_sampling(ask.run.config, raw=ask.raw).raw else "ema",
        "weights_hash": export.weights_hash(weights.variables),
        "direction": ask.name,
        "dropout": ask.dropout,
        "degradation": {"name": ask.degradation.name, **dataclasses.asdict(ask.degradation)},
        "seed": ask.seed,
        "scale": ask.way.scale,
        "input": f"degraded, in bytes{enlarged}",
        "border": ask.measured_border,
        "luminance": "BT.601, 16 to 235 of 255",
        "tile": ask.tiling.tile,
        "overlap": ask.tiling.overlap,
        "files": str(ask.input),
        "count": len(summary.scores),
    }
    record = {
        "protocol": protocol,
        "mean": scores.jsonable(summary.mean),
        "images": {name: scores.jsonable(one) for name, one in summary.scores.items()},
        "failures": summary.failures,
    }
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    atomic.write_text(Path(ask.out) / SCORES, text)
