"""Several runs beside each other: what differs, what they reach, their curves over each other."""

import dataclasses
import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_jax import errors
from gan_jax.metrics import extractors, names
from gan_jax.pages import contents, panels, tables
from gan_jax.pages.contents import Contents, Row, is_number
from gan_jax.pages.panels import Panel
from gan_jax.pages.tables import Measured
from gan_jax.pages.template import format_value
from gan_jax.report import evaluations

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

# A value of an evaluation, and the evaluation.
_Value = tuple[float, Row]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a table whose columns are runs: its name, and a text for each run, maybe empty."""

    name: str
    cells: tuple[str, ...]

    @property
    def everywhere(self) -> bool:
        """Whether there is a text for every run."""
        return all(self.cells)


@dataclasses.dataclass(frozen=True)
class Results:
    """What runs reach by one protocol.

    Attributes:
      protocol: it, in one line.
      lines: the last and the best value of each metric; of several directions of translation the
        last ones, and of their mean both.
      panels: a panel per metric that a run has two values of.
    """

    protocol: str
    lines: list[Line]
    panels: list[Panel]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs beside each other.

    Attributes:
      names: of the runs, different ones.
      found: the contents of their directories.
      about: what they are and how far they are.
      differing: the fields of the configurations that are not equal in all.
      results: by protocol.
    """

    names: list[str]
    found: list[Contents]
    about: list[Line]
    differing: list[Line]
    results: list[Results]

    @property
    def common(self) -> bool:
        """Whether two runs were evaluated by one protocol."""
        return any(sum(map(bool, line.cells)) > 1 for one in self.results for line in one.lines)

    @property
    def notes(self) -> list[str]:
        """What is missing in the runs, each with the name of its run."""
        every = zip(self.names, self.found, strict=True)
        return [f"{name}: {note}" for name, found in every for note in found.notes]

    def panels(self) -> list[Panel]:
        """Return a panel per metric, with a curve per run."""
        rows = [found.metrics for found in self.found]
        return over_each_other(rows, self.names)


def compare(runs: Sequence["Run"]) -> Comparison:
    """Return the comparison of two runs or more.

    Raises:
      ConfigError: there are fewer, or one is given twice, or uses an entry of a registry that is
        not registered in this process.
    """
    paths = [run.path for run in runs]
    errors.require(len(paths) >= 2, "runs", [str(path) for path in paths], "two or more")
    resolved = [path.resolve() for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise errors.ConfigError(f"the run {path} is given twice; accepted: different runs")
    found = [contents.read(run) for run in runs]
    titles = short_names(paths)
    return Comparison(titles, found, _about(found), differing(found), _results(found, titles))


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of different paths that are all different."""
    for count in range(1, 1 + max(len(path.parts) for path in paths)):
        found = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(found)) == len(paths):
            return found
    return [str(path) for path in paths]


def differing(found: Sequence[Contents]) -> list[Line]:
    """Return the fields that are not equal in all runs; those that apply to all come first.

    Raises:
      ConfigError: as `tables.settings`.
    """
    values = [{s.path: s.value for s in tables.settings(one.config, one.path)} for one in found]
    fields = list(dict.fromkeys(name for own in values for name in own))
    lines = []
    for name in fields:
        given = [own[name] for own in values if name in own]
        if len(given) < len(values) or any(value != given[0] for value in given):
            cells = tuple(format_value(own[name]) if name in own else "" for own in values)
            lines.append(Line(name, cells))
    return sorted(lines, key=lambda line: not line.everywhere)


def _about(found: Sequence[Contents]) -> list[Line]:
    """Return what runs are and how far they are."""

    def line(name: str, cells: Iterator[Any]) -> Line:
        return Line(name, tuple("" if cell is None else str(cell) for cell in cells))

    steps = [one.last_step for one in found]
    kimg = [one.kimg_of.get(step or 0) for one, step in zip(found, steps, strict=True)]
    starts: list[Mapping[str, Any]] = [one.starts[0] if one.starts else {} for one in found]
    return [
        line("directory", (one.path for one in found)),
        line("state", (one.status.get("state") for one in found)),
        line("step", (None if step is None else f"{step:,}" for step in steps)),
        line("kimg", (None if seen is None else f"{seen:,.1f}" for seen in kimg)),
        line("data", (one.data["fingerprint"] for one in found)),
        line("commit", (_short(start.get("commit")) for start in starts)),
        line("devices", (tables.devices(one) for one in found)),
    ]


def _short(commit: Any) -> str | None:
    """Return the first digits of a commit, and the mark of local changes."""
    return f"{commit[:12]}{'+' * commit.endswith('+')}" if isinstance(commit, str) else None


def _results(found: Sequence[Contents], titles: Sequence[str]) -> list[Results]:
    """Return what runs reach, by protocol: those of several runs first.

    A generator without batch normalization is measured as one with it: its protocol says "none",
    and is otherwise the same.
    """
    every = [
        (number, measured)
        for number, one in enumerate(found)
        for measured in tables.by_protocol(one.evaluations)
    ]
    groups: dict[str, list[Measured | None]] = {}
    # Those that say none are last, and join a group that there is.
    for number, measured in sorted(every, key=lambda item: _has_none(item[1])):
        key = _key(measured, "batch_norm") if _has_none(measured) else ""
        joined = [k for k, group in groups.items() if _joins(key, number, group)]
        place = joined[0] if joined else _key(measured)
        groups.setdefault(place, [None] * len(found))[number] = measured
    shared_first = sorted(groups.values(), key=lambda group: sum(one is None for one in group))
    return [_results_of(group, titles) for group in shared_first]


def _has_none(measured: Measured) -> bool:
    return measured.protocol.get("batch_norm") == "none"


def _key(measured: Measured, *without: str) -> str:
    """Return a protocol without some of its entries, to be compared."""
    kept = {name: x for name, x in measured.protocol.items() if name not in without}
    return json.dumps(kept, sort_keys=True)


def _joins(key: str, number: int, group: Sequence[Measured | None]) -> bool:
    """Return whether a run whose protocol says none, else ``key``, joins a group."""
    others = {_key(one, "batch_norm") for one in group if one is not None}
    return group[number] is None and key in others


def _results_of(group: Sequence[Measured | None], titles: Sequence[str]) -> Results:
    names_of = (name for one in group if one is not None for name in one.metrics)
    metrics = list(dict.fromkeys(names_of))
    rows = [one.rows if one else [] for one in group]
    lines = []
    for metric, directions in evaluations.by_metric(metrics).items():
        last = operator.itemgetter(-1)
        lines += [_line([name], rows, "last", last) for name in directions]
        if (lower := _lower_is_better(metric)) is not None:
            best = functools.partial(min if lower else max, key=operator.itemgetter(0))
            if len(directions) > 1:
                lines.append(_line(directions, rows, "last", last))
            lines.append(_line(directions, rows, "best", best))
    protocols = [one.protocol for one in group if one is not None]
    norms = dict.fromkeys(str(protocol.get("batch_norm")) for protocol in protocols)
    merged = {**protocols[0], "batch_norm": " or ".join(norms)} if len(norms) > 1 else protocols[0]
    words = tables.protocol_words(merged)
    drawn = over_each_other(rows, titles, metrics)
    several = [panel for panel in drawn if any(len(set(c.x)) > 1 for c in panel.curves)]
    return Results(words, lines, several)


def _line(
    names: Sequence[str],
    rows: Sequence[Sequence[Row]],
    which: str,
    choose: Callable[[Sequence[_Value]], _Value],
) -> Line:
    """Return a line with one evaluation of each run.

    Args:
      names: of the values, whose mean is shown.
      rows: of each run.
      which: the evaluation is, for the name of the line.
      choose: returns it, of those with all values.
    """
    words = evaluations.mean_words(names)
    cells = []
    for own in rows:
        means = ((evaluations.mean(row, names), row) for row in own)
        found = [(value, row) for value, row in means if value is not None]
        if found:
            value, row = choose(found)
            text = evaluations.format_value(value, row.get(f"{words}_std"))
            cells.append(f"{text} at {row['step']:,}")
        else:
            cells.append("")
    return Line(f"{words}, {which}", tuple(cells))


def _lower_is_better(metric: str) -> bool | None:
    """Return whether smaller values of a metric are better; ``None``: it is unknown."""
    try:
        return names.parse(metric, extractors.EXTRACTORS).lower_is_better
    except errors.ConfigError:
        return None


def over_each_other(
    rows: Sequence[Sequence[Row]], titles: Sequence[str], metrics: Sequence[str] | None = None
) -> list[Panel]:
    """Return a panel per metric, with a curve per run that has it; a run keeps its colour.

    Args:
      rows: of each run.
      titles: of the runs.
      metrics: names; ``None``: all, in the order of interest.
    """
    axis = panels.axis_of([row for own in rows for row in own])
    if metrics is None:
        every = panels.metric_names([row for own in rows for row in own])
        metrics = sorted(every, key=lambda name: (panels.place(name.rpartition("/")[2]), name))
    made = []
    for metric in metrics:
        curves = [
            panels.curve(own, metric, axis, title, number)
            for number, (own, title) in enumerate(zip(rows, titles, strict=True))
            if any(is_number(row.get(metric)) for row in own)
        ]
        made.append(Panel(panels.words(metric), axis, tuple(curves)))
    return made


def show(comparison: Comparison) -> None:
    """Print the tables of a comparison to standard output."""
    # Names and values may look like Rich markup, for example ":train:".
    console = Console(emoji=False, markup=False, highlight=False)
    console.print(_table("", comparison.names, comparison.about))
    console.print("\nFields that differ" if comparison.differing else "\nNo fields differ.")
    if comparison.differing:
        console.print(_table("", comparison.names, comparison.differing))
    for one in comparison.results:
        console.print(f"\n{one.protocol}", soft_wrap=True)
        console.print(_table("", comparison.names, one.lines))
    if comparison.results and not comparison.common:
        console.print("\nNo two runs were evaluated by one protocol: their numbers do not compare.")
    for note in comparison.notes:
        console.print(f"\nnote: {note}", soft_wrap=True)


def _table(heading: str, columns: Sequence[str], lines: Sequence[Line]) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0))
    for name in (heading, *columns):
        made.add_column(Text(name), overflow="fold")
    for line in lines:
        made.add_row(Text(line.name), *(Text(cell or "-") for cell in line.cells))
    return made
