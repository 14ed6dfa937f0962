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

from gan_jax.data import spec as specs
from gan_jax.data.sources.containers import Files, printable
from gan_jax.data.spec import Field
from gan_jax.errors import ConfigError, DataError, lookup

FILES = ("metadata.csv", "metadata.jsonl")
# The column that is the label if ``data.labels`` names none.
LABEL = "label"
_FILE_NAME = "file_name"
# Every combination of values has a name, and a row in tables.
_MAX_COMBINATIONS = 4096

# The values of an image by column.
Row = Mapping[str, Any]


def read(files: Files, names: Sequence[str], *, required: bool) -> dict[str, Row]:
    """Return the rows by the path of the image.

    Args:
      files: a container.
      names: the paths in it, of which some may be of metadata.
      required: whether a file of such a name must have rows of this convention; others have none.

    Raises:
      DataError: a file cannot be read, or a row of it has no ``file_name``.
    """
    rows: dict[str, Row] = {}
    for name in names:
        if (path := PurePosixPath(name)).name not in FILES:
            continue
        try:
            text = files.read(name).decode("utf-8-sig")
            found = _rows(text, path.suffix)
        except (OSError, zipfile.BadZipFile, ValueError, csv.Error) as error:
            raise DataError(f"{files.full_name(name)} cannot be read: {error}") from error
        named = any(isinstance(row, dict) and _FILE_NAME in row for row in found)
        for row in found if named or required else ():
            if not isinstance(row, dict) or not isinstance(row.get(_FILE_NAME), str):
                raise DataError(
                    f"{files.full_name(name)} has a row without a path in the column {_FILE_NAME}"
                )
            image = (path.parent / row[_FILE_NAME].replace("\\", "/")).as_posix()
            rows[image] = {column: x for column, x in row.items() if column != _FILE_NAME}
    return rows


def _rows(text: str, suffix: str) -> list[Any]:
    if suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
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
    """Return the labels of images, int32 ``[n]``, and their field.

    A class is a value of the column, or a combination of values of several columns. Several
    columns, or one with fractions, are attributes: a class stands for the vector of its numbers,
    with a one-hot vector in place of texts. Classes are
    numbered over all rows, in the order of the values: numbers by size, texts by name.

    Args:
      rows: as `read` returns them.
      names: of the images.
      columns: at least one.

    Raises:
      DataError: an image has no row or a row no value, or there are too many combinations.
    """
    if missing := [name for name in names if name not in rows]:
        raise DataError(
            f"{printable(missing[0])} has no row in the metadata ({len(missing)} such images in "
            f"all), of which data.labels = {tuple(columns)} are columns"
        )
    values = {
        name: tuple(_value(name, row, column) for column in columns) for name, row in rows.items()
    }
    known = sorted(set(values.values()), key=lambda found: [_order(value) for value in found])
    number = {value: k for k, value in enumerate(known)}
    found = np.array([number[values[name]] for name in names], np.int32)
    class_names = [_class_name(columns, value) for value in known]
    vectors = [_numbers([value[i] for value in known]) for i in range(len(columns))]
    has_fractions = vectors[0].shape[1] == 1 and (vectors[0] % 1 != 0).any()
    if len(columns) == 1 and not has_fractions:
        return found, specs.label(class_names)
    if len(known) > _MAX_COMBINATIONS:
        raise DataError(
            f"data.labels = {tuple(columns)} have {len(known):,} different combinations of values; "
            f"accepted: {_MAX_COMBINATIONS:,} at most"
        )
    attributes = np.concatenate(vectors, axis=1).tolist()
    return found, specs.label(class_names, tuple(map(tuple, attributes)))


def _numbers(values: Sequence[str]) -> np.ndarray:
    """Return the values of a column as numbers ``[n, 1]``, or of texts as one-hot vectors."""
    if not any(is_text for is_text, _, _ in map(_order, values)):
        return np.array([[number] for _, number, _ in map(_order, values)])
    known = sorted(set(values))
    return np.eye(len(known))[[known.index(value) for value in values]]


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


def _class_name(columns: Sequence[str], values: Sequence[str]) -> str:
    if len(columns) == 1:
        return values[0]
    return ",".join(f"{column}={value}" for column, value in zip(columns, values, strict=True))
