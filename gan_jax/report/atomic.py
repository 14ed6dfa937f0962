"""Files that are either as they were or complete: written under another name, then renamed."""

import os
from pathlib import Path

from gan_jax.errors import WorkdirError


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file's content, so that a crash or a full disk leaves the old content whole.

    Side effect: makes the folder of the file where it is missing.

    Args:
      path: the file.
      content: all that it is to hold.

    Raises:
      WorkdirError: it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkdirError(f"Cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, content: str) -> None:
    """Do as ``write_bytes`` with text in UTF-8."""
    write_bytes(path, content.encode())
