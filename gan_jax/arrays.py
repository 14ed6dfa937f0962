"""Arrays of ``.npz`` files that may come from anywhere: nothing in them is run, or fills memory."""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

# What zipfile, zlib and NumPy raise for what is damaged, encrypted, or made to mislead them.
_DAMAGES = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

# What the files of `np.savez` and of `np.save` begin with.
_BEGINNINGS = (b"PK", b"\x93NUMPY")


class UnreadableError(Exception):
    """A file holds no whole arrays; the message has the reason alone, in one line."""


def read_npz(
    path: str | Path,
    choose: Callable[[Sequence[str]], Iterable[str]] = lambda names: names,
) -> dict[str, np.ndarray]:
    """Return arrays of an ``.npz`` file by name; objects, which would run code, are refused.

    Args:
      path: the file.
      choose: returns, of the names that the file has, those that are wanted; what it raises passes.

    Raises:
      OSError: the file cannot be opened.
      UnreadableError: it is no whole ``.npz`` of plain arrays, or its arrays outgrow this machine.
    """
    # Opened here, because NumPy leaves a file that it cannot read open.
    with Path(path).open("rb") as file:
        return read_open_npz(file, choose)


def read_open_npz(
    file: BinaryIO, choose: Callable[[Sequence[str]], Iterable[str]]
) -> dict[str, np.ndarray]:
    """Do as ``read_npz`` with a file that the caller has opened, and closes."""
    # NumPy takes any other file for objects, and advises to allow these.
    if not file.read(6).startswith(_BEGINNINGS):
        raise UnreadableError("it is no .npz file")
    file.seek(0)
    try:
        archive = np.load(file, allow_pickle=False)  # noqa: TID251
    except _DAMAGES as error:
        raise _unreadable(error) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UnreadableError("it is a single array, not an .npz of many")
    with archive:
        sizes = _sizes(archive)
        wanted = list(choose(archive.files))
        _check_memory(sum(sizes[name] for name in wanted))
        found = {}
        for name in wanted:
            try:
                found[name] = archive[name]
            except _DAMAGES as error:
                raise _unreadable(error) from error
            # NumPy returns the bytes of a member that does not begin as an array does.
            if not isinstance(found[name], np.ndarray):
                raise UnreadableError(f"{name!r} in it is no array")
        return found


def _sizes(archive: np.lib.npyio.NpzFile) -> dict[str, int]:
    """Return each member's size, by what the archive says: it is held to that later.

    NumPy finds a member by its name with and without ``.npy``; a name that fits two is refused,
    because NumPy might read the one that was not measured.
    """
    assert archive.zip is not None
    sizes: dict[str, int] = {}
    for member in archive.zip.infolist():
        for name in {member.filename, member.filename.removesuffix(".npy")}:
            if name in sizes:
                raise UnreadableError(f"several of its members are called {name!r}")
            sizes[name] = member.file_size
    return sizes


def _check_memory(total: int) -> None:
    """Check that a number of bytes fits into the memory of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total > memory:
        raise UnreadableError(f"it unfolds to {total:,} bytes, and this machine has {memory:,}")


def _unreadable(error: Exception) -> UnreadableError:
    return UnreadableError(" ".join(str(error).split()) or type(error).__name__)
