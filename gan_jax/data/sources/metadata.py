"""Labels of images from ``metadata.csv`` or ``metadata.jsonl``, by the Hugging Face convention.

Such a file lies beside images or above them. It has a row per image, whose ``file_name`` is the
path of the image from the folder of the file; its other columns are labels or attributes.
"""

import csv
import io
import json
import math
import zipfile
from collections.abc import Container, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from gan_jax.data import attributes
from gan_jax.data import spec as specs
from gan_jax.data.sources.containers import Files, printable
from gan_jax.data.sources.splits import split_of
from gan_jax.data.spec import Field
from gan_jax.errors import ConfigError, DataError, lookup

FILES = ("metadata.csv", "metadata.jsonl")
# The column that is the label if ``data.labels`` names none.
LABEL = "label"
_FILE_NAME = "file_name"
# Numbers in a vector of attributes, at most.
_MOST = 4096

# The values of an image by column.
Row = Mapping[str, Any]


def read(
    files: Files, names: Sequence[str], *, required: bool
) -> tuple[dict[str, Row], tuple[str, ...]]:
    """Return the rows by the path of the image, and the files of metadata that name no images.

    Args:
      files: a container.
      names: the paths in it, of which some may be of metadata.
      required: whether a file of such a name must have rows of this convention.

    Raises:
      DataError: a file cannot be read, a row has no ``file_name``, or two rows of an image differ.
    """
    rows: dict[str, Row] = {}
    without: list[str] = []
    for name in names:
        if (path := PurePosixPath(name)).name not in FILES:
            continue
        try:
            text = files.read(name).decode("utf-8-sig")
            found = _rows(text, path.suffix)
        except (OSError, zipfile.BadZipFile, ValueError, csv.Error) as error:
            raise DataError(f"{files.full_name(name)} cannot be read: {error}") from error
        if not required and not any(isinstance(row, dict) and _FILE_NAME in row for row in found):
            without.append(name)
            continue
        for row in found:
            if not isinstance(row, dict) or not isinstance(row.get(_FILE_NAME), str):
                raise DataError(
                    f"{files.full_name(name)} has a row without a path in the column {_FILE_NAME}"
                )
            image = (path.parent / row[_FILE_NAME].replace("\\", "/")).as_posix()
            values = {column: x for column, x in row.items() if column != _FILE_NAME}
            if rows.setdefault(image, values) != values:
                raise DataError(
                    f"{files.full_name(name)} has other values for {printable(image)} than an "
                    "earlier row; accepted: one row for each image"
                )
    return rows, tuple(without)


def _rows(text: str, suffix: str) -> list[Any]:
    if suffix == ".csv":
        header = text.partition("\n")[0]
        rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=header.count))
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        return list(rows)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def columns_of(rows: Mapping[str, Row], asked: Sequence[str], *, default: bool) -> tuple[str, ...]:
    """Return the columns that are labels: those asked for, or by ``default`` the one ``label``.

    Raises:
      ConfigError: a column does not exist.
    """
    known = _columns(rows)
    if not rows and asked:
        raise ConfigError(
            f"data.labels = {tuple(asked)}: there is no {' or '.join(FILES)} beside the images; "
            "accepted: ()"
        )
    for column in asked:
        lookup(dict.fromkeys(known), column, "data.labels")
    return tuple(asked) or ((LABEL,) if default and LABEL in known else ())


def check_split(rows: Mapping[str, Row], images: Sequence[str], columns: Sequence[str]) -> None:
    """Check that images which are used together are of one split by the metadata.

    Raises:
      DataError: a column ``split``, which is no label, says that they are of several.
    """
    for column in _columns(rows):
        if column.lower() != "split" or column in columns:
            continue
        values = {str(rows[name].get(column)) for name in images if name in rows}
        if len(found := sorted(filter(split_of, values))) > 1:
            raise DataError(
                f"the column {column} of the metadata has {', '.join(map(printable, found))} for "
                "images that are used together; accepted: a folder for each split, data.split=all"
            )


def unused(rows: Mapping[str, Row], images: Container[str], used: Sequence[str]) -> list[str]:
    """Return, in words, which columns are not used, and how many rows have no image."""
    words = []
    if others := [column for column in _columns(rows) if column not in used]:
        words.append(f"columns of the metadata: {', '.join(map(printable, others))}")
    if alone := [name for name in rows if name not in images]:
        words.append(f"{len(alone)} rows of the metadata without an image")
    return words


def _columns(rows: Mapping[str, Row]) -> list[str]:
    # Of a CSV row that is too long, the rest has no column.
    return list(dict.fromkeys(c for row in rows.values() for c in row if c is not None))


def labels(
    rows: Mapping[str, Row], names: Sequence[str], columns: Sequence[str]
) -> tuple[np.ndarray, Field]:
    """Return the labels of images, and their field.

    The values of one column are classes, int32 ``[n]``, which are numbered over all rows in the
    order of the values: numbers by size, texts by name. Several columns, or one with fractions, are
    attributes, float32 ``[n, k]``: a column of numbers is one of them; one of texts is a one-hot
    vector.

    Args:
      rows: as `read` returns them.
      names: of the images.
      columns: at least one.

    Raises:
      DataError: an image has no row or a row no value, or there are too many attributes.
    """
    if missing := [name for name in names if name not in rows]:
        raise DataError(
            f"{printable(missing[0])} has no row in the metadata ({len(missing)} such images in "
            f"all), of which data.labels = {tuple(columns)} are columns"
        )
    place = {name: k for k, name in enumerate(rows)}
    chosen = [place[name] for name in names]
    found = [_Column(column, rows) for column in columns]
    first = found[0]
    if len(found) == 1 and not first.has_fractions:
        return first.numbers[chosen].astype(np.int32), specs.label(first.known)
    if (size := sum(len(column.names) for column in found)) > _MOST:
        raise DataError(
            f"data.labels = {tuple(columns)} are {size:,} attributes, since each different text is "
            f"one; accepted: {_MOST:,} at most"
        )
    every = np.concatenate([column.vectors for column in found], axis=1)
    own = every[chosen]
    field = attributes.field(tuple(name for column in found for name in column.names), every, own)
    return own, field


class _Column:
    """The values of a column.

    Attributes:
      known: the different values, in order.
      numbers: which of these each row has, ``[rows]``.
      has_fractions: whether all are numbers, and one is no whole one.
      names: of the attributes that the column is.
    """

    def __init__(self, name: str, rows: Mapping[str, Row]):
        # A call for each of the millions of values of a large set takes longer than all else.
        values = [
            value if isinstance(value := row.get(name), str) and value else _value(image, row, name)
            for image, row in rows.items()
        ]
        order = {value: _order(value) for value in set(values)}
        self.known = sorted(order, key=order.__getitem__)
        number = {value: k for k, value in enumerate(self.known)}
        self.numbers = np.array([number[value] for value in values])
        self._are_texts = any(is_text for is_text, _, _ in order.values())
        self._values = [order[value][1] for value in self.known]
        self.has_fractions = not self._are_texts and any(x % 1 for x in self._values)
        self.names = [f"{name}={value}" for value in self.known] if self._are_texts else [name]

    @property
    def vectors(self) -> np.ndarray:
        """The attributes of the rows, float32 ``[rows, len(names)]``."""
        texts = self._are_texts
        table = np.eye(len(self.known)) if texts else np.reshape(self._values, (-1, 1))
        return table.astype(np.float32)[self.numbers]


def _value(name: str, row: Row, column: str) -> str:
    value = row.get(column)
    if value is None or value == "" or isinstance(value, list | dict):
        raise DataError(f"{name} has no value in the column {column} of the metadata")
    # JSON has numbers and truth values; CSV has texts alone.
    return value if isinstance(value, str) else json.dumps(value)


def _order(value: str) -> tuple[bool, float, str]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (False, number, value) if math.isfinite(number) else (True, 0.0, value)
