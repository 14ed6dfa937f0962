"""Arrays of ``.npz`` files that may come from anywhere: nothing in them is run, or fills memory."""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

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
        try:
            archive = np.load(file, allow_pickle=False)
        except _DAMAGES as error:
            raise _unreadable(error) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UnreadableError("it is a single array, not an .npz of many")
        with archive:
            wanted = list(choose(archive.files))
            try:
                _check_sizes(archive, wanted)
                return {name: archive[name] for name in wanted}
            except _DAMAGES as error:
                raise _unreadable(error) from error


def _check_sizes(archive: np.lib.npyio.NpzFile, names: Sequence[str]) -> None:
    """Check that arrays fit into memory, by what the archive says: it is held to that later."""
    assert archive.zip is not None
    sizes = {member.filename: member.file_size for member in archive.zip.infolist()}
    total = sum(sizes.get(f"{name}.npy", sizes.get(name, 0)) for name in names)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total > memory:
        raise UnreadableError(f"it unfolds to {total:,} bytes, and this machine has {memory:,}")


def _unreadable(error: Exception) -> UnreadableError:
    return UnreadableError(" ".join(str(error).split()) or type(error).__name__)
