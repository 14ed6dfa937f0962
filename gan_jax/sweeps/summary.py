"""The results of a sweep: one table per protocol, with groups of seeds ranked by a metric.

A group's number is the mean over its seeds of the last evaluation, with the sample standard
deviation. Of runs that translate in several directions, the mean of the metric over all of them
ranks. Only groups all of whose runs are done are ranked, since a mean without the diverged
seeds would be too optimistic. Numbers of different protocols are never in one table.
"""

import collections
import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan_jax import errors
from gan_jax.report import evaluations, lock
from gan_jax.sweeps import execution, record
from gan_jax.sweeps.definition import Run

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


class Series(NamedTuple):
    """What ranks a run over time: the metric in words, and step and value by step."""

    words: str
    points: Sequence[tuple[int, float]]


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; ``None`` for one seed."""

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
      metric: what ranks them, in words: a metric, or its mean over directions of translation.
      lines: the groups, the best first, unranked ones last.
    """

    protocol: Mapping[str, Any]
    metric: str
    lines: Sequence[Line]

    @property
    def identity(self) -> str:
        """A short identifier that is unique for each protocol."""
        return hashlib.sha256(canonical(self.protocol).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results of a sweep.

    Attributes:
      tables: one per protocol; empty if nothing was measured.
      groups: the states of the runs of each group.
      metric: the requested metric for the ranking; ``None``: the first that was measured.
      vanished: names of runs that have begun and are no longer defined.
    """

    tables: list[Table]
    groups: Mapping[str, Sequence[State]]
    metric: str | None = None
    vanished: Sequence[str] = ()

    @property
    def states(self) -> list[State]:
        """The state of each run."""
        return [state for states in self.groups.values() for state in states]


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


def series(run: Path, metric: str) -> Series:
    """Return a run's evaluations by a metric and the protocol of the first one."""
    rows = [row for row in evaluations.read(run / evaluations.EVALUATIONS) if metric in row]
    rows = [row for row in rows if row["protocol"] == rows[0]["protocol"]]
    names = evaluations.by_metric(metrics_of(rows)).get(metric, [metric])
    return Series(evaluations.mean_words(names), _points(rows, names))


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
    groups: dict[str, list[State]] = {}
    protocols: dict[str, Mapping[str, Any]] = {}
    for state in states:
        if state.defined:
            groups.setdefault(state.run.group, []).append(state)
            protocols |= {canonical(row["protocol"]): row["protocol"] for row in state.rows}
    summary = Summary([], groups, metric, vanished)
    for identity, protocol in protocols.items():
        found = metrics_of([row for s in summary.states for row in _of(s.rows, identity)])
        usable = [name for name in found if lower_is_better(name) is not None]
        chosen = metric if metric is not None else next(iter(usable), None)
        if chosen in usable:
            directions = evaluations.by_metric(found)[chosen]
            words = evaluations.mean_words(directions)
            columns = {words: directions, **{name: [name] for name in found}}
            lines = [_line(group, identity, columns, lower_is_better) for group in groups.values()]
            measured = [line for line in lines if words in line.last]
            ranked = _ranked(measured, words, lower=bool(lower_is_better(chosen)))
            summary.tables.append(Table(protocol, words, ranked))
    return summary


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
    columns: Mapping[str, Sequence[str]],
    lower_is_better: Callable[[str], bool | None],
) -> Line:
    """Return a group's results by one protocol, without numbers if it has none.

    Args:
      states: of its runs.
      identity: of the protocol.
      columns: names of the values whose mean is shown, by heading; the first one ranks.
      lower_is_better: as for `summarise`.
    """
    last: dict[str, Spread] = {}
    best: dict[str, Spread] = {}
    steps: list[int] = []
    for number, (heading, names) in enumerate(columns.items()):
        series = [points for s in states if (points := _points(_of(s.rows, identity), names))]
        if number == 0:
            steps = [points[-1][0] for points in series]
        if series:
            last[heading] = _spread([points[-1][1] for points in series])
            lower = lower_is_better(names[0])
            if lower is not None:
                better = min if lower else max
                best[heading] = _spread([better(value for _, value in points) for points in series])
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
        states=collections.Counter(s.state for s in states),
    )


def _spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def _ranked(lines: Sequence[Line], metric: str, *, lower: bool) -> list[Line]:
    """Return the lines sorted and ranked; equal numbers have equal ranks."""
    sign = 1 if lower else -1
    ordered = sorted(lines, key=lambda li: (li.rank is None, sign * li.last[metric].mean, li.group))
    ranks: dict[float, int] = {}
    return [
        line
        if line.rank is None
        else dataclasses.replace(line, rank=ranks.setdefault(line.last[metric].mean, position))
        for position, line in enumerate(ordered, 1)
    ]


def _of(rows: Sequence[evaluations.Row], identity: str) -> list[evaluations.Row]:
    return [row for row in rows if canonical(row["protocol"]) == identity]


def _points(rows: Sequence[evaluations.Row], names: Sequence[str]) -> list[tuple[int, float]]:
    """Return step and mean by step; of several evaluations of a step, the last."""
    means = ((row["step"], evaluations.mean(row, names)) for row in rows)
    return sorted({step: value for step, value in means if value is not None}.items())


def canonical(protocol: Mapping[str, Any]) -> str:
    """Return a protocol as JSON, equal for equal protocols."""
    return json.dumps(protocol, sort_keys=True)
