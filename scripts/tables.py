"""Write the tables of README.md and docs/results.md from the configurations and docs/results.csv.

    python -m scripts.tables            # rewrites the marked sections
    python -m scripts.tables --check    # exit code 1 if a section is out of date

A section lies between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; `TABLES` has the
names. The first line of a configuration's docstring gives a system's name, description and paper:

    NAME: one-sentence description (Author year, arXiv number).

The part in brackets is left out where there is no single paper. A row of docs/results.csv is one
result: what was run (``config``, ``overrides``, ``commit``), on what (``data``, ``machine``), how
it was measured (``protocol``, ``seeds``, and in ``spread`` what ± is taken over), how long it took
(``steps``, ``minutes``) and ``values``, ``METRIC=MEAN`` or ``METRIC=MEAN±DEVIATION`` separated by
spaces. A configuration's first row is its headline in the README. An empty cell is unknown.
"""

import argparse
import ast
import csv
import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.csv"
PAGES = ("README.md", "docs/results.md")
NOT_SYSTEMS = ("__init__", "base")
_SUMMARY = re.compile(
    r"(?P<name>[^:]+): (?P<description>.+?)"
    r"(?: \((?P<authors>[^()]+?) (?P<year>\d{4})(?:, (?P<arxiv>\d{4}\.\d{4,5}))?\))?\.$"
)
_SECTION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_LABELS = {
    "classifier_fid": "classifier-FID {}",
    "psnr": "PSNR {} dB",
    "psnr_y": "PSNR {} dB",
    "auroc": "AUROC {}",
}


@dataclasses.dataclass(frozen=True)
class System:
    """A configuration file and what the first line of its docstring says."""

    config: str
    name: str
    description: str
    authors: str | None
    year: str | None
    arxiv: str | None


@dataclasses.dataclass(frozen=True)
class Result:
    """A row of docs/results.csv; ``values`` by metric, as text."""

    config: str
    overrides: str
    data: str
    steps: str
    minutes: str
    values: dict[str, str]
    remarks: str


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
        if section[2] not in TABLES:
            raise ValueError(f"{page}: table {section[2]!r}; accepted: {', '.join(TABLES)}")
        return f"{section[1]}{TABLES[section[2]](results)}\n{section[3]}"

    return _SECTION.sub(table, (ROOT / page).read_text("utf-8"))


def read_results(path: Path) -> list[Result]:
    """Return the rows of a results file in their order."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Result(
                config=row["config"],
                overrides=row["overrides"],
                data=row["data"],
                steps=row["steps"],
                minutes=row["minutes"],
                values=dict(value.split("=", 1) for value in row["values"].split()),
                remarks=row["remarks"],
            )
            for row in csv.DictReader(file)
        ]


def read_systems() -> list[System]:
    """Return the systems of configs/, by date of publication; those without a paper are last."""
    files = sorted((ROOT / "configs").glob("*.py"))
    systems = [read_system(file) for file in files if file.stem not in NOT_SYSTEMS]
    return sorted(systems, key=_published)


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
        first = next((result for result in results if result.config == system.config), None)
        lines.append(
            [
                f"[`{system.config}`](configs/{system.config}.py)",
                f"{system.name}: {system.description}{_citation(system)}",
                _headline(first) if first else "",
                first.minutes if first else "",
            ]
        )
    return _markdown(lines)


def digits_table(results: Sequence[Result]) -> str:
    """Return the results of generators on the digits."""
    lines = [["config", "steps", "minutes", "classifier-FID", "precision", "recall", "samples"]]
    for result in results:
        if "classifier_fid" in result.values:
            remarks = [result.remarks] if result.config else []
            if accuracy := result.values.get("classifier_accuracy"):
                remarks.append(f"accuracy of the requested class {_spaced(accuracy)}")
            if psnr := result.values.get("reconstruction_psnr"):
                remarks.append(f"reconstructions at {_spaced(psnr)} dB")
            lines.append(
                [
                    f"`{result.config}`" if result.config else f"*{result.remarks}*",
                    f"{int(result.steps):,}" if result.steps else "",
                    result.minutes,
                    *(
                        _spaced(result.values[f"classifier_{name}"])
                        for name in ("fid", "precision", "recall")
                    ),
                    "; ".join(remarks),
                ]
            )
    return _markdown(lines)


def photographs_table(results: Sequence[Result]) -> str:
    """Return the results of restoration, with the measures of the degraded input in brackets."""
    lines = [["config", "data", "steps", "minutes", "PSNR, dB", "SSIM", "images"]]
    for result in results:
        names = [name for name in ("psnr", "ssim", "psnr_y", "ssim_y") if name in result.values]
        if names:
            pairs = (f"{result.values[name]} ({result.values[f'input_{name}']})" for name in names)
            lines.append(
                [
                    f"`{result.config}`",
                    result.data,
                    f"{int(result.steps):,}",
                    result.minutes,
                    *pairs,
                    result.remarks,
                ]
            )
    return _markdown(lines)


def anomalies_table(results: Sequence[Result]) -> str:
    """Return the areas under the ROC curve of anomaly detection."""
    lines = [["config", "data", "overrides", "steps", "AUROC", "remarks"]]
    lines += [
        [
            f"`{result.config}`",
            result.data,
            f"`{result.overrides}`",
            f"{int(result.steps):,}",
            result.values["auroc"],
            result.remarks,
        ]
        for result in results
        if "auroc" in result.values
    ]
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


TABLES: dict[str, Callable[[Sequence[Result]], str]] = {
    "systems": systems_table,
    "digits": digits_table,
    "photographs": photographs_table,
    "anomalies": anomalies_table,
    "toy": toy_table,
}


def _published(system: System) -> tuple[str, str]:
    """Return a sort key: an arXiv number begins with year and month."""
    date = system.arxiv or f"{(system.year or '9999')[2:]}99"
    return date, system.name.lower()


def _citation(system: System) -> str:
    if system.year is None:
        return ""
    name = f"{system.authors} {system.year}"
    return f" ([{name}](https://arxiv.org/abs/{system.arxiv}))" if system.arxiv else f" ({name})"


def _headline(result: Result) -> str:
    """Return a result's first metric in words, with that of the input where there is one."""
    metric, value = next(iter(result.values.items()))
    text = _LABELS[metric].format(_spaced(value))
    if before := result.values.get(f"input_{metric}"):
        text += f" (input: {before})"
    return text if result.data == "digits" else f"{text}, {result.data}"


def _spaced(value: str) -> str:
    return value.replace("±", " ± ")


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
