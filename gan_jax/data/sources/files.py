"""A set whose examples are files of a folder or a zip archive, one each, read in place."""

import abc
import contextlib
import functools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax import paths
from gan_jax.data import attributes
from gan_jax.data import spec as specs
from gan_jax.data.sources import survey
from gan_jax.data.sources.base import Example, Source, content_hash, stack
from gan_jax.data.sources.containers import open_files
from gan_jax.errors import ConfigError, DataError

ON_ERROR = ("raise", "skip")
# More unreadable files in a row than this mean that the set is damaged, or has none.
MAX_SKIPS = 64
# Files whose checksums are part of a fingerprint.
CHECKED = 256


class UndecodableError(Exception):
    """The file was read, but its content is not intact."""


class FileSource(Source):
    """A source that decodes a file at every access.

    A subclass sets ``names``, ``labels`` and ``_sizes``, and implements `_decoded`, `_preparation`
    and `__getitem__`.

    Attributes:
      files: the folder or archive.
      names: paths of the files in it.
      labels: of the files, int32 ``[n]``, or attributes, float32 ``[n, count]``.

    Args:
      path: folder, zip, or place inside a zip.
      split: for records.
      on_error: "raise": a file that cannot be decoded is an error that names it; "skip": it is
        replaced by the next one that can be decoded, and noted in ``failures``. A file that cannot
        be read at all is always an error.
      name: that ``data.name`` gives, for messages.
      what: the files are, for messages: "images".

    Raises:
      ConfigError: ``path`` is not set, or ``on_error`` is unknown.
      DataError: the path does not exist.
    """

    decodes = True
    names: list[str]
    labels: np.ndarray
    _sizes: list[int]

    def __init__(self, path: str | Path | None, split: str, on_error: str, name: str, what: str):
        if on_error not in ON_ERROR:
            raise ConfigError(f"data.on_error = {on_error!r}; accepted: {', '.join(ON_ERROR)}")
        self.path, self.on_error, self._what = checked_path(path, name, what), on_error, what
        self.files, self._inside = open_files(self.path)
        super().__init__(f"{self.files.name}/{self._inside}".rstrip("/"), split, {})

    @abc.abstractmethod
    def _decoded(self, raw: bytes) -> Any:
        """Return what is decoded of a file; any exception: the file is not intact."""

    @abc.abstractmethod
    def _reason(self, error: Exception) -> str:
        """Return what an exception of `_decoded` says about the file, to follow its name."""

    @abc.abstractmethod
    def _preparation(self) -> Any:
        """Return what the arrays of `read` depend on beside the files; its ``repr`` counts."""

    def _decode(self, index: int) -> Any:
        """Return a decoded file.

        Raises:
          DataError: the file cannot be read.
          UndecodableError: it can, but is not intact.
        """
        with self._decoding(self.item_name(index)):
            return self._decoded(self.raw(index))

    @contextlib.contextmanager
    def _decoding(self, shown: str) -> Iterator[None]:
        """Raise an `UndecodableError` that names the file for what its decoder raises."""
        try:
            yield
        except (DataError, UndecodableError):
            raise
        except zipfile.BadZipFile as error:
            raise UndecodableError(f"{shown} is damaged: {error}") from error
        # Decoders raise exceptions of any type on damaged files.
        except Exception as error:
            raise UndecodableError(f"{shown} {self._reason(error)}") from error

    def raw(self, index: int, most: int | None = None) -> bytes:
        """Return the bytes of a file, or the first ``most`` of them.

        Raises:
          DataError: it cannot be read.
          zipfile.BadZipFile: it is damaged.
        """
        return self._read(self.names[index], most)

    def _read(self, name: str, most: int | None = None) -> bytes:
        """Return the bytes of the file of a path; raises as `raw`."""
        try:
            return self.files.read(name, most)
        except OSError as error:
            raise DataError(f"{self.files.full_name(name)} cannot be read: {error}") from error

    def _labelled(self, arrays: dict[str, np.ndarray], index: int) -> Example:
        """Return an example: the arrays, and the file's label if there are labels."""
        if specs.LABEL not in self.spec:
            return arrays
        return {**arrays, specs.LABEL: np.asarray(self.labels[index])}

    def _decode_or_next(self, index: int) -> tuple[int, Any]:
        """Return the decoded file and its index, or those of the file that replaces it."""
        for step in range(min(MAX_SKIPS, len(self))):
            candidate = (index + step) % len(self)
            if candidate in self.failures:
                continue
            try:
                return candidate, self._decode(candidate)
            except UndecodableError as error:
                if self.on_error == "raise":
                    raise DataError(f'{error} (data.on_error = "skip" leaves it out)') from error
                self.failures[candidate] = str(error)
        first = self.failures[index]
        count = min(MAX_SKIPS, len(self))
        raise DataError(f"{count} {self._what} in a row fail; the first: {first}")

    @override
    def __len__(self) -> int:
        return len(self.names)

    @override
    def read(self, indices: Sequence[int]) -> Example:
        return stack(self[int(i)] for i in indices)

    @override
    def item_name(self, index: int) -> str:
        return self.files.full_name(self.names[index])

    def stems(self) -> list[str]:
        """Return the paths of the files below ``path``, without their last suffix."""
        return [
            PurePosixPath(name).relative_to(self._inside).with_suffix("").as_posix()
            for name in self.names
        ]

    def content(self, indices: Sequence[int]) -> str:
        """Return a hash of the checksums of some files.

        Raises:
          DataError: a file cannot be read.
        """
        names = (name for index in indices for name in self._checked(self.names[index]))
        return content_hash(f"{self._checksum(name):08x}" for name in names)

    def _checked(self, name: str) -> Sequence[str]:
        """Return the files whose checksums stand for an example."""
        return (name,)

    def _files(self) -> Sequence[str]:
        """Return all files that examples are decoded from."""
        return self.names

    def _checksum(self, name: str) -> int:
        try:
            return self.files.checksum(name)
        except OSError as error:
            raise DataError(f"{self.files.full_name(name)} cannot be read: {error}") from error

    @override
    def decoded_key(self) -> str:
        try:
            states = self.files.states(self._files())
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error}") from error
        return content_hash([self.fingerprint(), repr(self._preparation()), *states])

    @functools.cached_property
    def _content(self) -> str:
        """A hash of label and size of every file, in order, and the checksums of a sample."""
        described = attributes.of(self.spec)
        if described is None:
            names = self.class_names or ()
        else:
            names = described.attributes or described.vocabulary
        labels = self.labels if described is None else [row.tobytes().hex() for row in self.labels]
        files = (f"{label} {size}" for label, size in zip(labels, self._sizes, strict=True))
        checked = self.content(survey.spread(len(self), CHECKED))
        return content_hash([*names, *files, checked])


def checked_path(path: str | Path | None, name: str, what: str) -> Path:
    """Return ``data.path`` on this machine; the other arguments are those of `FileSource`.

    Raises:
      ConfigError: it is not set.
    """
    if not path:
        raise ConfigError(
            f"data.path is not set; accepted for data.name = {name!r}: a folder or .zip of {what}"
        )
    return paths.local(path, "data.path")
