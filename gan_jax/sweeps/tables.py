"""The tables of a sweep's summary: in the terminal, as Markdown and as CSV."""

import collections
import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from gan_jax.report import atomic, evaluations
from gan_jax.sweeps.summary import Spread, Summary, Table, canonical, metrics_of


def write(summary: Summary, folder: Path) -> None:
    """Write ``summary.csv`` and ``summary.md``.

    Raises:
      WorkdirError: the files cannot be written.
    """
    atomic.write_text(folder / "summary.csv", as_csv(summary))
    atomic.write_text(folder / "summary.md", as_markdown(summary))


def show(summary: Summary) -> None:
    """Print the tables to standard output."""
    # So wide that no number is truncated, however narrow the terminal.
    console = Console(width=10_000, emoji=False, markup=False, highlight=False)
    for table in summary.tables:
        out = RichTable(box=None, padding=(0, 2, 0, 0))
        heading, *rows = _cells(table)
        for number, name in enumerate(heading):
            out.add_column(Text(name), justify="left" if number == 1 else "right", no_wrap=True)
        for row in rows:
            out.add_row(*map(Text, row))
        console.print(out, _note(table, summary), "", sep="\n", soft_wrap=True)
    for line in _remarks(summary):
        console.print(line, soft_wrap=True)


def as_markdown(summary: Summary) -> str:
    """Return the tables in Markdown."""
    parts = []
    for table in summary.tables:
        heading, *rows = _cells(table)
        marks = ["---" if number == 1 else "---:" for number in range(len(heading))]
        lines = [[cell.replace("|", "\\|") for cell in line] for line in [heading, marks, *rows]]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        parts.append(_note(table, summary))
    if remarks := _remarks(summary):
        parts.append("\n".join(f"- {line}" for line in remarks))
    return "\n\n".join(parts) + "\n"


def as_csv(summary: Summary) -> str:
    """Return the tables as one CSV: one row per group and protocol, numbers in full precision.

    Groups that were not measured have a row without numbers.
    """
    rows: list[dict[str, Any]] = []
    for table in summary.tables:
        for line in table.lines:
            row: dict[str, Any] = {
                "protocol": table.identity,
                "ranked_by": table.metric,
                "rank": line.rank,
                "group": line.group,
                "seeds": line.seeds,
                "first_step": line.steps[0],
                "last_step": line.steps[1],
                "seconds": round(line.seconds, 1),
                "states": _words(line.states),
                "protocol_in_full": canonical(table.protocol),
            }
            for which, spreads in (("last", line.last), ("best", line.best)):
                for metric, spread in spreads.items():
                    row[f"{metric}_{which}"], row[f"{metric}_{which}_std"] = spread
            rows.append(row)
    measured = {row["group"] for row in rows}
    for group, states in summary.groups.items():
        if group not in measured:
            seconds = round(sum(state.seconds for state in states), 1)
            counts = collections.Counter(state.state for state in states)
            rows.append({"group": group, "seeds": 0, "states": _words(counts), "seconds": seconds})
    for row in rows:
        overrides = summary.groups[row["group"]][0].run.group_overrides
        row |= {
            field: json.dumps(value) if isinstance(value, list | tuple) else value
            for field, value in overrides.items()
        }
    fields = dict.fromkeys(f for s in summary.states for f in s.run.group_overrides)
    metrics = dict.fromkeys(m for t in summary.tables for li in t.lines for m in li.last)
    columns = ["protocol", "ranked_by", "rank", "group", *fields, "seeds"]
    for metric in metrics:
        columns += [f"{metric}_{what}" for what in ("last", "last_std", "best", "best_std")]
    columns += ["first_step", "last_step", "seconds", "states", "protocol_in_full"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _words(states: Mapping[str, int]) -> str:
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
                _words(line.states),
            ]
        )
    return rows


def _note(table: Table, summary: Summary) -> str:
    """Return a table's protocol in words, and its differences from the first table's."""
    fields, first = (flatten_dict(t.protocol, sep=".") for t in (table, summary.tables[0]))
    words = "; ".join(f"{name} {_short(value)}" for name, value in fields.items())
    note = (
        f"Last value, mean ± standard deviation over seeds, ranked by {table.metric}. "
        f"Protocol {table.identity}: {words}."
    )
    different = [name for name in {**first, **fields} if first.get(name) != fields.get(name)]
    if different:
        other = summary.tables[0].identity
        note += f" Not comparable with protocol {other}: {', '.join(different)} differ."
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


def _short(value: Any) -> str:
    """Return a value as text, with hashes shortened to their first digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{12,}\b", r"\1...", text)


def _number(value: Spread | None) -> str:
    return "" if value is None else evaluations.format_value(value.mean, value.deviation)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{rest:02d} min"
