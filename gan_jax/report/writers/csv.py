"""``metrics.csv``: the rows of ``metrics.jsonl`` as one table, for spreadsheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic
from gan_jax.report.writers.jsonl import read_rows
from gan_jax.report.writers.writer import Writer

TABLE = "metrics.csv"


class CsvWriter(Writer):
    """Keeps a table equal to a file of rows that another writer appends to before this one.

    A metric that begins later becomes a new column, and the whole table is written again. Values
    that are not finite are ``nan``, ``inf`` and ``-inf``; a metric that a row lacks is empty.
    Ignores curves, whose record is ``eval.jsonl``, and images.

    Args:
      path: the table.
      rows: the file that `JsonlWriter` writes.
    """

    def __init__(self, path: str | Path, rows: str | Path):
        """Write the table of the rows that exist."""
        self._path, self._rows = Path(path), Path(rows)
        self._columns: dict[str, None] = {}
        self._rewrite()

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        row = {"step": step, **({} if kimg is None else {"kimg": kimg}), **values}
        if not row.keys() <= self._columns.keys():
            self._rewrite()
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._lines([row]))
        except OSError as error:
            raise WorkdirError(f"Cannot write {self._path}: {atomic.reason(error)}") from error

    def _rewrite(self) -> None:
        rows = read_rows(self._rows)
        self._columns = dict.fromkeys(name for row in rows for name in row)
        atomic.write_text(self._path, self._lines(rows, header=bool(rows)))

    def _lines(self, rows: Sequence[Mapping[str, Any]], *, header: bool = False) -> str:
        text = io.StringIO()
        table = csv.DictWriter(text, list(self._columns), lineterminator="\n")
        if header:
            table.writeheader()
        for row in rows:
            numbers = {name: float(value) for name, value in row.items()}
            table.writerow({**numbers, "step": int(row["step"])})
        return text.getvalue()
