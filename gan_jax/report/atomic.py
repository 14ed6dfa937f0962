"""Atomic file writes: to a temporary name first, then renamed."""

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
    """Replace a file's content; a crash or a full disk leaves the old content intact.

    Side effect: creates the file's folder if it is missing.

    Args:
      path: the file.
      content: its new content.

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
    """Return whether an error means that the disk, or the user's quota, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def reason(error: OSError) -> str:
    """Return the system's reason for a failed write, with advice if the disk is full."""
    text = error.strerror or str(error)
    if is_full(error):
        return f"{text} (free space, then run the same command again)"
    return text


def write_text(path: str | Path, content: str) -> None:
    """Replace a file's content by text in UTF-8; see ``write_bytes``."""
    write_bytes(path, content.encode())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace a file's content by arrays in the format of ``numpy.savez``; see ``write_bytes``."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getbuffer())


def _remove(path: Path) -> None:
    """Remove a file if it exists; ignore errors, so as not to hide the original one."""
    with contextlib.suppress(OSError):
        path.unlink()
