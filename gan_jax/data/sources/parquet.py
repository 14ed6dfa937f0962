"""Images in Parquet files, as the data sets of Hugging Face have them, read in place.

A row is an image: bytes, or a struct with the field ``bytes``, in the only such column or in that
named ``image``. The rows of ``train-00000-of-00002`` and of the files beside it, or of the files in
a folder ``train``, are the images of a folder ``train``; their other columns are its metadata
(`gan_jax.data.sources.metadata`), in which a class label has its name.

Whole row groups are read, of which the last few are kept: reading in order is fast, and reading at
random is not. Needs pyarrow.
"""

import collections
import itertools
import json
import re
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gan_jax.data.sources.containers import file_state, printable
from gan_jax.data.sources.splits import split_of
from gan_jax.errors import DataError

_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
_METADATA = "metadata.jsonl"
_KEPT_GROUPS = 4
# A part of a split.
_PART = re.compile(r"(.+)-(\d+)-of-(\d+)")


class Parquet:
    """The images in some Parquet files, as a container of files.

    Args:
      path: the folder, or the only file.
      files: the Parquet files.

    Raises:
      DataError: pyarrow is not installed, a file is missing, cannot be read or has no images.
    """

    def __init__(self, path: Path, files: Sequence[Path]):
        self.path, self.name, self._paths = path, path.stem, list(files)
        _check_complete(files)
        self._open()
        # Name of an image: its file, row group, and row in that; and of a folder its metadata.
        self._rows: dict[str, tuple[int, int, int]] = {}
        self._metadata: dict[str, list[str]] = collections.defaultdict(list)
        for number, file in enumerate(files):
            self._list(number, file)

    def _open(self) -> None:
        try:
            import pyarrow.parquet as parquet  # An optional dependency.
        except ImportError as error:
            raise DataError(
                f"{self.path} is read by pyarrow, which is not installed: pip install pyarrow"
            ) from error
        self._files = []
        for path in self._paths:
            try:
                self._files.append(parquet.ParquetFile(path))
            except (OSError, ValueError) as error:
                raise DataError(f"{path} cannot be read as Parquet: {error}") from error
        self._lock = threading.Lock()
        self._groups: collections.OrderedDict[tuple[int, int], list[Any]] = (
            collections.OrderedDict()
        )

    def _list(self, number: int, path: Path) -> None:
        """List the rows of a file."""
        file, column = self._files[number], self._image_column(number)
        every = [name for name in file.schema_arrow.names if name != column]
        # Other images would fill the memory.
        others = [name for name in every if not _has_bytes(file.schema_arrow.field(name).type)]
        names = _class_names(file.schema_arrow.metadata)
        folder = _folder(path.relative_to(self.path) if path != self.path else Path(path.name))
        rows = file.read(columns=others).to_pylist() if others else itertools.repeat({})
        counts = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
        places = ((group, place) for group, count in enumerate(counts) for place in range(count))
        for at, row in zip(places, rows, strict=False):
            base = f"{len(self._rows):08d}.png"
            self._rows[f"{folder}{base}"] = number, *at
            values = {name: _value(row.get(name), names.get(name)) for name in every}
            self._metadata[folder].append(json.dumps({"file_name": base, **values}))

    def _image_column(self, number: int) -> str:
        found = [field.name for field in self._files[number].schema_arrow if _has_bytes(field.type)]
        named = [name for name in found if name.lower() in _IMAGE_COLUMNS]
        if len(named or found) == 1:
            return (named or found)[0]
        raise DataError(
            f"{self._paths[number]} has {', '.join(found) or 'no column'} of images; accepted: "
            "bytes of files in one column, or in one named image"
        )

    def sizes(self) -> Mapping[str, int | None]:
        """Return every image's path, and that of the metadata; their sizes are not known: 0."""
        every = [*self._rows, *(f"{folder}{_METADATA}" for folder in self._metadata)]
        return dict.fromkeys(every, 0)

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of an image."""
        return zlib.crc32(self.read(name))

    def states(self, names: Sequence[str]) -> list[str]:
        """Return of each image what changes with it: its place, and the state of its file."""
        files = [file_state(path) for path in self._paths]
        return [f"{self._rows[name]} {files[self._rows[name][0]]}" for name in names]

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the bytes of an image or of metadata, or the first ``most`` of them.

        Raises:
          OSError: they cannot be read, or are not in the file.
        """
        folder, _, base = name.rpartition("/")
        if base == _METADATA:
            return "\n".join(self._metadata[f"{folder}/" if folder else ""]).encode()[:most]
        number, group, place = self._rows[name]
        try:
            value = self._group(number, group)[place]
        except ValueError as error:
            raise OSError(" ".join(str(error).split())) from error
        if isinstance(value, dict) and value["bytes"] is None and value.get("path"):
            raise OSError(f"the row has no bytes of an image, but the path {value['path']}")
        raw = value["bytes"] if isinstance(value, dict) else value
        return (raw or b"")[:most]  # No bytes are no image.

    def _group(self, number: int, group: int) -> list[Any]:
        """Return the images of a row group."""
        with self._lock:
            if (number, group) not in self._groups:
                column = self._image_column(number)
                table = self._files[number].read_row_group(group, columns=[column])
                self._groups[number, group] = table.column(column).to_pylist()
                if len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end((number, group))
            return self._groups[number, group]

    def full_name(self, name: str) -> str:
        """Return what a message calls the image."""
        return printable(f"{self.path}/{name}" if name else str(self.path))

    # Pickled for a worker, which opens the files again.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_files", "_lock", "_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def _has_bytes(kind: Any) -> bool:
    """Return whether a column of a type may hold files."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return types.is_binary(kind) or types.is_large_binary(kind)


def _check_complete(files: Sequence[Path]) -> None:
    """Check that no part of a split is missing."""
    found = {path: _PART.fullmatch(path.stem) for path in files}
    for path, part in found.items():
        if part is None:
            continue
        for number in range(int(part[3])):
            name = f"{part[1]}-{number:0{len(part[2])}d}-of-{part[3]}{path.suffix}"
            if path.with_name(name) not in found:
                raise DataError(f"{path.with_name(name)} does not exist, but {path.name} does")


def _folder(path: Path) -> str:
    """Return the folder of the images of a file, "" or "a/"."""
    parts = list(PurePosixPath(path.parent.as_posix()).parts)
    part = _PART.fullmatch(path.stem)
    if part or split_of(path.stem):
        parts.append(part[1] if part else split_of(path.stem))
    return "".join(f"{name}/" for name in parts)


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of class labels by column, which Hugging Face's data sets record."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {k: v["names"] for k, v in features.items() if "names" in v}
    except (KeyError, TypeError, ValueError):
        return {}


def _value(value: Any, names: Sequence[str] | None) -> Any:
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
