"""Files that are made with a trained run: samples, pictures, animations.

Each function checks its arguments before a checkpoint is read, writes one file or folder, and
returns a line that says what was written. It computes with JAX's current matrix-product precision;
`gan_jax.runs.run.Run.precision` sets the run's.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.games.codes import Codes
from gan_jax.inference import directions as finding
from gan_jax.inference import (
    image_files,
    mixing,
    projection,
    reconstruction,
    rendering,
    sample_files,
)
from gan_jax.inference import neighbours as neighbour_search
from gan_jax.inference.sample_request import Request
from gan_jax.report import animation as animations
from gan_jax.report import atomic, grids
from gan_jax.report.bar import bar
from gan_jax.training import interpolation, spaces

# The smallest side of an animation of single pictures; smaller ones are magnified.
_ANIMATED_SIDE = 128
# Rows of originals beside their projections, before further columns are added.
_PROJECTED_ROWS = 16
# Random points among which directions are found, the least of latents, and those measured along.
_STYLES, _LATENTS, _MEASURED = 10_000, 1024, 64


def grid(ask: Request) -> str:
    """Write a picture of samples, or lines; of images with classes or captions a row for each."""
    by_class = ask.game.num_classes is not None or ask.captions is not None
    if by_class and ask.label is None and ask.field.kind == "image":
        return _rows_of_classes(ask)
    kind = kinds.of(ask.field)
    out = ask.picture("sample", kind.sheet)
    data = ask.sampler().samples(ask.variables, ask.num or 64)
    if kind.sheet == ".txt":
        atomic.write_text(out, "".join(f"{line}\n" for line in kind.lines(data)))
    else:
        grids.save_png(out, kind.picture(data), ask.text)
    return f"{len(data)} samples of step {ask.step}: {out}"


def _rows_of_classes(ask: Request) -> str:
    classes = rendering.shown_labels(ask.game)
    tiles = ask.renderer().rows(ask.latents(ask.num or 8), classes)
    out = ask.picture("sample")
    grids.save_png(out, grids.named_rows(tiles, ask.class_names(classes)), ask.text)
    if ask.captions is not None:
        return (
            f"{tiles.shape[1]} samples of each of {len(classes)} captions of step {ask.step}: {out}"
        )
    total = ask.game.num_classes
    some = "" if len(classes) == total else f"{len(classes)} of "
    return f"{tiles.shape[1]} samples of each of {some}{total} classes of step {ask.step}: {out}"


def truncations(ask: Request) -> str:
    """Write a picture with a row of the same latents per truncation.

    Without a label, the columns of a run with classes go through the classes in turn.
    """
    ask.require_images("--truncation has several values")
    num = ask.num or 8
    labels = ask.labels(num)
    z, render = ask.latents(num), ask.renderer()
    tiles = np.stack([render(z, labels, limit) for limit in ask.truncation])
    out = ask.picture("sample")
    grids.save_png(out, grids.named_rows(tiles, [f"{t:g}" for t in ask.truncation]), ask.text)
    return f"{num} samples at each of {len(tiles)} truncations of step {ask.step}: {out}"


def export(ask: Request, *, archive: bool) -> str:
    """Write samples to a folder of files, or to an ``.npz``; ``ask.out`` names it."""
    assert ask.out is not None
    if not archive and not kinds.of(ask.field).suffix:
        raise errors.ConfigError(
            f"--out={ask.out} is a folder of files, but samples of {ask.run.data['name']} are "
            f"of kind {ask.field.kind!r} and shape {ask.field.shape}; accepted: a picture as .png, "
            "or an .npz"
        )
    if archive:
        atomic.check_free(ask.out, ask.overwrite)
    else:
        sample_files.check_folder(ask.out, ask.about())
    num = ask.num or 64
    labels = ask.labels(num)
    weights = sample_files.weights_hash(ask.weights.variables)
    about = ask.about() | {"step": ask.step, "weights": weights}
    # A sample does not depend on how many devices there are.
    sampler = ask.sampler(jax.devices())
    variables = sampler.place(ask.weights.variables)
    line = f"{num:,} samples of step {ask.step}: {ask.out}"
    if archive:
        arrays: dict[str, np.ndarray] = {"about": np.asarray(json.dumps(about, sort_keys=True))}
        if labels is not None:
            arrays["label"] = labels
            if ask.captions is not None:
                arrays["caption"] = np.asarray(ask.class_names(list(labels)), str)
        with bar("sampling", num) as advance:
            sample_files.to_npz(ask.out, sampler, variables, num, arrays, advance=advance)
        return line
    places = [""] * num
    if ask.class_of is not None and labels is not None and ask.game.attributes is None:
        folders = sample_files.class_folders(ask.class_names(range(ask.game.num_classes or 0)))
        places = [folders[label] for label in labels]
    with bar("sampling", num) as advance:
        written = sample_files.to_folder(
            ask.out,
            sampler,
            variables,
            num,
            about,
            place=places.__getitem__,
            text=ask.text,
            advance=advance,
        )
    return line if written == num else f"{line} ({num - written:,} existed already)"


def strips(ask: Request, path: str, frames: int) -> str:
    """Write a picture whose rows go from one sample to another, in each class or the one asked for.

    Args:
      ask: ``num`` rows, or as many for each class. Row ``i`` goes from sample ``2 i`` to the next.
      path: one of `interpolation.PATHS`.
      frames: pictures in a row, both ends included.
    """
    ask.require_images("--interpolate", independent=True)
    classes = rendering.shown_labels(ask.game, ask.label)
    pairs = ask.num or (8 if len(classes) == 1 else 1)
    ends = ask.latents(2 * pairs)
    z = interpolation.between(interpolation.PATHS[path], ends[::2], ends[1::2], frames)
    tiles = ask.renderer().rows(z.reshape(-1, z.shape[-1]), classes)
    # [classes, pairs, frames] to rows, the classes of a pair below each other.
    tiles = tiles.reshape(len(classes), pairs, frames, *tiles.shape[2:]).swapaxes(0, 1)
    tiles = tiles.reshape(-1, *tiles.shape[2:])
    names = ask.class_names(classes) * pairs
    out = ask.picture(path)
    grids.save_png(out, grids.named_rows(tiles, names), ask.text)
    return f"{len(tiles)} rows of {frames} pictures by {path} of step {ask.step}: {out}"


def animation(ask: Request, path: str, frames: int, fps: float) -> str:
    """Write an animation that goes through samples and back to the first.

    Args:
      ask: ``num`` samples; ``out`` is the file. A run with classes shows all of them beside each
        other, of the same latent, unless a label is asked for.
      path: one of `interpolation.PATHS`.
      frames: pictures from one sample to the next.
      fps: pictures per second.
    """
    assert ask.out is not None
    animations.check(ask.out, fps)
    num = ask.num or 8
    if num < 2:
        raise errors.ConfigError(f"--num={num} with an animation; accepted: 2 or more")
    ask.require_images("--interpolate", independent=True)
    classes = rendering.shown_labels(ask.game, ask.label)
    z = interpolation.loop(interpolation.PATHS[path], ask.latents(num), frames)
    tiles = ask.renderer().rows(z, classes).swapaxes(0, 1)
    layout: dict[str, Any] = {}
    if len(classes) == 1:
        scale = max(1, -(-_ANIMATED_SIDE // min(ask.game.shape[:2])))
        layout = {"padding": 0, "scale": scale}
    animations.save(ask.out, [grids.grid(one, **layout) for one in tiles], fps)
    seconds = len(z) * animations.milliseconds(ask.out, fps) / 1000
    return f"{len(z)} pictures, {seconds:.3g} s, by {path} of step {ask.step}: {ask.out}"


def neighbours(ask: Request, k: int, features: str, data: Mapping[str, str | None]) -> str:
    """Write a picture of samples beside their nearest training images, and print their distances.

    The arguments are those of `nearest_images`.
    """
    words, picture = nearest_images(ask, k, features, data)
    print(words)
    out = ask.picture(f"neighbours-{features}")
    grids.save_png(out, picture, ask.text)
    num = ask.num or 8
    return f"{num} samples of step {ask.step}, each beside {k} training images: {out}"


def nearest_images(
    ask: Request, k: int, features: str, data: Mapping[str, str | None]
) -> tuple[str, np.ndarray]:
    """Return how near samples are to training images, and a picture of them beside the nearest.

    The distances are those of ``num`` samples, or of `neighbours.COMPARED`, if that is more.

    Args:
      ask: ``num`` rows.
      k: nearest images of each.
      features: one of `neighbours.FEATURES`.
      data: of ``config.data``, where the images are now.

    Returns:
      The distances in words, and uint8 ``[height, width, channels]``.
    """
    ask.require_images("--neighbours")
    source = ask.run.source(**data)
    neighbour_search.check_features(features, source)
    if k >= len(source):
        raise errors.ConfigError(
            f"--neighbours={k}; accepted: less than the {len(source)} training images"
        )
    num = ask.num or 8
    samples = ask.sampler().samples(ask.variables, max(num, neighbour_search.COMPARED))
    describe: neighbour_search.Describe = neighbour_search.pixels
    if features == "classifier":
        describe = neighbour_search.classifier_features(source)
    mirror = bool(ask.run.config.data.flip)
    with bar("comparing", 2 * len(source)) as advance:
        found = neighbour_search.check_memory(
            samples, source, k, describe, mirror=mirror, advance=advance
        )
    tiles = neighbour_search.picture_rows(samples[:num], found.near, source)
    return found.words, grids.grid(tiles.reshape(-1, *tiles.shape[2:]), columns=1 + k)


def projections(ask: Request, path: str, settings: projection.Settings) -> str:
    """Write images beside the samples that come closest, and their points; print their PSNR.

    The points are in an ``.npz`` of the picture's name, as ``z``, ``w`` or ``w+``, with ``label``,
    ``psnr`` and the samples as ``image``. ``path`` is an image, or a folder or zip of images.
    """
    ask.require_images("--project", independent=True)
    space = spaces.make_space(ask.game, settings.space)
    resize, levels = ask.run.config.data.resize, ask.run.levels
    if ask.out is not None:  # Else the name has the step, and the checkpoint is read first.
        image_files.check_outside(ask.out, "--out", path, "--project")
        atomic.check_free(ask.out.with_suffix(".npz"), ask.overwrite)
    images, names = projection.read_images(path, ask.game.shape, resize, levels)
    way = "" if settings.space is None else f"-{settings.space}"
    out = ask.picture(f"projection-{Path(path).stem}{way}")
    archive = out.with_suffix(".npz")
    atomic.check_free(archive, ask.overwrite)
    with bar("projecting", len(images)) as advance:
        found = projection.project(
            ask.game,
            ask.variables,
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
    grids.save_png(out, grids.grid(tiles, columns=columns), ask.text)
    arrays = {space.name: found.points, "image": found.image, "psnr": found.psnr}
    arrays["name"] = np.asarray(names)
    if found.label is not None:
        arrays["label"] = found.label
    how = dataclasses.asdict(settings) | {"space": space.name}
    about = ask.about() | how | {"step": ask.step}
    atomic.write_npz(archive, arrays | {"about": np.asarray(json.dumps(about, sort_keys=True))})
    where = f"{len(images)} images projected into {space.name} at step {ask.step}"
    return f"{where}: {out} and {archive.name}"


def mixtures(ask: Request, part: str) -> str:
    """Write a table of samples with the styles of two, and print how far they are from either.

    In the picture at row ``i`` and column ``j`` the layers of ``part`` have the styles of sample
    ``j``, and the others those of sample ``i``, so that the samples are on the diagonal. Samples of
    a run with classes go through the classes in turn.

    Args:
      ask: ``num`` rows and columns.
      part: as for `mixing.chosen_layers`.
    """
    ask.require_images("--mix")
    space = spaces.make_styles(ask.game, "--mix")
    chosen = mixing.chosen_layers(part, space.layers)
    num = ask.num or 8
    if num < 2:
        raise errors.ConfigError(f"--num={num} with --mix; accepted: 2 or more")
    styles = mixing.table(ask.points(space, num, ask.labels(num)), chosen)
    tiles = ask.renderer(space)(styles.reshape(-1, *styles.shape[2:]))
    out = ask.picture(f"mix-{part}")
    grids.save_png(out, grids.grid(tiles, columns=num), ask.text)
    cells = tiles.reshape(num, num, -1).astype(np.float64)
    plain = cells[np.arange(num), np.arange(num)]
    apart = ~np.eye(num, dtype=bool)
    for name, samples in (("row", plain[:, None]), ("column", plain[None])):
        error = np.sqrt(np.square(cells - samples).mean(-1))[apart]
        print(f"RMS difference from the sample of the {name}: {error.mean():.1f} of 255")
    layers = f"layers {chosen[0]} to {chosen[-1]} of {space.layers}"
    return f"{num} x {num} samples mixed in {layers} of step {ask.step}: {out}"


def directions(
    ask: Request, method: str, top: int, strength: float, frames: int, name: str | None
) -> str:
    """Write samples moved along directions, and the directions; print what each one changes.

    The picture has ``num`` rows for each direction, of the first samples, which go through the
    classes in turn. The directions are in an ``.npz`` of the picture's name, as ``vectors``, with
    their ``eigenvalues``, ``share``, ``deviation`` (of random points along them) and ``change``
    (the RMS difference of pixels that one deviation makes).

    Args:
      ask: ``num`` samples of each direction.
      method: one of `directions.METHODS`.
      top: how many directions.
      strength: the farthest pictures of a row, in deviations of points along the direction.
      frames: pictures in a row.
      name: of the space; ``None``: the generator's.
    """
    ask.require_images("--directions", independent=True)
    errors.require(name != "w+", "space", name, "z or w")
    space = spaces.make_space(ask.game, name)
    if ask.out is not None:  # Else the name has the step, and the checkpoint is read first.
        atomic.check_free(ask.out.with_suffix(".npz"), ask.overwrite)
    out = ask.picture(f"{method}-{space.name}")
    archive = out.with_suffix(".npz")
    atomic.check_free(archive, ask.overwrite)
    number = _STYLES if space.name == "w" else max(_LATENTS, 4 * ask.game.latent_dim)
    labels, num = ask.labels(number), ask.num or 2
    points = ask.points(space, number, labels)
    label, game, variables = None if labels is None else labels[0], ask.game, ask.variables
    if method == "sefa":
        found = finding.sefa(space, game, variables, points.shape[1:], label, top=top)
    else:
        how = {"top": top, "batch_size": ask.batch_size}
        found = finding.ganspace(space, game, variables, points, label, **how)
    render = ask.renderer(space)

    def changes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return deviations of points along vectors, and the changes of pixels by one of these."""
        along, few = finding.deviations(vectors, points), points[:_MEASURED]
        made = _render_moved(render, few, labels, vectors, along[:, None] * [0.0, 1.0])
        apart = np.diff(made.reshape(*made.shape[:3], -1).astype(np.float64), axis=2)
        return along, np.sqrt(np.square(apart).mean(-1)).mean((1, 2))

    along, change = changes(found.vectors)
    for k, (value, share) in enumerate(zip(found.eigenvalues, found.share, strict=True)):
        print(
            f"direction {k + 1}: eigenvalue {value:.4g} ({share:.1%}), RMS change by a standard "
            f"deviation {change[k]:.1f} of 255"
        )
    others = changes(finding.random_directions(found.vectors, ask.seed))[1]
    print(f"random directions: RMS change {others.mean():.1f} of 255")
    steps = along[:, None] * np.linspace(-strength, strength, frames)
    tiles = _render_moved(render, points[:num], labels, found.vectors, steps)
    names = [str(k + 1) if i == 0 else "" for k in range(top) for i in range(num)]
    rows = tiles.reshape(top * num, frames, *tiles.shape[3:])
    grids.save_png(out, grids.named_rows(rows, names), ask.text)
    about = ask.about() | {"method": method, "space": space.name, "step": ask.step}
    arrays = dataclasses.asdict(found) | {"deviation": along, "change": change}
    atomic.write_npz(archive, arrays | {"about": np.asarray(json.dumps(about, sort_keys=True))})
    where = f"{top} directions of {space.name} by {method} of step {ask.step}"
    return f"{where}: {out} and {archive.name}"


def _render_moved(
    render: rendering.Renderer,
    points: np.ndarray,
    labels: np.ndarray | None,
    vectors: np.ndarray,
    steps: np.ndarray,
) -> np.ndarray:
    """Return pictures ``[k, n, m, ...]`` of ``n`` points moved by ``m`` steps along ``k`` vectors.

    Steps are ``[k, m]``.
    """
    found = finding.moved(points, vectors, steps)
    count, number, times = found.shape[:3]
    every = None
    if labels is not None:
        every = np.tile(
            np.repeat(labels[:number], times, axis=0), (count, *[1] * (labels.ndim - 1))
        )
    tiles = render(found.reshape(-1, *points.shape[1:]), every)
    return tiles.reshape(count, number, times, *tiles.shape[1:])


def traversals(ask: Request, code: str) -> str:
    """Write a picture whose rows vary one code of a latent vector, one of `Codes.names`."""
    ask.require_images("--traverse", independent=True)
    codes = getattr(ask.game, "codes", None)
    if not isinstance(codes, Codes):
        raise errors.ConfigError(
            f"--traverse={code}, but the latent vector of {ask.run.config.variant!r} has no "
            "codes; accepted: a run with terms.information, such as infogan"
        )
    if code not in codes.names:
        raise errors.ConfigError(f"--traverse={code}; accepted: {', '.join(codes.names)}")
    z = codes.traverse(ask.latents(ask.num or 8), code)
    rows, values = z.shape[:2]
    tiles = ask.renderer().rows(z.reshape(-1, z.shape[-1]), [None])
    out = ask.picture(f"traversal-{code}")
    grids.save_png(out, grids.grid(tiles.reshape(-1, *tiles.shape[2:]), columns=values), ask.text)
    return f"{rows} samples along {values} values of {code} of step {ask.step}: {out}"


def reconstructions(ask: Request, num: int, data: Mapping[str, str | None]) -> str:
    """Write ``num`` images beside their reconstructions by an encoder; print PSNR and SSIM.

    The images are held out of the training where the data set has a test split; ``data`` is of
    ``config.data``: where they are now.
    """
    reconstruction.check_game(ask.game)
    images, split = reconstruction.held_out_images(ask.run.config, num, **data)
    with bar("reconstructing", len(images)) as advance:
        found = reconstruction.reconstruct(
            ask.game, ask.variables, images, batch_size=ask.batch_size, advance=advance
        )
    print(f"{split}: {found.words}")
    out = ask.picture("reconstruction")
    grids.save_png(out, found.picture(), ask.text)
    return f"{len(images)} images and their reconstructions at step {ask.step}: {out}"
