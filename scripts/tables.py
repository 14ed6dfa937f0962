"""Write the tables of README.md and the pages from the configurations and docs/results.csv.

    python -m scripts.tables            # rewrites the marked sections
    python -m scripts.tables --check    # exit code 1 if a section is out of date

A section lies between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; `TABLES` has the
names. ``<!-- table: family CONFIG CONFIG -->`` is a family of systems, in this order; every system
is in one of them. The first line of a configuration's docstring gives a system's name, description
and paper:

    NAME: one-sentence description (Author year, arXiv number).

The part in brackets is left out where there is no single paper. A row of docs/results.csv is one
`Result`. A configuration's first row is its headline in the README.
"""

import argparse
import ast
import csv
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.csv"
FAMILIES = sorted(f"docs/systems/{f.name}" for f in (ROOT / "docs" / "systems").glob("*.md"))
PAGES = ("README.md", "docs/results.md", "docs/few_images.md", *FAMILIES)
NOT_SYSTEMS = ("__init__", "base")
_SUMMARY = re.compile(
    r"(?P<name>[^:]+): (?P<description>.+?)"
    r"(?: \((?P<authors>[^()]+?) (?P<year>\d{4})(?:, (?P<arxiv>\d{4}\.\d{4,5}))?\))?\.$"
)
_SECTION = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
#: Measures of `scripts.equal_minutes` and their headings.
MEASURES = {
    "fid": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "class accuracy",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
}
_LABELS = {
    "classifier_fid": "classifier-FID {}",
    "psnr": "PSNR {} dB",
    "psnr_y": "PSNR {} dB",
    "kid768": "KID-768 {}",
    "auroc": "AUROC {}",
    "pitch_accuracy": "pitch accuracy {}",
    "si_sdr": "SI-SDR {} dB",
    "log_mel_distance": "log-mel distance {} dB",
    "valid": "valid sentences {}",
    "scale_violations": "scale violations {}",
    "motion_error": "motion error {} pixels",
    "attributes": "attributes as asked {}",
}


class System(NamedTuple):
    """A configuration file and what the first line of its docstring says."""

    config: str
    name: str
    description: str
    authors: str | None
    year: str | None
    arxiv: str | None


class Result(NamedTuple):
    """A row of docs/results.csv; an empty cell is unknown.

    Attributes:
      config: the configuration that was trained.
      overrides: further fields, ``FIELD=VALUE`` separated by spaces.
      commit: of the code that was measured.
      data: name of the data set.
      protocol: how it was measured.
      seeds: of the training, separated by spaces.
      spread: what the deviations are taken over.
      machine: the hardware.
      steps: train steps.
      minutes: duration.
      values: by metric, ``MEAN`` or ``MEAN±DEVIATION``; in the file ``METRIC=VALUE`` separated by
        spaces.
      remarks: what the samples look like, and so on.
    """

    config: str
    overrides: str
    commit: str
    data: str
    protocol: str
    seeds: str
    spread: str
    machine: str
    steps: str
    minutes: str
    values: dict[str, str]
    remarks: str

    def spaced(self, metric: str) -> str:
        """Return a value with spaces around ±."""
        return self.values[metric].replace("±", " ± ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    options = parser.parse_args(arguments)
    outdated = [page for page in PAGES if render(page) != (ROOT / page).read_text("utf-8")]
    for page in outdated:
        if options.check:
            print(f"{page} is out of date; run python -m scripts.tables", file=sys.stderr)
        else:
            (ROOT / page).write_text(render(page), "utf-8")
    return int(options.check and bool(outdated))


def render(page: str) -> str:
    """Return a page's text with its marked sections made anew.

    Args:
      page: path relative to the root of the project.

    Raises:
      ValueError: a section has an unknown name, or a docstring another first line.
    """
    results = read_results(RESULTS)

    def table(section: re.Match[str]) -> str:
        name, *configs = section[2].split()
        if name not in TABLES:
            raise ValueError(f"{page}: table {name!r}; accepted: {', '.join(TABLES)}")
        return f"{section[1]}{TABLES[name](results, *configs)}\n{section[3]}"

    return _SECTION.sub(table, (ROOT / page).read_text("utf-8"))


def read_results(path: Path) -> list[Result]:
    """Return the rows of a results file in their order."""
    results = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values = dict(value.split("=", 1) for value in row.pop("values").split())
            row["steps"] = f"{int(row['steps']):,}" if row["steps"] else ""
            results.append(Result(**row, values=values))
    return results


def read_systems() -> list[System]:
    """Return the systems of configs/, by date of publication; those without a paper are last."""
    files = sorted((ROOT / "configs").glob("*.py"))
    systems = [read_system(file) for file in files if file.stem not in NOT_SYSTEMS]
    # An arXiv number begins with year and month.
    dates = {s: s.arxiv or f"{(s.year or '9999')[2:]}99" for s in systems}
    return sorted(systems, key=lambda system: (dates[system], system.name.lower()))


def read_system(file: Path) -> System:
    """Return what the first line of a configuration's docstring says; nothing is executed.

    Raises:
      ValueError: the line does not have the form that this module's docstring gives.
    """
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    summary = docstring.partition("\n")[0]
    found = _SUMMARY.match(summary)
    if found is None:
        raise ValueError(
            f"{file.name}: the docstring begins with {summary!r}; "
            "accepted: 'NAME: description (Author year, arXiv number).'"
        )
    return System(config=file.stem, **found.groupdict())


def systems_table(results: Sequence[Result]) -> str:
    """Return every system with the result that docs/results.csv gives first for it."""
    lines = [["config", "system", "result", "minutes"]]
    for system in read_systems():
        found = _first(results, system)
        lines.append(
            [
                *_named(system, "configs"),
                "".join(map(_headline, found)),
                "".join(result.minutes for result in found),
            ]
        )
    return _markdown(lines)


def family_table(results: Sequence[Result], *configs: str) -> str:
    """Return some systems with their first results, for a page in docs/systems/.

    Raises:
      ValueError: one is no configuration.
    """
    systems = {system.config: system for system in read_systems()}
    lines = [["config", "system", "result", "minutes", "samples"]]
    for config in configs:
        if config not in systems:
            raise ValueError(f"family {config!r}; accepted: {', '.join(systems)}")
        found = _first(results, systems[config])
        lines.append(
            [
                *_named(systems[config], "../../configs"),
                "".join(map(_headline, found)),
                "".join(result.minutes for result in found),
                "".join(result.remarks for result in found),
            ]
        )
    return _markdown(lines)


def _first(results: Sequence[Result], system: System) -> list[Result]:
    """Return the first result of a system, its headline, or none."""
    return [r for r in results if r.config == system.config and _LABELS.keys() & r.values][:1]


def _named(system: System, folder: str) -> list[str]:
    """Return a link to a configuration in a folder, and what it is."""
    link = f"[`{system.config}`]({folder}/{system.config}.py)"
    return [link, f"{system.name}: {system.description}{_citation(system)}"]


def digits_table(results: Sequence[Result]) -> str:
    """Return the results of the default runs of generators on the digits."""
    lines = [["config", "steps", "minutes", "classifier-FID", "precision", "recall", "samples"]]
    for result in results:
        if "classifier_fid" in result.values and _is_default(result, "digits"):
            name, remarks = f"`{result.config}`", [result.remarks]
            if not result.config:
                name, remarks = f"*{result.remarks}*", []
            if "classifier_accuracy" in result.values:
                accuracy = result.spaced("classifier_accuracy")
                remarks.append(f"accuracy of the requested class {accuracy}")
            if "reconstruction_psnr" in result.values:
                remarks.append(f"reconstructions at {result.spaced('reconstruction_psnr')} dB")
            metrics = (f"classifier_{metric}" for metric in ("fid", "precision", "recall"))
            numbers = map(result.spaced, metrics)
            lines.append([name, result.steps, result.minutes, *numbers, "; ".join(remarks)])
    return _markdown(lines)


def _is_default(result: Result, data: str) -> bool:
    """Return whether a row is one of a default run on a data set."""
    return result.data == data and not result.overrides


def beside_real_table(results: Sequence[Result], *, metrics: Sequence[str]) -> str:
    """Return the default runs with the first of some metrics; a row without a config is of data."""
    lines = [["config", "steps", "minutes", *(f"`{metric}`" for metric in metrics), "samples"]]
    for r in results:
        if metrics[0] in r.values and not r.overrides:
            name, remarks = (f"`{r.config}`", r.remarks) if r.config else (f"*{r.remarks}*", "")
            lines.append([name, r.steps, r.minutes, *map(r.spaced, metrics), remarks])
    return _markdown(lines)


def enhancement_table(results: Sequence[Result]) -> str:
    """Return the default runs from sound to sound, with the measures of inputs in brackets."""
    columns = {
        "si_sdr": "SI-SDR, dB",
        "log_mel_distance": "log-mel distance, dB",
        "same_pitch": "same pitch",
    }
    lines = [["config", "data", "steps", "minutes", *columns.values(), "sounds"]]
    for r in results:
        if "log_mel_distance" in r.values and not r.overrides:
            pairs = (
                f"{r.spaced(name)} ({r.values[f'input_{name}']})" if name in r.values else ""
                for name in columns
            )
            lines.append([f"`{r.config}`", r.data, r.steps, r.minutes, *pairs, r.remarks])
    return _markdown(lines)


def recipes_table(results: Sequence[Result], *, data: str) -> str:
    """Return the runs on some digits with overrides, such as those that led to the defaults."""
    lines = [["config", "overrides", "steps", "classifier-FID", "precision", "recall"]]
    for r in results:
        if "classifier_fid" in r.values and r.overrides and r.data == data:
            metrics = (f"classifier_{metric}" for metric in ("fid", "precision", "recall"))
            lines.append([f"`{r.config}`", f"`{r.overrides}`", r.steps, *map(r.spaced, metrics)])
    return _markdown(lines)


def photographs_table(results: Sequence[Result]) -> str:
    """Return the results of restoration, with the measures of the degraded input in brackets."""
    lines = [["config", "data", "steps", "minutes", "PSNR, dB", "SSIM", "images"]]
    for r in results:
        names = [name for name in ("psnr", "ssim", "psnr_y", "ssim_y") if name in r.values]
        if names and "psnr_last" not in r.values:
            pairs = (f"{r.values[name]} ({r.values[f'input_{name}']})" for name in names)
            lines.append([f"`{r.config}`", r.data, r.steps, r.minutes, *pairs, r.remarks])
    return _markdown(lines)


def prediction_table(results: Sequence[Result]) -> str:
    """Return the metrics of predicted frames, with those of copies of the last given frame."""
    columns = {
        "psnr": "PSNR, dB",
        "psnr_first": "first frame",
        "psnr_last": "last frame",
        "ssim": "SSIM",
    }
    lines = [["config", "overrides", "steps", "minutes", *columns.values(), "videos"]]
    for r in results:
        if "psnr_last" in r.values:
            pairs = (f"{r.spaced(name)} ({r.values[f'input_{name}']})" for name in columns)
            overrides = f"`{r.overrides}`" if r.overrides else ""
            lines.append([f"`{r.config}`", overrides, r.steps, r.minutes, *pairs, r.remarks])
    return _markdown(lines)


def anomalies_table(results: Sequence[Result]) -> str:
    """Return the areas under the ROC curve of anomaly detection."""
    lines = [["config", "data", "overrides", "steps", "AUROC", "remarks"]]
    for r in results:
        if auroc := r.values.get("auroc"):
            lines.append([f"`{r.config}`", r.data, f"`{r.overrides}`", r.steps, auroc, r.remarks])
    return _markdown(lines)


def toy_table(results: Sequence[Result]) -> str:
    """Return "modes covered / high-quality share" of every loss with every penalty."""
    cells = {}
    for result in results:
        if result.config == "scripts.toy_table":
            loss, penalty = (option.partition("=")[2] for option in result.overrides.split())
            cells[loss, penalty] = f"{result.values['modes']} / {result.values['high_quality']}"
    penalties = dict.fromkeys(penalty for _, penalty in cells)
    lines = [["loss", *penalties]]
    for loss in dict.fromkeys(loss for loss, _ in cells):
        lines.append([f"`{loss}`", *(cells.get((loss, name), "-") for name in penalties)])
    return _markdown(lines)


def speed_table(results: Sequence[Result]) -> str:
    """Return the milliseconds of train steps, beside PyTorch's of the same networks."""
    columns = ("config", "overrides", "gan_jax, ms", "PyTorch, ms", "channels last, ms")
    lines = [[*columns, "factor", "GFLOP/s"]]
    factors = []
    for r in results:
        if "ms" in r.values:
            times = [r.values[name] for name in ("ms", "pytorch_ms", "pytorch_channels_last_ms")]
            factors.append(float(times[2]) / float(times[0]))
            overrides = f"`{r.overrides}`" if r.overrides else ""
            rate = r.values["gflop_per_s"]
            lines.append([f"`{r.config}`", overrides, *times, f"{factors[-1]:.2f}", rate])
    lines.append(["geometric mean", *[""] * 4, f"{statistics.geometric_mean(factors):.2f}", ""])
    return _markdown(lines)


def start_table(results: Sequence[Result]) -> str:
    """Return the seconds from the command to the first train step, and of phases that overlap."""
    columns = {
        "empty_cache_s": "empty cache, s",
        "filled_cache_s": "filled cache, s",
        "before_tracing_s": "before tracing, s",
        "tracing_s": "tracing, s",
        "lowering_s": "lowering, s",
        "reading_s": "reading, s",
    }
    rows = [r for r in results if "filled_cache_s" in r.values]
    lines = [[f"`{r.config}`", *(r.values.get(name, "") for name in columns)] for r in rows]
    return _markdown([["config", *columns.values()], *lines])


def equal_minutes_table(results: Sequence[Result]) -> str:
    """Return trainings beside PyTorch's for the same minutes: ours / PyTorch's (reference)."""
    lines = [["config", "data", "minutes", "steps", *MEASURES.values()]]
    for r in results:
        if steps := r.values.get("pytorch_steps"):
            cells = [f"`{r.config}`", r.data, r.minutes, f"{r.steps} / {int(steps):,}"]
            for name in MEASURES:
                sides = [r.values.get(f"{s}_{name}") for s in ("gan_jax", "pytorch", "reference")]
                cells.append("{} / {} ({})".format(*sides) if sides[0] else "")
            lines.append(cells)
    return _markdown(lines)


# Data whose measures stand beside those of real data.
_BESIDE_REAL = {
    "sound": ("pitch_accuracy", "classifier_is", "classifier_fid"),
    "text": ("valid", "nll", "bigram_kl", "reverse_nll", "unique"),
    "music": ("scale_violations", "polyphony_tv", "interval_tv", "empty_bars"),
    "video": (
        *("motion_error", "shape_constancy", "shape_error"),
        *("classifier_fid", "classifier_precision", "classifier_recall"),
    ),
    "captions": (
        *("attributes", "attributes_form"),
        *("attributes_held_out", "attributes_held_out_form"),
    ),
}
TABLES: dict[str, Callable[..., str]] = {
    "systems": systems_table,
    "family": family_table,
    "digits": digits_table,
    "enhancement": enhancement_table,
    "recipes": partial(recipes_table, data="digits"),
    "few": partial(recipes_table, data="200 digits"),
    "photographs": photographs_table,
    "prediction": prediction_table,
    "anomalies": anomalies_table,
    "toy": toy_table,
    "speed": speed_table,
    "start": start_table,
    "equal_minutes": equal_minutes_table,
    **{name: partial(beside_real_table, metrics=them) for name, them in _BESIDE_REAL.items()},
}


def _citation(system: System) -> str:
    if system.year is None:
        return ""
    name = f"{system.authors} {system.year}"
    return f" ([{name}](https://arxiv.org/abs/{system.arxiv}))" if system.arxiv else f" ({name})"


def _headline(result: Result) -> str:
    """Return a result's first metric in words, with that of the input where there is one."""
    metric = next(iter(result.values))
    text = _LABELS[metric].format(result.spaced(metric))
    if before := result.values.get(f"input_{metric}"):
        text += f" (input: {before})"
    return text if result.data == "digits" else f"{text}, {result.data}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
