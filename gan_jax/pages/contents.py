"""What the files of a run directory say; what is missing or damaged is noted, not an error."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.evaluation import best
from gan_jax.report import evaluations, writers
from gan_jax.report.status import Status
from gan_jax.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the files of a run directory say.

    Attributes:
      path: the directory.
      config: the configuration.
      data: the record of the data set.
      status: the content of ``status.json``; empty: there is none.
      starts: the records of ``environment.json``, one per start.
      origin: the run that it started from; ``None``: random weights.
      best: the best evaluation; ``None``: there is none.
      metrics: the rows of ``metrics.jsonl``, numbers only.
      evaluations: the rows of ``eval.jsonl``.
      sheets: the pictures or texts of samples, by train step.
      pictures: other PNG files of the directory, the newest last.
      notes: sentences on what is missing or could not be read.
    """

    path: Path
    config: ConfigDict
    data: Mapping[str, Any]
    status: Mapping[str, Any]
    starts: list[Row]
    origin: Mapping[str, Any] | None
    best: best.Best | None
    metrics: list[Row]
    evaluations: list[Row]
    sheets: dict[int, Path]
    pictures: list[Path]
    notes: list[str]

    @property
    def last_step(self) -> int | None:
        """The train step that the run has reached; ``None``: it is not recorded."""
        step: Any = self.status.get("step")
        if is_number(step):
            return int(step)
        return self.metrics[-1]["step"] if self.metrics else None

    @property
    def kimg_of(self) -> dict[int, float]:
        """The thousands of real images at the train steps of which a row says it."""
        rows = (*self.metrics, *self.evaluations)
        return {row["step"]: row["kimg"] for row in rows if is_number(row.get("kimg"))}


def read(run: "Run") -> Contents:
    """Return the contents of a run's directory, which another process may be writing to."""
    notes: list[str] = []
    metrics = _rows(run.path / writers.METRICS, writers.read_rows, notes)
    if not metrics:
        notes.append(f"No metrics are recorded yet ({writers.METRICS}).")
    measured = _rows(run.path / evaluations.EVALUATIONS, evaluations.read, notes)
    samples = RunDirectory(run.path).samples
    sheets = [p for p in samples.glob("*") if p.suffix in (".png", ".txt") and p.stem.isdecimal()]
    status = _noted(Status(run.path).read, notes)
    return Contents(
        path=run.path,
        config=run.config,
        data=run.data,
        status=status or {},
        starts=_starts(run.path / "environment.json", notes),
        origin=_noted(RunDirectory(run.path).read_origin, notes),
        best=_noted(lambda: best.read(run.path), notes),
        metrics=[_numbers(row) for row in metrics],
        evaluations=[row for row in measured if _is_evaluation(row)],
        sheets={int(p.stem): p for p in sorted(sheets)},
        pictures=sorted(run.path.glob("*.png"), key=lambda p: (p.stat().st_mtime, p.name)),
        notes=notes,
    )


def is_number(value: Any) -> bool:
    """Return whether a value of a row is a number, finite or not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows(path: Path, read: Callable[[Path], list[Row]], notes: list[str]) -> list[Row]:
    """Return the complete rows of a file of lines, and note how many lines are not."""
    if not path.exists():
        return []
    rows = read(path)
    lines = sum(bool(line.strip()) for line in path.read_bytes().splitlines())
    if (lost := lines - len(rows)) > 0:
        lines_are = "1 line is" if lost == 1 else f"{lost} lines are"
        notes.append(f"{lines_are} incomplete or damaged in {path.name}, and left out.")
    return rows


def _numbers(row: Row) -> Row:
    return {name: value for name, value in row.items() if is_number(value)}


def _is_evaluation(row: Row) -> bool:
    step: Any = row.get("step")
    return is_number(step) and math.isfinite(step) and isinstance(row["protocol"], dict)


def _noted(read: Callable[[], Any], notes: list[str]) -> Any:
    """Return what a file says; ``None``, and a note, if it is damaged."""
    try:
        return read()
    except errors.WorkdirError as error:
        notes.append(f"{error}.".replace("..", "."))
        return None


def _starts(path: Path, notes: list[str]) -> list[Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append(f"The starts of the run are not recorded ({path.name}).")
        return []
    except (OSError, ValueError) as error:
        notes.append(f"{path} is damaged: {error}.")
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
