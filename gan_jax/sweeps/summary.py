"""The results of a sweep: one table per protocol, with groups of seeds ranked by a metric.

A group's number is the mean over its seeds of the last evaluation, with the sample standard
deviation. Only groups all of whose runs are done are ranked, since a mean without the diverged
seeds would be too optimistic. Numbers of different protocols are never in one table.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from gan_jax import errors
from gan_jax.report import atomic, evaluations, lock
from gan_jax.sweeps import execution, record
from gan_jax.sweeps.definition import Run

_LAST_COLUMNS = ("first_step", "last_step", "seconds", "states", "protocol_in_full")
_ABOUT = ("step", "kimg", "protocol")


@dataclasses.dataclass(frozen=True)
class State:
    """The state of a run.

    Attributes:
      run: the run.
      state: ``"done"``, ``"diverged"``, ``"failed"``, ``"preempted"``, ``"running"``, ``"stopped"``
        (early, by the search) or ``"waiting"`` (it has no directory yet).
      reason: why, in one line.
      step: the last step in its status; ``None``: none.
      seconds: duration of all attempts whose end was observed.
      attempts: how often it was started.
      rows: its evaluations.
      defined: whether the configuration file still defines it.
    """

    run: Run
    state: str
    reason: str = ""
    step: int | None = None
    seconds: float = 0.0
    attempts: int = 0
    rows: Sequence[evaluations.Row] = ()
    defined: bool = True


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and deviation over seeds.

    Attributes:
      mean: mean.
      deviation: sample standard deviation; ``None`` for one seed.
    """

    mean: float
    deviation: float | None


@dataclasses.dataclass(frozen=True)
class Line:
    """A group of runs that differ only in the seed, measured by one protocol.

    Attributes:
      rank: rank from 1; ``None`` unless all of its runs are done and measured.
      group: its name.
      overrides: the overrides that its runs share.
      seeds: number of its runs measured by this protocol.
      last: by metric, the last values of these runs.
      best: by metric, their best values; only for metrics that are minimized or maximized.
      steps: smallest and largest last step that was measured.
      seconds: total duration of its runs.
      states: number of its runs by state.
    """

    rank: int | None
    group: str
    overrides: Mapping[str, Any]
    seeds: int
    last: Mapping[str, Spread]
    best: Mapping[str, Spread]
    steps: tuple[int, int]
    seconds: float
    states: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Table:
    """All results of one protocol.

    Attributes:
      protocol: how they were measured.
      metric: the metric by which they are ranked.
      lines: the groups, the best first, unranked ones last.
    """

    protocol: Mapping[str, Any]
    metric: str
    lines: Sequence[Line]

    @property
    def identity(self) -> str:
        """A short identifier that is unique for each protocol."""
        return hashlib.sha256(_canonical(self.protocol).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results of a sweep.

    Attributes:
      tables: one per protocol; empty if nothing was measured.
      states: the state of each run.
      metric: the requested metric for the ranking; ``None``: the first that was measured.
      vanished: names of runs that have begun and are no longer defined.
    """

    tables: Sequence[Table]
    states: Sequence[State]
    metric: str | None = None
    vanished: Sequence[str] = ()


def metrics_of(rows: Sequence[evaluations.Row]) -> list[str]:
    """Return the names of the metrics in evaluations."""
    names = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if name not in _ABOUT and isinstance(value, int | float) and not isinstance(value, bool)
    )
    # A mean of several evaluations is recorded with their deviation.
    return [n for n in names if not (n.endswith("_std") and n.removesuffix("_std") in names)]


def series(run: Path, metric: str) -> list[tuple[int, float]]:
    """Return step and value of a run's evaluations by the protocol of its first one."""
    rows = [row for row in evaluations.read(run / evaluations.EVALUATIONS) if metric in row]
    return _points([row for row in rows if row["protocol"] == rows[0]["protocol"]], metric)


def look(sweep: record.Sweep, folder: record.Folder) -> list[State]:
    """Return the state of each run of a sweep, including runs that are no longer defined."""
    return [_state(entry, folder) for entry in sweep.entries]


def summarise(
    states: Sequence[State],
    metric: str | None,
    lower_is_better: Callable[[str], bool | None],
) -> Summary:
    """Return the tables of a sweep.

    Runs that are no longer defined are left out: their seeds may differ, or their name may have
    another meaning now.

    Args:
      states: the states of its runs.
      metric: the metric for the ranking; ``None``: the first measured one that can be ranked.
      lower_is_better: returns whether smaller values of a metric are better; ``None`` for a metric
        that is neither minimized nor maximized.
    """
    vanished = [s.run.name for s in states if not s.defined and s.state != "waiting"]
    states = [state for state in states if state.defined]
    protocols: dict[str, Mapping[str, Any]] = {}
    for state in states:
        for row in state.rows:
            protocols.setdefault(_canonical(row["protocol"]), row["protocol"])
    tables = []
    for identity, protocol in protocols.items():
        found = metrics_of([r for s in states for r in _of(s.rows, identity)])
        usable = [name for name in found if lower_is_better(name) is not None]
        chosen = metric if metric is not None else next(iter(usable), None)
        if chosen not in usable:
            continue
        names = [chosen, *(name for name in found if name != chosen)]
        groups: dict[str, list[State]] = {}
        for state in states:
            groups.setdefault(state.run.group, []).append(state)
        told = [_line(group, identity, names, lower_is_better) for group in groups.values()]
        lines = [line for line in told if line is not None and chosen in line.last]
        tables.append(
            Table(protocol, chosen, _ranked(lines, chosen, bool(lower_is_better(chosen))))
        )
    return Summary(tables, states, metric, vanished)


def write(summary: Summary, folder: Path) -> None:
    """Write ``summary.csv`` and ``summary.md``.

    Raises:
      WorkdirError: the files cannot be written.
    """
    atomic.write_text(folder / "summary.csv", as_csv(summary))
    atomic.write_text(folder / "summary.md", as_markdown(summary))


def show(summary: Summary) -> None:
    """Print the tables to standard output."""
    console = Console(emoji=False, markup=False, highlight=False)
    for table in summary.tables:
        out = RichTable(box=None, padding=(0, 2, 0, 0))
        heading, *rows = _cells(table)
        for number, name in enumerate(heading):
            out.add_column(Text(name), justify="left" if number == 1 else "right", no_wrap=True)
        for row in rows:
            out.add_row(*map(Text, row))
        # Numbers are never truncated, however narrow the terminal.
        wide = Console(width=10_000, emoji=False, markup=False, highlight=False)
        wide.width = Measurement.get(wide, wide.options, out).maximum
        wide.print(out)
        console.print(_note(table, summary.tables), soft_wrap=True)
        console.print()
    for line in _remarks(summary):
        console.print(line, soft_wrap=True)


def as_markdown(summary: Summary) -> str:
    """Return the tables in Markdown."""
    parts = []
    for table in summary.tables:
        heading, *rows = _cells(table)
        marks = ["---" if number == 1 else "---:" for number in range(len(heading))]
        lines = [heading, marks, *rows]
        parts.append("\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines))
        parts.append(_note(table, summary.tables))
    if remarks := _remarks(summary):
        parts.append("\n".join(f"- {line}" for line in remarks))
    return "\n\n".join(parts) + "\n"


def as_csv(summary: Summary) -> str:
    """Return the tables as one CSV: one row per group and protocol, numbers in full precision.

    Groups that were not measured have a row without numbers.
    """
    lines = [(table, line) for table in summary.tables for line in table.lines]
    metrics = dict.fromkeys(name for _, line in lines for name in line.last)
    measured = {line.group for _, line in lines}
    groups: dict[str, list[State]] = {}
    for state in summary.states:
        groups.setdefault(state.run.group, []).append(state)
    fields = dict.fromkeys(f for s in summary.states for f in s.run.group_overrides)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    numbers = [
        f"{m}_{which}" for m in metrics for which in ("last", "last_std", "best", "best_std")
    ]
    writer.writerow(
        ["protocol", "ranked_by", "rank", "group", *fields, "seeds", *numbers, *_LAST_COLUMNS]
    )

    def of_overrides(overrides: Mapping[str, Any]) -> list[Any]:
        return [_plain(overrides.get(field)) for field in fields]

    for table, line in lines:
        row: list[Any] = [table.identity, table.metric, line.rank, line.group]
        row += [*of_overrides(line.overrides), line.seeds]
        for metric in metrics:
            for spread in (line.last.get(metric), line.best.get(metric)):
                row += [None, None] if spread is None else [spread.mean, spread.deviation]
        row += [*line.steps, round(line.seconds, 1), _counts(line.states)]
        writer.writerow([*row, _canonical(table.protocol)])
    for group, states in groups.items():
        if group not in measured:
            row = ["", "", None, group, *of_overrides(states[0].run.group_overrides), 0]
            row += [None] * len(numbers) + [None, None]
            row += [round(sum(s.seconds for s in states), 1), _counts(_count(states)), ""]
            writer.writerow(row)
    return out.getvalue()


def _state(entry: record.Entry, folder: record.Folder) -> State:
    """Return the state of a run."""
    run = entry.run
    path = folder.run(run.name)
    now = execution.read_status(path)
    attempts = execution.read_attempts(folder, run.name)
    state, reason = now.get("state", "waiting"), now.get("reason", "")
    if state not in execution.SETTLED:
        if lock.holder(path) is not None:
            state, reason = "running", ""
        elif attempts and attempts[-1].get("state", "done") not in execution.SETTLED:
            # A run that was killed could not write its status; one that was refused has none.
            state, reason = attempts[-1]["state"], attempts[-1]["reason"]
            state = "failed" if state == "refused" else state
        elif state == "running":
            state, reason = "failed", "it was killed"
    if entry.stopped and state not in execution.SETTLED:
        state, reason = "stopped", "early, by the search"
    try:
        rows = evaluations.read(path / evaluations.EVALUATIONS)
    except errors.WorkdirError:
        rows = []
    seconds = sum(attempt.get("seconds", 0.0) for attempt in attempts)
    return State(
        run, state, reason, now.get("step"), seconds, len(attempts), rows, defined=entry.defined
    )


def _line(
    states: Sequence[State],
    identity: str,
    names: Sequence[str],
    lower_is_better: Callable[[str], bool | None],
) -> Line | None:
    """Return a group's results by one protocol, or ``None`` if it has none."""
    measured = [(s, rows) for s in states if (rows := _of(s.rows, identity))]
    last: dict[str, Spread] = {}
    best: dict[str, Spread] = {}
    for name in names:
        found = [points for _, rows in measured if (points := _points(rows, name))]
        if found:
            last[name] = spread([points[-1][1] for points in found])
            lower = lower_is_better(name)
            if lower is not None:
                better = min if lower else max
                best[name] = spread([better(value for _, value in points) for points in found])
    if not last:
        return None
    steps = [points[-1][0] for _, rows in measured if (points := _points(rows, names[0]))]
    complete = len(steps) == len(states) and all(s.state == "done" for s in states)
    return Line(
        rank=0 if complete else None,
        group=states[0].run.group,
        overrides=states[0].run.group_overrides,
        seeds=len(steps),
        last=last,
        best=best,
        steps=(min(steps, default=0), max(steps, default=0)),
        seconds=sum(s.seconds for s in states),
        states=_count(states),
    )


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def _ranked(lines: Sequence[Line], metric: str, lower: bool) -> list[Line]:
    """Return the lines sorted and ranked; equal numbers have equal ranks."""
    sign = 1 if lower else -1
    ordered = sorted(lines, key=lambda li: (li.rank is None, sign * li.last[metric].mean, li.group))
    ranked: list[Line] = []
    for position, line in enumerate(ordered, 1):
        if line.rank is not None:
            previous = ranked[-1] if ranked else None
            tied = previous is not None and previous.last[metric].mean == line.last[metric].mean
            rank = previous.rank if previous is not None and tied else position
            line = dataclasses.replace(line, rank=rank)
        ranked.append(line)
    return ranked


def _of(rows: Sequence[evaluations.Row], identity: str) -> list[evaluations.Row]:
    return [row for row in rows if _canonical(row["protocol"]) == identity]


def _points(rows: Sequence[evaluations.Row], metric: str) -> list[tuple[int, float]]:
    """Return step and value by step; of several values of a step, the last."""
    return sorted({row["step"]: float(row[metric]) for row in rows if metric in row}.items())


def _count(states: Sequence[State]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in states:
        counts[state.state] = counts.get(state.state, 0) + 1
    return counts


def _counts(states: Mapping[str, int]) -> str:
    """Return ``done`` for one state, ``2 done, 1 failed`` for several."""
    if len(states) == 1:
        return next(iter(states))
    return ", ".join(f"{number} {state}" for state, number in states.items())


def _cells(table: Table) -> list[list[str]]:
    """Return header and rows of a table as text."""
    others = dict.fromkeys(n for line in table.lines for n in line.last if n != table.metric)
    heading = ["rank", "run", table.metric, "its best", *others, "seeds", "step", "time", "state"]
    rows = [heading]
    for line in table.lines:
        first, final = line.steps
        rows.append(
            [
                "-" if line.rank is None else str(line.rank),
                line.group,
                _number(line.last.get(table.metric)),
                _number(line.best.get(table.metric)),
                *(_number(line.last.get(name)) for name in others),
                str(line.seeds),
                f"{final}" if first == final else f"{first} to {final}",
                _duration(line.seconds),
                _counts(line.states),
            ]
        )
    return rows


def _note(table: Table, tables: Sequence[Table]) -> str:
    """Return a table's protocol in words, and its differences from the first table's."""
    fields = _flat(table.protocol)
    words = "; ".join(f"{name} {_short(value)}" for name, value in fields.items())
    note = (
        f"Last value, mean ± standard deviation over seeds, ranked by {table.metric}. "
        f"Protocol {table.identity}: {words}."
    )
    if table is not tables[0]:
        first = _flat(tables[0].protocol)
        different = [n for n in {**first, **fields} if first.get(n) != fields.get(n)]
        note += (
            f" Not comparable with protocol {tables[0].identity}: {', '.join(different)} differ."
        )
    return note


def _remarks(summary: Summary) -> list[str]:
    """Return the remarks below the tables."""
    remarks = []
    measured_by = metrics_of([row for state in summary.states for row in state.rows])
    if not summary.tables and measured_by:
        by = f" by {summary.metric}" if summary.metric else " by a metric that can be ranked"
        remarks.append(f"No run has been measured{by}; measured: {', '.join(measured_by)}.")
    elif not summary.tables:
        remarks.append("No run has been measured, so nothing is ranked; set config.eval.every.")
    if waiting := sum(state.state == "waiting" for state in summary.states):
        remarks.append(f"{waiting} of {len(summary.states)} runs have not been started.")
    measured = {line.group for table in summary.tables for line in table.lines}
    for state in summary.states:
        ended = state.state in ("done", "stopped") and state.run.group in measured
        if ended or state.state == "waiting":
            continue
        at = f" at step {state.step}" if state.step is not None else ""
        reason = f": {state.reason}" if state.reason else ""
        remarks.append(f"{state.run.name}: {state.state}{at}{reason}")
    if summary.vanished:
        remarks.append(f"no longer defined, so left out: {', '.join(summary.vanished)}.")
    return remarks


def _flat(protocol: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in protocol.items():
        if isinstance(value, dict):
            fields |= _flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _short(value: Any) -> str:
    """Return a value as text, with hashes shortened to their first digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{12,}\b", r"\1...", text)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _number(value: Spread | None) -> str:
    return "" if value is None else evaluations.format_value(value.mean, value.deviation)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{rest:02d} min"


def _canonical(protocol: Mapping[str, Any]) -> str:
    return json.dumps(protocol, sort_keys=True)
