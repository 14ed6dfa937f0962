"""Anomaly scores of image files by a trained run: a table of all files, and a picture of the worst.

Images are prepared as those of the training were. A file that cannot be used is named in the
summary, and the others are scored.
"""

import concurrent.futures
import csv
import dataclasses
import functools
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gan_jax import errors, installation
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources import Transform
from gan_jax.data.sources.containers import printable
from gan_jax.data.sources.images import decode, reason
from gan_jax.device_map import DeviceMap
from gan_jax.games.anomaly import AnomalyGame
from gan_jax.inference import image_files
from gan_jax.inference.image_files import ImageFile
from gan_jax.report import atomic, grids
from gan_jax.report.bar import bar
from gan_jax.runs.run import Run, Weights
from gan_jax.runs.run_directory import choose_step
from gan_jax.training import translating
from gan_jax.training.sampling import make_sampling

_THREADS = 4
# Of a file's name in the picture: the characters that are shown.
_NAME = 40


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `score`; they are checked at once, and no checkpoint is read.

    Attributes:
      run: the trained run.
      input: an image, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the ``.csv`` of the scores.
      picture: a ``.png`` of the files with the highest scores; ``None``: ``out`` with that suffix.
      worst: rows of the picture; 0: there is none.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      batch_size: images at a time.
      overwrite: replace existing files.
    """

    run: Run
    input: str | Path
    out: str | Path
    picture: str | Path | None = None
    worst: int = 8
    checkpoint: str = "latest"
    raw: bool = False
    batch_size: int = 64
    overwrite: bool = False

    def __post_init__(self) -> None:
        errors.require(self.worst >= 0, "--worst", self.worst, "0 or more")
        for flag, path in self._written.items():
            suffix = {"--out": ".csv", "--picture": ".png"}[flag]
            if path.suffix.lower() != suffix:
                raise errors.ConfigError(f"{flag}={path}; accepted: a {suffix}")
            if flag == "--picture":
                image_files.check_outside(path, flag, self.input, "--input")
            atomic.check_free(path, self.overwrite)
        choose_step(self.run.path, self.checkpoint)
        _ = self.game, self.transform, self.files

    @property
    def _written(self) -> dict[str, Path]:
        """The files that are written, by flag."""
        out = Path(self.out)
        picture = Path(self.picture) if self.picture else out.with_suffix(".png")
        return {"--out": out, **({"--picture": picture} if self.worst else {})}

    @functools.cached_property
    def game(self) -> AnomalyGame:
        """The game of the run."""
        if not isinstance(self.run.game, AnomalyGame):
            raise errors.ConfigError(
                f"{installation.command('anomalies')}, but {self.run.config.variant!r} gives no "
                "anomaly scores; accepted: a run that detects anomalies, such as ganomaly"
            )
        return self.run.game

    @functools.cached_property
    def transform(self) -> Transform:
        """How images of any size are brought to the shape of the training images."""
        if (resize := self.run.config.data.resize) == "tile":
            raise errors.ConfigError(
                f"data.resize = {resize!r} of the run; accepted: a run of whole images"
            )
        height, width, channels = specs.data_field(specs.from_json(self.run.data["spec"])).shape
        return Transform((height, width), channels, resize)

    @functools.cached_property
    def files(self) -> list[ImageFile]:
        """The images."""
        return image_files.find(self.input, "--input")

    def read(self, file: ImageFile) -> np.ndarray:
        """Return the image in a file, uint8 ``[height, width, channels]``.

        Raises:
          DataError: it cannot be used; the message has the reason alone.
        """
        raw = file.read()
        try:
            pixels = self.transform(
                decode(raw, self.run.levels, alpha=self.transform.channels == 4)
            )
        # Pillow's decoders raise exceptions of any type on damaged files.
        except Exception as error:
            raise errors.DataError(reason(error)) from error
        return translating.fitting({"image": pixels[None]}, self.game)["image"][0]

    def write(self, scores: Mapping[str, float]) -> None:
        """Write the table, the highest score first."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["file", "score"])
        rows.writerows((printable(name), score) for name, score in scores.items())
        atomic.write_text(self._written["--out"], text.getvalue())

    def draw(self, weights: Weights, scores: Mapping[str, float]) -> str:
        """Write the picture of the first files; return what was written in words.

        A row has the image, its reconstruction, and the absolute difference of the two.
        """
        files = {file.name: file for file in self.files}
        chosen = list(scores)[: self.worst]
        images = np.stack([self.read(files[name]) for name in chosen])
        way = next(iter(self.game.directions))
        translator = translating.Translator(self.game, way, batch_size=len(images))
        data = {specs.data_name(self.game.spec): images}
        found = translator(translator.place(weights.variables), data, seed=0)
        difference = np.abs(found.outputs.astype(np.int16) - images).astype(np.uint8)
        tiles = np.stack([images, found.outputs, difference], axis=1)
        names = [f"{scores[name]:.4g}  {_short(name)}" for name in chosen]
        picture = self._written["--picture"]
        grids.save_png(picture, grids.named_rows(tiles, names))
        return f"the {len(chosen)} highest beside their reconstructions: {picture}"


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of `score`.

    Attributes:
      text: a summary in one line.
      scores: of each file, by its name, the highest first; larger is more anomalous.
      failures: the reasons of failures, by the name of the file.
    """

    text: str
    scores: Mapping[str, float]
    failures: Mapping[str, str]


def score(ask: Request) -> Summary:
    """Score image files; failures of single files are in the summary, and not raised.

    Side effects: writes the table and the picture, and reports the files that fail on standard
    error. It computes with JAX's current matrix-product precision.

    Raises:
      WorkdirError: a file cannot be written.
      CheckpointError: there is no such checkpoint.
    """
    weights = ask.run.load(ask.checkpoint, make_sampling(ask.run.config, raw=ask.raw))
    game, scores, failures = ask.game, dict[str, float](), dict[str, str]()
    field = specs.data_field(game.spec)
    mapped = DeviceMap(
        lambda variables, images: game.anomaly_scores(
            variables, kinds.of(field).to_network(images)
        ),
        batch_size=ask.batch_size,
    )
    variables = mapped.place(weights.variables)

    def images_of(files: Sequence[ImageFile]) -> dict[str, np.ndarray]:
        images = {}
        for file, reading in [(file, pool.submit(ask.read, file)) for file in files]:
            try:
                images[file.name] = reading.result()
            except errors.DataError as error:
                failures[file.name] = str(error)
                print(f"failed: {file.full_name}: {error}", file=sys.stderr, flush=True)
        return images

    with (
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
        bar("scoring", len(ask.files), sys.stderr) as advance,
    ):
        for first in range(0, len(ask.files), ask.batch_size):
            images = images_of(ask.files[first : first + ask.batch_size])
            if images:
                found = mapped.on_host(variables, np.stack(list(images.values())))
                scores |= dict(zip(images, map(float, found), strict=True))
            advance(first + len(images))
    scores = dict(sorted(scores.items(), key=lambda item: -item[1]))
    ask.write(scores)
    text = f"scored {len(scores):,} of {len(ask.files):,} images at step {weights.step}: {ask.out}"
    if ask.worst and scores:
        text += f"; {ask.draw(weights, scores)}"
    return Summary(text, scores, failures)


def _short(name: str) -> str:
    """Return the end of a name."""
    name = printable(name)
    return name if len(name) <= _NAME else f"...{name[-_NAME:]}"
