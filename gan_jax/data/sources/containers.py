"""Files in a folder or a zip archive, by their path with slashes, relative to the container."""

import collections
import errno
import os
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from PIL import features

from gan_jax.errors import DataError

if TYPE_CHECKING:
    from gan_jax.data.sources.parquet import Parquet

# fmt: off
SUFFIXES = frozenset([
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp", *([".avif"] if features.check("avif") else []),
])
# fmt: on
# What operating systems and file servers put beside files.
_HIDDEN = (".", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
# No image file is larger; an archive may state any size, to fill the memory.
MAX_FILE_BYTES = 2**30
# A folder may be linked to from several splits or classes, but not more often than this.
MAX_LINKED = 100


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.resolve().name

    def sizes(self) -> Mapping[str, int | None]:
        """Return every file's path and size in bytes; ``None``: it is a broken link.

        Only plain files are listed: reading from a device or a pipe may never end. A folder in
        which nothing is found is listed with a slash at its end.

        Raises:
          DataError: its folders link to one another in too many ways.
        """
        found: dict[str, int | None] = {}
        # Of many files, `Path` objects would take most of the time.
        root = os.path.join(self.path, "")
        for path in _files_below(root):
            try:
                status = os.stat(path)
            except OSError:
                found[path.removeprefix(root)] = None
                continue
            if stat.S_ISREG(status.st_mode) or path.endswith("/"):
                found[path.removeprefix(root)] = status.st_size
        return found

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of a file.

        Raises:
          OSError: it cannot be read, or is larger than any image.
        """
        return zlib.crc32(self.read(name))

    def states(self, names: Sequence[str]) -> list[str]:
        """Return of each file what changes with its content; see `file_state`."""
        return [file_state(f"{self.path}/{name}") for name in names]

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the bytes of a file, or the first ``most`` of them.

        Raises:
          OSError: it cannot be read, or is larger than any image.
        """
        path = self.path / name
        if path.stat().st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"more than {MAX_FILE_BYTES:,} bytes")
        with path.open("rb") as file:
            return file.read(most)

    def full_name(self, name: str) -> str:
        """Return what a message calls the file."""
        return printable(str(self.path / name))


def file_state(path: str | Path) -> str:
    """Return what changes whenever a file is written to or replaced, without reading it.

    These are its size and the times of the last write and of the last change of its inode. Programs
    can set the first back, as those that unpack archives do, but not the second. A folder that is
    moved keeps them.

    Raises:
      OSError: there is no such file.
    """
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _files_below(root: str) -> Iterator[str]:
    """Yield the paths below a folder that are no folders, or are empty or unreadable ones.

    The latter have a slash at their end.
    Links to folders are followed, except to one that contains the link. A few folders that link to
    one another would have factorially many paths, so their number is limited.

    Raises:
      DataError: links lead to one folder by more than ``MAX_LINKED`` paths.
    """
    times: collections.Counter[tuple[int, int]] = collections.Counter()
    outermost: frozenset[tuple[int, int]] = frozenset()
    # Of each: its path, (device, inode) of the folders that contain it, and whether by a link.
    folders = [(root, outermost, False)]
    while folders:
        folder, within, linked = folders.pop()
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            entries = []
        if not entries:
            if folder != root:
                yield os.path.join(folder, "")
            continue
        own = (status.st_dev, status.st_ino)
        if own in within:
            continue
        times[own] += linked
        if times[own] > MAX_LINKED:
            raise DataError(
                f"{printable(os.path.realpath(folder))}: more than {MAX_LINKED} paths lead to this "
                "folder by links; leave out some of the links"
            )
        within |= {own}
        below = []
        for entry in entries:
            if _is_folder(entry):
                below.append((entry.path, within, linked or entry.is_symlink()))
            else:
                yield entry.path
        folders += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # Such as a link to itself.
        return False


def printable(name: str) -> str:
    """Return a name for messages: in one line, and without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


class _Member(NamedTuple):
    """What reading a file in an archive needs of its `zipfile.ZipInfo`, which is slow to pickle."""

    file_size: int
    compress_size: int
    header_offset: int
    CRC: int
    compress_type: int
    flag_bits: int


class Zip:
    """The files in a zip archive, read by their offset: threads and processes share no position.

    Backslashes in paths, which some programs for Windows write, are read as slashes.

    Raises:
      OSError, zipfile.BadZipFile: the archive cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.stem
        try:
            with zipfile.ZipFile(path) as archive:
                members = {_slashes(m.filename): m for m in archive.infolist()}
        # Names that are not text, truncated fields, unknown versions.
        except (ValueError, NotImplementedError, OverflowError, struct.error) as error:
            raise zipfile.BadZipFile(" ".join(str(error).split())) from error
        self._members = {
            name: _Member(*(getattr(member, field) for field in _Member._fields))
            for name, member in members.items()
            if not name.endswith("/")
        }
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("rb", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        weakref.finalize(self, self._file.close)

    def sizes(self) -> Mapping[str, int | None]:
        """Return every file's path and size in bytes."""
        return {name: m.file_size for name, m in self._members.items()}

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of a file, which the archive records."""
        return self._members[name].CRC

    def states(self, names: Sequence[str]) -> list[str]:
        """Return the checksum of each file, which the archive records."""
        return [f"{self.checksum(name):08x}" for name in names]

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the bytes of a file, or the first ``most`` of them, without a check.

        Raises:
          zipfile.BadZipFile: they are damaged.
          OSError: they are encrypted, or compressed by another method than deflate.
        """
        member, descriptor = self._members[name], self._file.fileno()
        # The archive's own statements are not trusted: memory is taken for what it can hold.
        if member.file_size > MAX_FILE_BYTES:
            raise zipfile.BadZipFile(f"it unfolds to more than {MAX_FILE_BYTES:,} bytes")
        if not 0 <= member.header_offset <= self._size - 30 - member.compress_size:
            raise zipfile.BadZipFile("it lies outside the archive")
        # The local header: 30 bytes, the last four the lengths of name and extra field after it.
        header = os.pread(descriptor, 30, member.header_offset)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no local header")
        start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        size = member.file_size if most is None else min(most, member.file_size)
        # An incompressible block of deflate is stored, with 5 bytes more.
        stored = member.compress_size if most is None else min(size + 1024, member.compress_size)
        raw = os.pread(descriptor, stored, start)
        if member.flag_bits & 1 or member.compress_type not in (_STORED, _DEFLATED):
            raise OSError("accepted in a zip: stored or deflated, not encrypted")
        if member.compress_type == _DEFLATED:
            try:
                raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, size + 1)
            except zlib.error as error:
                raise zipfile.BadZipFile(str(error)) from error
        if most is not None:
            return raw[:size]
        if len(raw) != member.file_size or zlib.crc32(raw) != member.CRC:
            raise zipfile.BadZipFile("its bytes do not fit their checksum")
        return raw

    def full_name(self, name: str) -> str:
        """Return what a message calls the file."""
        return printable(f"{self.path}/{name}" if name else str(self.path))

    # Pickled for a worker, which opens the file again.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


Files: TypeAlias = "Folder | Zip | Parquet"
"""What has the files of a set of images."""


def _slashes(name: str) -> str:
    """Return a member's name with slashes, and without "./" at its beginning."""
    return name.replace("\\", "/").removeprefix("./")


def open_files(path: Path, field: str = "data.path") -> tuple["Files", str]:
    """Return the container of ``path`` and the place inside it, "" or "a/b".

    Args:
      path: a folder, a ``.zip``, a place inside one, a ``.parquet`` file, or a folder of these.
      field: that gave it, for the message.

    Raises:
      DataError: the path does not exist, or the zip cannot be read.
    """
    for archive in [path, *path.parents]:
        if archive.suffix.lower() == ".zip" and archive.is_file():
            inside = path.relative_to(archive).as_posix()
            try:
                files = Zip(archive)
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(f"{archive} cannot be read as a zip: {error}") from error
            return files, "" if inside == "." else inside
    if not path.exists():
        raise DataError(f"{path} ({field}) does not exist")
    if tables := _tables(path):
        from gan_jax.data.sources.parquet import Parquet  # It imports this module.

        return Parquet(path, tables), ""
    if not path.is_dir():
        raise DataError(
            f"{path} ({field}) is neither a folder nor a .zip; accepted: one of these, a place in "
            "a .zip, or a .parquet (other archives have to be unpacked)"
        )
    return Folder(path), ""


def _tables(path: Path) -> list[Path]:
    """Return the Parquet file at a path, or those below it if there are no images."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    found = []
    for name in _files_below(str(path)):
        suffix = os.path.splitext(name)[1].lower()
        if _is_hidden(os.path.relpath(name, path)):
            continue
        if suffix in SUFFIXES:
            return []
        if suffix == ".parquet":
            found.append(Path(name))
    return found


def _is_hidden(name: str) -> bool:
    """Return whether a file, or a folder that it is in, is one of an operating system's own."""
    return any(part.startswith(_HIDDEN) for part in name.split("/"))


def images_in(
    files: "Files", inside: str, field: str = "data.path"
) -> tuple[dict[str, int], list[str]]:
    """Return the images at a place inside a container, and the other files; see `files_in`."""
    return files_in(files, inside, SUFFIXES, "images", field)


def files_in(
    files: "Files", inside: str, suffixes: Collection[str], what: str, field: str = "data.path"
) -> tuple[dict[str, int], list[str]]:
    """Return the files with some suffixes at a place inside a container, and the other files.

    Hidden files and folders are not listed.

    Args:
      files: the container.
      inside: the place, "" or "a/b".
      suffixes: in lower case.
      what: such files are, for the message.
      field: that gave the place, for the message.

    Returns:
      The paths of the files with their sizes, and the paths of the other files.

    Raises:
      DataError: there are none, one is a broken link, or too many links lead to one folder.
    """
    prefix = f"{inside}/" if inside else ""
    found: dict[str, int] = {}
    others: list[str] = []
    for name, size in files.sizes().items():
        below = name.removeprefix(prefix)
        if _is_hidden(below) or not name.startswith(prefix):
            continue
        if os.path.splitext(name)[1].lower() not in suffixes:
            others.append(name)
        elif size is None:
            raise DataError(f"{files.full_name(name)} cannot be read: it is a broken link")
        else:
            found[name] = size
    if not found:
        words = f", but {', '.join(by_suffix(others))}" if others else ""
        raise DataError(
            f"{files.full_name(inside)} ({field}) has no {what}{words}; "
            f"accepted suffixes: {' '.join(sorted(suffixes))}"
        )
    return found, others


def by_suffix(names: Sequence[str]) -> list[str]:
    """Return, in words, how many files have which suffix, and how many folders have no files."""
    counts = collections.Counter(
        "empty or unreadable folder(s)"
        if name.endswith("/")
        else Path(name).suffix.lower() or "without a suffix"
        for name in names
    )
    return [f"{count} {printable(suffix)}" for suffix, count in sorted(counts.items())]
