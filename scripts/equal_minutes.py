"""Train beside PyTorch for the same minutes: ``python -m scripts.equal_minutes --out=DIR``.

``--config=NAME[:DATA],...`` are trained by gan_jax and by their references in PyTorch
(`scripts.pytorch`) on the same data in the same order, from the same first weights, with the same
batches, schedules and averages. Both train in one process, in slices of two seconds that alternate,
until each has spent ``--minutes``, start-up included: compilation, placing the data and the first
step. ``--stepping`` leaves the start-up out. A short run before measures the time of a step, from
which each gets the length of its schedules, and which of PyTorch's memory formats is the faster.

Then both are measured alike (`scripts.pytorch.measures`). ``DIR`` receives a line of
``results.jsonl`` for each contestant, ``results.md``, ``results.csv`` with the columns of
docs/results.csv, and a picture of each configuration. The same command continues after an
interruption with the configurations that are not finished.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# PyTorch needs some of the device's memory in the same process.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import pipeline as pipelines
from gan_jax.data import sources
from gan_jax.data import spec as specs
from gan_jax.evaluation.real_images import held_out
from gan_jax.games.game import Game
from gan_jax.games.translation import TranslationGame
from gan_jax.report import atomic, environment, evaluations, grids
from gan_jax.runs import allocator, build, fitting
from gan_jax.runs.config import with_local_paths
from scripts import benchmark, contestants, tables, train_steps
from scripts.contestants import Contestant, Ours, Task
from scripts.train_steps import Row

CALIBRATED = 0.05  # Share of the minutes in which the time of a step is measured.
DEGRADATIONS = ("none", "downsample", "grey")
RESULTS = "results.jsonl"
TIMES = ("steps", "expected steps", "minutes of steps", "with start-up", "ms per step")


class Match(NamedTuple):
    """A configuration that can be compared, with its data."""

    name: str
    config: ConfigDict
    source: sources.Source
    game: Game


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="gan", help="NAME[:DATA][,...] of configs/")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each contestant")
    parser.add_argument("--stepping", action="store_true", help="minutes of steps alone")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--data", help="data.path, or data.data_dir of TFDS sets")
    parser.add_argument("--batch_size", type=int, help="default: the configuration's")
    parser.add_argument("--seed", type=int, default=0, help="of both trainings")
    options = vars(parser.parse_args(arguments))
    names, out, minutes = options.pop("config").split(","), options.pop("out"), options["minutes"]
    try:
        errors.require(minutes > 0, "--minutes", minutes, "a number above 0")
        matches = [make_match(name, **options) for name in dict.fromkeys(names)]
        claim(out, options)
        allocator.keep_freed_memory()  # As for a run; of PyTorch, too.
        for match in matches:
            compare_all(match, 60 * minutes, stepping=options["stepping"], out=out)
    except errors.GanJaxError as error:
        sys.exit(f"error: {error}")


def make_match(
    name: str, *, data: str | None, batch_size: int | None, seed: int, **_: Any
) -> Match:
    """Return a configuration with its data.

    Raises:
      GanJaxError: PyTorch is missing, or the configuration cannot be compared.
    """
    module = train_steps.references()
    errors.require(module is not None, "--config", name, "none, where PyTorch is missing")
    config = benchmark.load(name)
    known = ", ".join(module.REFERENCES)
    has = config.variant in module.REFERENCES
    errors.require(has, "--config", name, f"configurations with a PyTorch reference: {known}")
    if data is not None:
        embedded = config.data.name in ("digits", "photos")
        errors.require(not embedded, "--data", data, f"none, for the embedded data of {name}")
        in_files = config.data.name in ("folder", "npz")
        config.data["path" if in_files else "data_dir"] = data
    config.train.seed = seed
    if batch_size is not None:
        config.train.batch_size = batch_size
    config, source = fitting.fitted(with_local_paths(config))
    game = build.make_training(contestants.of_length(config, config.train.steps), source.spec).game
    _check(name, config, source, game)
    return Match(name, config, source, game)


def _check(name: str, config: ConfigDict, source: sources.Source, game: Game) -> None:
    """Check that both sides can train, and that there is a measure."""
    size, limit = pipelines.resident_bytes(source) / 2**30, config.data.device_cache_gib
    accepted = f"{limit} or less (data.device_cache_gib)"
    errors.require(size <= limit, f"GiB of the data of {name}", round(size, 2), accepted)
    if isinstance(game, TranslationGame):
        known = config.degrade.name in DEGRADATIONS
        errors.require(known, "degrade.name", config.degrade.name, ", ".join(DEGRADATIONS))
        scale = specs.pair_scale(source.spec)
        errors.require(scale == 1, "data.scale", scale, "pairs of images of one size")
        _, split = held_out(config.data)
        accepted = "data with a split test or val, to measure on"
        errors.require(split != config.data.split, f"splits of the data of {name}", split, accepted)
        return
    classes = specs.num_classes(source.spec) or 0
    accepted = "images with labels of two classes or more, for the judge"
    errors.require(classes > 1, f"classes of the data of {name}", classes, accepted)


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings into a new folder, or check that they are those of an earlier start.

    Raises:
      WorkdirError: the folder has results of other settings, or other files.
    """
    path, text = out / "settings.json", json.dumps(settings, indent=1) + "\n"
    if path.exists():
        if path.read_text("utf-8") != text:
            raise errors.WorkdirError(
                f"{out} has results of other settings, {path.name}; accepted: the same ones, or "
                "another --out"
            )
    elif out.exists() and any(out.iterdir()):
        raise errors.WorkdirError(f"{out} has other files; accepted: a new or empty folder")
    else:
        atomic.write_text(path, text)


def compare_all(match: Match, seconds: float, *, stepping: bool, out: Path) -> None:
    """Compare a configuration unless the folder has it; write every row as soon as it is known."""
    from scripts.pytorch import measures

    rows = {(row["config"], row["contestant"]): row for row in evaluations.read(out / RESULTS)}
    if (match.name, "PyTorch") in rows:  # The last one that is written.
        print(f"{match.name}: in {out} already", flush=True)
        return
    print(f"{match.name}: preparing the measures", flush=True)
    whole = task_of(match, match.config.train.steps)
    measure = measures.make_measure(out, whole, match.game)
    shown = dict(measure.shown)
    for row, images in compare(match, whole.arrays, measure, seconds, stepping=stepping):
        print(json.dumps(row), flush=True)
        evaluations.append(out / RESULTS, row)
        rows[row["config"], row["contestant"]] = row
        shown[row["contestant"]] = images
        text = io.StringIO()
        benchmark.show(rows.values(), text)
        atomic.write_text(out / "results.md", text.getvalue())
    picture = grids.named_rows(np.stack(list(shown.values())), list(shown))
    grids.save_png(out / f"{match.name.replace(':', '_')}.png", picture)
    write_csv(out / "results.csv", list(rows.values()))


def compare(
    match: Match,
    arrays: Mapping[str, np.ndarray],
    measure: Any,
    seconds: float,
    *,
    stepping: bool,
) -> Iterator[tuple[Row, np.ndarray]]:
    """Yield a row, and images to show, of the reference of the measure, of ours, of PyTorch."""
    about = {
        "measured": measure.protocol,
        "stepping": stepping,
        "seed": match.config.train.seed,
        "batch_size": match.config.train.batch_size,
        "machine": benchmark.machine(),
        "commit": environment.describe(Path())["commit"],
    }
    common: Row = {"config": match.name, "data": match.source.name, "contestant": measure.name}
    common |= dict.fromkeys(TIMES)
    values, images = measure.reference
    yield {**common, **values, "protocol": about}, images
    print(f"{match.name}: measuring the time of a step", flush=True)
    lengths, placement = calibrate(match, arrays, seconds, stepping=stepping)
    print(f"{match.name}: training, {lengths}", flush=True)
    pair = start(match, arrays, lengths, placement)
    for one in pair:
        one.allotted = seconds - (0.0 if stepping else one.startup)
        least = f"more than its start-up of {one.startup:.0f} s, or --stepping"
        errors.require(one.allotted > 0, f"--minutes for {one.name}", seconds / 60, least)
    contestants.take_turns(pair)
    for one in pair:
        minutes = one.spent / 60, (one.spent + one.startup) / 60
        times = one.steps, lengths[one.name], *minutes, 1e3 * one.step_seconds
        known = {**common, "contestant": one.name, **dict(zip(TIMES, times, strict=True))}
        values, images = measure.outcome(one)
        used = placement if one.name == "PyTorch" else {}
        yield {**known, **values, "protocol": {**about, "placement": used}}, images


def task_of(match: Match, steps: int, arrays: Mapping[str, np.ndarray] | None = None) -> Task:
    """Return the training of a number of steps; without arrays, the data set is read."""
    config = contestants.of_length(match.config, steps)
    if arrays is None:
        training = build.make_training(config, match.source.spec)
        arrays = contestants.make_pipeline(Task(config, match.source, {}), training).data
    return Task(config, match.source, arrays)


def start(
    match: Match, arrays: Mapping[str, np.ndarray], lengths: Mapping[str, int], placement: Row
) -> list[Contestant]:
    """Return both contestants after their first step; ``lengths`` are the steps of each."""
    from scripts.pytorch.contestant import Theirs

    ours = Ours(task_of(match, lengths["gan_jax"], arrays))
    ours.start()
    theirs = Theirs(task_of(match, lengths["PyTorch"], arrays), ours.initial, **placement)
    theirs.start()
    return [ours, theirs]


def calibrate(
    match: Match, arrays: Mapping[str, np.ndarray], seconds: float, *, stepping: bool
) -> tuple[dict[str, int], Row]:
    """Return the train steps that fit into the time, by contestant, and PyTorch's best placement.

    Where the first train steps are by content alone, they are measured apart.
    """
    from scripts.pytorch.contestant import Theirs

    paired, steps = match.config.game.paired, match.config.train.steps
    content = paired.content_steps / steps if match.config.game.name == "paired" else 0.0
    # Float32 as ours.
    placements = [
        fields for fields in train_steps.pytorch_placements().values() if not fields.get("bfloat16")
    ]
    seconds_per_step = np.zeros(1 + len(placements))
    startups = np.zeros(1 + len(placements))
    for share, content_steps in ((1 - content, 0), (content, steps)):
        if not share:
            continue
        task = task_of(match, steps, arrays)
        task.config.game.paired.content_steps = content_steps
        ours = Ours(task)
        ours.start()
        everyone = [ours]
        for fields in placements:
            everyone.append(Theirs(task, ours.initial, **fields))
            everyone[-1].start()
        for one in everyone:
            one.allotted = CALIBRATED * seconds
        contestants.take_turns(everyone)
        seconds_per_step += [share * one.step_seconds for one in everyone]
        startups = np.maximum(startups, [0.0 if stepping else one.startup for one in everyone])
    steps_of = np.maximum(1, (seconds - startups) / seconds_per_step).astype(int).tolist()
    best = int(np.argmin(seconds_per_step[1:]))
    return {"gan_jax": steps_of[0], "PyTorch": steps_of[1 + best]}, placements[best]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a line with the columns of docs/results.csv for each configuration that is finished.

    The columns ``minutes`` and ``steps`` are those of gan_jax.
    """
    lines = []
    for name in dict.fromkeys(row["config"] for row in rows):
        own = [row for row in rows if row["config"] == name]
        if len(own) < 3:
            continue  # An earlier start was interrupted in it.
        reference, ours, theirs = own
        found = {"pytorch_steps": theirs["steps"]}
        for side, row in (("gan_jax", ours), ("pytorch", theirs), ("reference", reference)):
            found |= {f"{side}_{k}": _number(row[k]) for k in tables.MEASURES if k in row}
        about, machine = ours["protocol"], ours["protocol"]["machine"]
        counted = "minutes of steps" if about["stepping"] else "with start-up"
        protocol = f"scripts.equal_minutes, equal minutes {counted}: {about['measured']}"
        lines.append(
            {
                **dict.fromkeys(tables.Result._fields, ""),
                "config": name,
                "overrides": f"train.batch_size={about['batch_size']}",
                "commit": about.get("commit") or "",
                "data": ours["data"],
                "protocol": protocol,
                "seeds": about["seed"],
                "machine": f"{os.cpu_count()} cores, {machine['processor']}, "
                + ", ".join(machine["devices"]),
                "steps": ours["steps"],
                "minutes": _number(round(ours[counted], 1)),
                "values": " ".join(f"{k}={v}" for k, v in found.items()),
            }
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, tables.Result._fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    atomic.write_text(path, text.getvalue())


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


if __name__ == "__main__":
    main()
