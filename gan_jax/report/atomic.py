"""Atomic file writes: to a temporary name first, then renamed."""

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from gan_jax.errors import WorkdirError


@contextlib.contextmanager
def replacing(path: str | Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the context ends without an error.

    A crash or a full disk leaves the old content intact. Side effect: creates the file's folder if
    it is missing.

    Args:
      path: the file.
      sync: wait until the content is on the disk: without that, the file may be empty or truncated
        after a power failure.

    Raises:
      WorkdirError: the file cannot be written.
    """
    path = Path(path)
    # In containers, processes on several hosts often have the same PID. A host name may be long, or
    # contain characters that are invalid in a file name.
    host = hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:8]
    temporary = path.with_name(f".{path.name}.{host}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WorkdirError(f"Cannot write {path}: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # It exists after an error only.
            temporary.unlink()


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Replace a file's content; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def check_free(path: str | Path, overwrite: bool) -> None:
    """Raise a `WorkdirError` if a file exists already, unless it may be replaced."""
    if Path(path).exists() and not overwrite:
        raise WorkdirError(f"{path} already exists; pass --overwrite to replace it")


def is_full(error: BaseException | None) -> bool:
    """Return whether an error means that the disk, or the user's quota, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def reason(error: OSError) -> str:
    """Return the system's reason for a failed write, with advice if the disk is full."""
    text = error.strerror or str(error)
    if is_full(error):
        return f"{text} (free space, then run the same command again)"
    return text


def write_text(path: str | Path, content: str) -> None:
    """Replace a file's content by text in UTF-8; see `replacing`."""
    write_bytes(path, content.encode())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray], *, sync: bool = True) -> None:
    """Replace a file's content by arrays in the format of ``numpy.savez``; see `replacing`."""
    with replacing(path, sync=sync) as file:
        np.savez(file, allow_pickle=False, **arrays)
