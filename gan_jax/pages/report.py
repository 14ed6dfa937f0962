"""The report of a run: one HTML file with what its directory says of it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.pages import charts, contents, figures, panels, pictures, tables, template
from gan_jax.report import grids, provenance
from gan_jax.runs.run_directory import plain

if TYPE_CHECKING:
    from gan_jax.inference.sample_request import Request
    from gan_jax.runs.run import Run

# Pictures beside those of samples, at most, and their size in bytes.
_OTHERS, _OTHERS_BUDGET = 12, 12 * 2**20
_NEIGHBOURS = "neighbours-"


@dataclasses.dataclass(frozen=True)
class Near:
    """Samples beside the training images that are nearest to them.

    Attributes:
      words: how near they are.
      picture: in each row a sample, then the images.
    """

    words: str
    picture: pictures.Picture


@dataclasses.dataclass(frozen=True)
class Made:
    """Samples of a checkpoint, one by one.

    Attributes:
      words: what they are.
      samples: they.
    """

    words: str
    samples: figures.Figures


def page(run: "Run", near: Near | None = None, made: Made | None = None) -> str:
    """Return the report of a run as HTML; the run may still be training.

    Args:
      run: it.
      near: what `neighbours` has returned; ``None``: the pictures of the directory alone are shown.
      made: what `samples` has returned; ``None``: likewise.

    Raises:
      ConfigError: the run uses an entry of a registry that is not registered in this process.
    """
    return template.render("report.html", near=near, played=made, **content(run))


def samples(ask: "Request", num: int) -> Made:
    """Return samples of a run one by one: sounds and animations play.

    Args:
      ask: how they are made.
      num: how many.

    Raises:
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    kind = kinds.of(ask.field)
    labels = ask.labels(num)
    names = None if labels is None else ask.class_names(labels.tolist())
    with ask.run.precision():
        made = ask.sampler().samples(ask.variables, num * kind.crowd)
    text = provenance.synthetic(ask.run.path, ask.step, seed=ask.seed)
    words = f"{num * kind.crowd} samples of {_origin(ask)}"
    return Made(words, figures.of_samples(kind, made, names, text))


def neighbours(ask: "Request", k: int, data: Mapping[str, str | None]) -> Near:
    """Return samples beside their nearest training images, by the distance of their pixels.

    Args:
      ask: the samples; ``num`` of them are shown.
      k: nearest images of each.
      data: of ``config.data``, where the images are now.

    Raises:
      ConfigError: the run does not make images from noise, or has too few training images.
      DataError: the data set is missing, or is not the one that the run was trained with.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    from gan_jax.inference import sample_run

    with ask.run.precision():
        words, drawn = sample_run.nearest_images(ask, k, "pixels", data)
    label = _origin(ask)
    picture = pictures.embedded(grids.png(drawn), label)
    assert picture is not None
    return Near(words, picture)


def _origin(ask: "Request") -> str:
    """Return the weights and the seed of samples in words."""
    return f"step {ask.step:,}, seed {ask.seed}{', raw weights' if ask.sampling.raw else ''}"


def content(run: "Run") -> dict[str, Any]:
    """Return what a report says, as plain data and SVG texts by the template's names.

    Raises:
      ConfigError: as `page`.
    """
    found = contents.read(run)
    notes = list(found.notes)
    near = [path for path in found.pictures if path.name.startswith(_NEIGHBOURS)]
    others = [path for path in found.pictures if path not in near]
    measured = tables.by_protocol(found.evaluations)
    sheet, lacking = _sheet_words(found)
    return {
        "title": run.path.name,
        "variant": str(found.config.variant),
        "headline": tables.headline(found),
        "origin": found.origin,
        "notes": notes,
        "slides": _slides(found, notes),
        "sheet": sheet,
        "lacking": lacking,
        "charts": [charts.figure(panel) for panel in panels.of_metrics(found.metrics)],
        "thinning": panels.THINNING if len(found.metrics) > panels.MOST_POINTS else "",
        "last": tables.last_values(found.metrics),
        "measured": [(one, [charts.figure(panel) for panel in one.panels()]) for one in measured],
        "best": found.best,
        "neighbours": _newest(near, notes),
        "others": _newest(others, notes),
        "settings": tables.settings(found.config, run.path),
        "config": json.dumps(plain(found.config), indent=2, sort_keys=True, ensure_ascii=False),
        "data": tables.data_facts(found.data, found.config),
        "starts": [(tables.command(one), tables.start_facts(one)) for one in found.starts],
        "commit": str((found.starts and found.starts[0].get("commit")) or ""),
    }


def _slides(found: contents.Contents, notes: list[str]) -> list[pictures.Picture]:
    """Return the pictures of samples over time; note those that are left out."""
    steps = {path: step for step, path in sorted(found.sheets.items())}
    chosen = pictures.spread(list(steps))
    kimg = found.kimg_of
    slides = []
    for path in chosen:
        step = steps[path]
        seen = f", {kimg[step]:,.1f} kimg" if step in kimg else ""
        slides.append((path, pictures.shown(path, f"step {step:,}{seen}")))
    _note_damaged([path for path, slide in slides if slide is None], notes)
    if len(chosen) < len(steps):
        notes.append(
            f"{len(chosen)} of {len(steps)} pictures of samples are shown, evenly spread, with "
            "the first and the last."
        )
    return [slide for _, slide in slides if slide is not None]


def _newest(paths: list[Path], notes: list[str]) -> list[pictures.Picture]:
    """Return the newest of other pictures; note those that are left out."""
    kept: list[Path] = []
    size = 0
    for path in reversed(paths[-_OTHERS:]):
        size += path.stat().st_size
        if size > _OTHERS_BUDGET:
            break
        kept.append(path)
    if left := len(paths) - len(kept):
        notes.append(
            f"{left} older or larger pictures of the run directory are left out, such as "
            f"{next(path for path in paths if path not in kept).name}."
        )
    found = [(path, pictures.shown(path, path.name)) for path in kept]
    _note_damaged([path for path, picture in found if picture is None], notes)
    return [picture for _, picture in found if picture is not None]


def _note_damaged(paths: list[Path], notes: list[str]) -> None:
    for path in paths:
        notes.append(f"{path.name} is no complete PNG file and is left out.")


def _sheet_words(found: contents.Contents) -> tuple[str, str]:
    """Return what pictures of samples show, where that is not plain to see, and what they lack."""
    kind = kinds.of(specs.target(specs.from_json(found.data["spec"])))
    if kinds.is_sound(kind.field):
        return "Spectrograms of the sounds.", "sound"
    return {
        "video": ("Each strip is one video, its frames from left to right.", "video"),
        "music": ("Piano rolls.", "sound"),
        "points": ("Generated points, red, over real ones, grey.", ""),
    }.get(kind.field.kind, ("", ""))
