"""Files that are either as they were or complete: written under another name, then renamed."""

import contextlib
import errno
import hashlib
import io
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gan_jax.errors import WorkdirError


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Replace a file's content, so that a crash or a full disk leaves the old content whole.

    Side effect: makes the folder of the file where it is missing.

    Args:
      path: the file.
      content: all that it is to hold.

    Raises:
      WorkdirError: it cannot be written.
    """
    path = Path(path)
    # In containers, processes of several hosts often have the same number. A host's name may be
    # long, and hold what a file's must not.
    host = hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:8]
    temporary = path.with_name(f".{path.name}.{host}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise WorkdirError(f"Cannot write {path}: {reason(error)}") from error
    except BaseException:
        _remove(temporary)
        raise


def is_full(error: BaseException | None) -> bool:
    """Return whether an error says that the disk, or this user's part of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def reason(error: OSError) -> str:
    """Return what the system says of a failed write, with what to do where the disk is full."""
    text = error.strerror or str(error)
    if is_full(error):
        return f"{text} (make room, then start the same command again)"
    return text


def write_text(path: str | Path, content: str) -> None:
    """Do as ``write_bytes`` with text in UTF-8."""
    write_bytes(path, content.encode())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Do as ``write_bytes`` with arrays, as ``numpy.savez`` stores them."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getbuffer())


def _remove(path: Path) -> None:
    """Remove a file, if it is there; an error on the way to it is not worth hiding another one."""
    with contextlib.suppress(OSError):
        path.unlink()
