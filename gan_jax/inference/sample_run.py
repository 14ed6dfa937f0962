"""Files that are made with a trained run: samples, pictures, animations.

Each function opens the run, checks its arguments before a checkpoint is read, writes one file or
folder, and returns one line that names it.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.games.codes import Codes
from gan_jax.games.game import as_generative
from gan_jax.inference import export as exports
from gan_jax.inference import interpolation, projection, reconstruction, rendering
from gan_jax.inference import neighbours as neighbour_search
from gan_jax.report import animation as animations
from gan_jax.report import atomic, grids
from gan_jax.report.bar import bar
from gan_jax.runs.run import choose_step, open_run
from gan_jax.training.sampling import Sampling

P = ParamSpec("P")

# A single picture that moves is made so large, if it is smaller.
_MOVING = 128
# Rows of originals beside what was found for them; more stand beside each other.
_PROJECTED_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments that all functions share.

    Attributes:
      path: the run directory.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      batch_norm: one of `sampling.BATCH_NORM`, in place of the run's.
      seed: of the latents.
      label: the class of the samples.
      truncation: limits of the latents; empty: the run's; several, for `truncations` only.
      num: how many; ``None``: the default of each function.
      batch_size: samples made at a time.
      out: the file or folder; ``None``: a picture in the run directory, named after its content.
      overwrite: replace an existing ``.npz``.
    """

    path: str
    checkpoint: str = "latest"
    raw: bool = False
    batch_norm: str | None = None
    seed: int = 0
    label: int | None = None
    truncation: tuple[float, ...] = ()
    num: int | None = None
    batch_size: int = 64
    out: Path | None = None
    overwrite: bool = False


class _Opened:
    """A run that was opened, and its weights after `restore`."""

    def __init__(self, ask: Request, *, images: str = "", independent: str = "") -> None:
        """Open a run; no checkpoint is read yet.

        Args:
          ask: the shared arguments.
          images: the flag that needs a run of images; the empty string: none does.
          independent: the flag that needs samples which do not depend on their batch; likewise.
        """
        self._step_wanted = choose_step(ask.path, ask.checkpoint)
        self.ask = ask
        self.run = open_run(ask.path)
        self.game = as_generative(self.run.game, "experiments.sample")
        self.field = specs.data_field(self.game.spec)
        self.kind = kinds.of(self.field)
        sampling = self.run.sampling(
            average=not ask.raw,
            batch_norm=ask.batch_norm,
            truncation=ask.truncation[0] if len(ask.truncation) == 1 else None,
        )
        self.sampling: Sampling = sampling
        self.run.check_label(ask.label)
        if images and self.field.kind != "image":
            raise errors.ConfigError(
                f"{images}, but samples of {self.run.data['name']} are of kind "
                f"{self.field.kind!r}; accepted: a picture as .png, or an .npz"
            )
        if independent and sampling.batch_norm == "batch":
            raise errors.ConfigError(
                f"{independent} with batch_norm = 'batch', where a sample depends on the others of "
                "its batch; accepted: --batch_norm=ema, running or standing"
            )

    def restore(self, devices: list[jax.Device] | None = None) -> None:
        """Load the weights: sets ``step``, ``weights``, ``sampler`` and ``variables``.

        Args:
          devices: over which samples are sharded; ``None``: the first one.
        """
        ask, weights = self.ask, self.run.load(self._step_wanted, self.sampling)
        self.step, self.weights = weights.step, weights.variables
        self.sampler = self.run.sampler(
            self.sampling,
            seed=ask.seed,
            label=ask.label,
            batch_size=ask.batch_size,
            devices=devices,
        )
        self.variables = self.sampler.place(self.weights)

    def renderer(self) -> rendering.Renderer:
        """Return what makes pictures of latents."""
        train = self.sampling.batch_norm == "batch"
        size = self.ask.batch_size
        return rendering.Renderer(
            self.game,
            self.variables,
            batch_size=size,
            train=train,
            truncation=self.sampling.truncation,
        )

    def latents(self, num: int) -> np.ndarray:
        """Return the latents of the first samples."""
        return rendering.latents(self.game, seed=self.ask.seed, num=num)

    def class_names(self, classes: Sequence[int | None]) -> list[str]:
        """Return what the rows of a picture are called; empty where there are no classes."""
        names = specs.class_names(self.game.spec)
        return ["" if k is None else names[k] if names else str(k) for k in classes]

    def out(self, kind: str) -> Path:
        """Return the picture to write."""
        ask = self.ask
        if ask.out is not None:
            return ask.out
        limits = "_".join(f"{value:g}" for value in ask.truncation)
        parts = [
            f"{kind}-step{self.step:08d}-seed{ask.seed}",
            *([] if ask.label is None else [f"label{ask.label}"]),
            *([f"truncation{limits}"] if limits else []),
            *([] if ask.batch_norm is None else [ask.batch_norm]),
            *(["raw"] if ask.raw else []),
        ]
        return self.run.path / f"{'-'.join(parts)}.png"

    def about(self) -> dict[str, Any]:
        """Return what the samples are but for the weights, JSON-able."""
        ask, how = self.ask, self.sampling
        record = {
            "variant": self.run.config.variant,
            "data": self.run.data["fingerprint"],
            "raw": ask.raw,
            "batch_norm": how.batch_norm,
            "truncation": how.truncation,
            "seed": ask.seed,
            "label": ask.label,
        }
        if how.batch_norm in ("standing", "batch"):
            record["batch_size"] = ask.batch_size
        return record


def _in_run_precision(make: Callable[Concatenate[Request, P], str]) -> Callable[..., str]:
    """Return ``make`` with the matrix-product precision of the run that it opens."""

    @functools.wraps(make)
    def wrapped(ask: Request, *args: P.args, **kwargs: P.kwargs) -> str:
        with open_run(ask.path).precision():
            return make(ask, *args, **kwargs)

    return wrapped


@_in_run_precision
def grid(ask: Request) -> str:
    """Write a picture of samples; of images with classes, a row per class.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask)
    by_class = opened.game.num_classes is not None and ask.label is None
    if by_class and opened.field.kind == "image":
        return _rows_of_classes(opened)
    opened.restore()
    data = opened.sampler.samples(opened.variables, ask.num or 64)
    out = opened.out("sample")
    grids.save_png(out, opened.kind.picture(data))
    return f"{len(data)} samples of step {opened.step}: {out}"


def _rows_of_classes(opened: _Opened) -> str:
    opened.restore()
    classes = rendering.shown_classes(opened.game)
    tiles = opened.renderer().rows(opened.latents(opened.ask.num or 8), classes)
    out = opened.out("sample")
    grids.save_png(out, grids.named_rows(tiles, opened.class_names(classes)))
    total = opened.game.num_classes
    some = f"{len(classes)} of {total}" if len(classes) < (total or 0) else f"{total}"
    return f"{tiles.shape[1]} samples of each of {some} classes of step {opened.step}: {out}"


@_in_run_precision
def truncations(ask: Request) -> str:
    """Write a picture with a row per truncation, of the same seed: the share of the limit changes.

    Without a label, the columns of a run with classes go through the classes in turn.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask, images="--truncation has several values")
    opened.restore()
    num, game = ask.num or 8, opened.game
    labels = None
    if game.num_classes is not None:
        labels = np.arange(num) % game.num_classes if ask.label is None else np.full(num, ask.label)
    z, render = opened.latents(num), opened.renderer()
    tiles = np.stack([render(z, labels, limit) for limit in ask.truncation])
    out = opened.out("sample")
    grids.save_png(out, grids.named_rows(tiles, [f"{t:g}" for t in ask.truncation]))
    return f"{num} samples at each of {len(tiles)} truncations of step {opened.step}: {out}"


@_in_run_precision
def export(ask: Request, *, archive: bool) -> str:
    """Write samples to a folder of files, or to an ``.npz``; ``ask.out`` names it.

    Returns:
      What was written, in a line.
    """
    assert ask.out is not None
    opened = _Opened(ask)
    if not archive and not opened.kind.suffix:
        raise errors.ConfigError(
            f"--out={ask.out} is a folder of files, but samples of {opened.run.data['name']} are "
            f"of kind {opened.field.kind!r}; accepted: a picture as .png, or an .npz"
        )
    if archive:
        _check_free(ask.out, ask.overwrite)
    else:
        exports.check_folder(ask.out, opened.about())
    # A sample does not depend on how many devices there are.
    opened.restore(jax.devices())
    num, classes = ask.num or 64, opened.game.num_classes
    about = opened.about() | {
        "step": opened.step,
        "weights": exports.weights_hash(opened.weights),
    }
    sampler, variables = opened.sampler, opened.variables
    line = f"{num:,} samples of step {opened.step}: {ask.out}"
    if archive:
        arrays: dict[str, np.ndarray] = {"about": np.asarray(json.dumps(about, sort_keys=True))}
        if classes is not None:
            cycle = np.arange(num) % classes
            labels = cycle if ask.label is None else np.full(num, ask.label)
            arrays["label"] = labels.astype(np.int32)
        with bar("sampling", num) as advance:
            exports.to_npz(ask.out, sampler, variables, num, arrays, advance=advance)
        return line
    folders = [""]
    if classes is not None and ask.label is None:
        folders = exports.class_folders(opened.class_names(range(classes)))
    with bar("sampling", num) as advance:
        written = exports.to_folder(
            ask.out,
            sampler,
            variables,
            num,
            about,
            place=lambda number: folders[number % len(folders)],
            advance=advance,
        )
    return line if written == num else f"{line} ({num - written:,} existed already)"


@_in_run_precision
def strips(ask: Request, path: str, frames: int) -> str:
    """Write a picture whose rows go from one sample to another, in each class or the one asked for.

    Args:
      ask: the shared arguments; ``num`` rows, or as many for each class. Row ``i`` goes from sample
        ``2 i`` to the next.
      path: one of `interpolation.PATHS`.
      frames: pictures in a row, both ends included.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask, images="--interpolate", independent="--interpolate")
    opened.restore()
    classes = rendering.shown_classes(opened.game, ask.label)
    pairs = ask.num or (8 if len(classes) == 1 else 1)
    ends = opened.latents(2 * pairs)
    z = interpolation.between(interpolation.PATHS[path], ends[::2], ends[1::2], frames)
    tiles = opened.renderer().rows(z.reshape(-1, z.shape[-1]), classes)
    # [classes, pairs, frames] to rows, the classes of a pair below each other.
    tiles = tiles.reshape(len(classes), pairs, frames, *tiles.shape[2:]).swapaxes(0, 1)
    tiles = tiles.reshape(-1, *tiles.shape[2:])
    names = opened.class_names(classes) * pairs
    out = opened.out(path)
    grids.save_png(out, grids.named_rows(tiles, names))
    return f"{len(tiles)} rows of {frames} pictures by {path} of step {opened.step}: {out}"


@_in_run_precision
def animation(ask: Request, path: str, frames: int, fps: float) -> str:
    """Write a moving picture that goes through samples and back to the first, without an end.

    Args:
      ask: the shared arguments; ``num`` samples; ``out`` is the file. A run with classes shows all
        of them beside each other, of the same latent, unless a label is asked for.
      path: one of `interpolation.PATHS`.
      frames: pictures from one sample to the next.
      fps: pictures per second.

    Returns:
      What was written, in a line.
    """
    assert ask.out is not None
    animations.check(ask.out, fps)
    num = 8 if ask.num is None else ask.num
    if num < 2:
        raise errors.ConfigError(f"--num={num} with an animation; accepted: 2 or more")
    opened = _Opened(ask, images="--interpolate", independent="--interpolate")
    opened.restore()
    classes = rendering.shown_classes(opened.game, ask.label)
    z = interpolation.loop(interpolation.PATHS[path], opened.latents(num), frames)
    tiles = opened.renderer().rows(z, classes).swapaxes(0, 1)
    layout: dict[str, Any] = {}
    if len(classes) == 1:
        scale = max(1, -(-_MOVING // min(opened.game.shape[:2])))
        layout = {"padding": 0, "scale": scale}
    animations.save(ask.out, [grids.grid(one, **layout) for one in tiles], fps)
    seconds = len(z) * animations.milliseconds(ask.out, fps) / 1000
    return f"{len(z)} pictures, {seconds:.3g} s, by {path} of step {opened.step}: {ask.out}"


@_in_run_precision
def neighbours(ask: Request, k: int, features: str, data: Mapping[str, str | None]) -> str:
    """Write a picture of samples beside their nearest training images, and print their distances.

    The distances are those of `gan_jax.inference.neighbours.COMPARED` samples, or of ``num``, if
    that is more.

    Args:
      ask: the shared arguments; ``num`` rows.
      k: nearest images of each.
      features: one of `gan_jax.inference.neighbours.FEATURES`.
      data: of ``config.data``, where the images are now.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask, images="--neighbours")
    source = opened.run.source(**data)
    neighbour_search.check_features(features, source)
    if k >= len(source):
        raise errors.ConfigError(
            f"--neighbours={k}; accepted: less than the {len(source)} training images"
        )
    opened.restore()
    num = ask.num or 8
    samples = opened.sampler.samples(opened.variables, max(num, neighbour_search.COMPARED))
    describe: neighbour_search.Describe = neighbour_search.pixels
    if features == "classifier":
        describe = neighbour_search.classifier_features(source)
    mirror = bool(opened.run.config.data.flip)
    with bar("comparing", 2 * len(source)) as advance:
        found = neighbour_search.check_memory(
            samples, source, k, describe, mirror=mirror, advance=advance
        )
    print(found.words)
    out = opened.out(f"neighbours-{features}")
    tiles = neighbour_search.picture_rows(samples[:num], found.near, source)
    grids.save_png(out, grids.grid(tiles.reshape(-1, *tiles.shape[2:]), columns=1 + k))
    return f"{num} samples of step {opened.step}, each beside {k} training images: {out}"


@_in_run_precision
def projections(ask: Request, path: str, settings: projection.Settings) -> str:
    """Write images beside the samples that come closest, and their latents; print their PSNR.

    The latents are in an ``.npz`` of the picture's name, as ``z``, with ``label``, ``psnr`` and the
    samples as ``image``.

    Args:
      ask: the shared arguments.
      path: an image, or a folder or zip of images.
      settings: how they are projected.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask, images="--project", independent="--project")
    images, names = projection.read_images(path, opened.game.shape, opened.run.config.data.resize)
    if ask.out is not None:
        _check_free(ask.out.with_suffix(".npz"), ask.overwrite)
    opened.restore()
    out = opened.out(f"projection-{Path(path).stem}")
    archive = out.with_suffix(".npz")
    _check_free(archive, ask.overwrite)
    with bar("projecting", len(images)) as advance:
        found = projection.project(
            opened.game,
            opened.variables,
            images,
            settings,
            seed=ask.seed,
            label=ask.label,
            batch_size=ask.batch_size,
            advance=advance,
        )
    for name, value in zip(names, found.psnr, strict=True):
        print(f"{name}  PSNR {value:.2f} dB")
    columns = 2 * -(-len(images) // _PROJECTED_ROWS)
    tiles = np.stack([images, found.image], axis=1).reshape(-1, *images.shape[1:])
    grids.save_png(out, grids.grid(tiles, columns=columns))
    arrays = {"z": found.z, "image": found.image, "psnr": found.psnr, "name": np.asarray(names)}
    if found.label is not None:
        arrays["label"] = found.label
    about = opened.about() | dataclasses.asdict(settings) | {"step": opened.step}
    atomic.write_npz(archive, arrays | {"about": np.asarray(json.dumps(about, sort_keys=True))})
    return f"{len(images)} images projected at step {opened.step}: {out} and {archive.name}"


@_in_run_precision
def traversals(ask: Request, code: str) -> str:
    """Write a picture whose rows go along one code of a latent vector, all else as it is.

    Args:
      ask: the shared arguments; ``num`` rows.
      code: a name of `gan_jax.games.codes.Codes.names`.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask, images="--traverse", independent="--traverse")
    codes = getattr(opened.game, "codes", None)
    if not isinstance(codes, Codes):
        raise errors.ConfigError(
            f"--traverse={code}, but the latent vector of {opened.run.config.variant!r} has no "
            "codes; accepted: a run with terms.information, such as infogan"
        )
    if code not in codes.names:
        raise errors.ConfigError(f"--traverse={code}; accepted: {', '.join(codes.names)}")
    opened.restore()
    z = codes.traverse(opened.latents(8 if ask.num is None else ask.num), code)
    rows, values = z.shape[:2]
    tiles = opened.renderer().rows(z.reshape(-1, z.shape[-1]), [None])
    out = opened.out(f"traversal-{code}")
    grids.save_png(out, grids.grid(tiles.reshape(-1, *tiles.shape[2:]), columns=values))
    return f"{rows} samples along {values} values of {code} of step {opened.step}: {out}"


@_in_run_precision
def reconstructions(ask: Request, num: int, data: Mapping[str, str | None]) -> str:
    """Write images beside their reconstructions, of a game with an encoder; print PSNR and SSIM.

    Args:
      ask: the shared arguments.
      num: how many images, held out of the training where the data set has a test split.
      data: of ``config.data``, where the images are now.

    Returns:
      What was written, in a line.
    """
    opened = _Opened(ask)
    reconstruction.check_game(opened.game)
    images, split = reconstruction.held_out_images(opened.run.config, num, **data)
    opened.restore()
    with bar("reconstructing", len(images)) as advance:
        found = reconstruction.reconstruct(
            opened.game, opened.variables, images, batch_size=ask.batch_size, advance=advance
        )
    print(f"{split}: {found.words}")
    out = opened.out("reconstruction")
    grids.save_png(out, found.picture())
    return f"{len(images)} images and their reconstructions at step {opened.step}: {out}"


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise errors.WorkdirError(f"{path} already exists; pass --overwrite to replace it")
