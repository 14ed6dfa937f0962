"""``eval.jsonl``: the evaluations of a run, each with its protocol.

Rows are only appended, by training and by other processes that evaluate the run. A row is
``{"step", "kimg", metrics ..., "protocol": {...}}``. A metric measured with several seeds is their
mean, and ``<metric>_std`` their standard deviation. Of a run that translates in several directions
``fid`` is a value of the first one, and ``fid_BtoA`` of another. Only numbers of equal protocols
are comparable.
"""

import json
import os
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic

EVALUATIONS = "eval.jsonl"
Row = dict[str, Any]
# The name of a direction of translation, behind that of a metric.
_DIRECTION = re.compile(r"_[A-Za-z0-9]+to[A-Za-z0-9]+$")


def append(path: str | Path, row: Mapping[str, Any]) -> bool:
    """Append a row unless the file contains the same one; return whether it was appended.

    A run that resumes after a crash may repeat an evaluation, with the same result. Several
    processes may append rows concurrently.

    Raises:
      WorkdirError: the file cannot be written.
    """
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    try:
        path = Path(path)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False)
        with open(path, "ab+") as file, lock:
            file.seek(0)
            content = file.read()
            if line in content.splitlines(keepends=True):
                return False
            # Terminate a row that was truncated by a crash, so that this one starts a new line.
            cut = content and not content.endswith(b"\n")
            file.write(b"\n" + line if cut else line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WorkdirError(f"Cannot write {path}: {atomic.reason(error)}") from error
    return True


def read(path: str | Path) -> list[Row]:
    """Return the complete rows of a file in order; an empty list if it does not exist.

    Raises:
      WorkdirError: the file cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WorkdirError(f"Cannot read {path}: {error.strerror or error}") from error
    rows = []
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "protocol" in row:
            rows.append(row)
    return rows


def by_metric(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of values by metric: one, or one for each direction of translation."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_DIRECTION.sub("", name), []).append(name)
    return found


def mean(row: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """Return the number that ranks an evaluation, the mean of some values.

    Args:
      row: values by name.
      names: of a metric's values in all directions of translation; at least one.

    Returns:
      ``None`` if one was not measured.
    """
    values = [row[name] for name in names if name in row]
    return statistics.fmean(values) if len(values) == len(names) else None


def mean_words(names: Sequence[str]) -> str:
    """Return what `mean` is: ``fid``, or ``mean of fid and fid_BtoA``."""
    return names[0] if len(names) == 1 else f"mean of {' and '.join(names)}"


def table(
    columns: Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]], *, note: str = ""
) -> None:
    """Print metrics to standard output, one column per set of images.

    Args:
      columns: heading, values by metric, standard deviations by metric (may be empty) of each.
      note: the protocol in words, printed below the table.
    """
    names = list(dict.fromkeys(name for _, values, _ in columns for name in values))
    out = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", *(heading for heading, _, _ in columns)):
        out.add_column(Text(heading), justify="right" if heading else "left")
    for name in names:
        cells = [format_value(values.get(name), spread.get(name)) for _, values, spread in columns]
        out.add_row(name, *cells)
    # The name of a data set may look like Rich markup, for example ":train:".
    console = Console(emoji=False, markup=False, highlight=False)
    console.print(out)
    if note:
        console.print(note, soft_wrap=True)


def format_value(value: float | None, spread: float | None = None) -> str:
    """Return a metric's value as text, with its standard deviation if there is one."""
    if value is None:
        return ""
    text = f"{value:.4g}"
    return text if spread is None else f"{text} ± {spread:.2g}"
