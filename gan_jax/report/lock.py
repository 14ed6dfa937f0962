"""Locks on directories, by `filelock`; the system ends a lock with its process."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

_LOCK = ".lock"
_SHARED_LOCK = ".lock.db"
# Text for messages: the process that holds the lock.
_HOLDER = ".holder"
# `holder` takes a lock for a moment, which must not refuse a process that needs it.
_PATIENCE_SECONDS = 0.5


class InUseError(Exception):
    """Another process holds the lock; the message names it."""


def acquire(directory: Path) -> filelock.BaseFileLock:
    """Return the acquired lock of an existing directory; release it, or end the process.

    Raises:
      InUseError: another process holds it.
      OSError: the directory cannot be written to, or its file system has no locks.
    """
    lock = _lock(directory)
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except filelock.Timeout as error:
        raise InUseError(_read_holder(directory)) from error
    try:
        _write_holder(directory)
    except OSError:
        lock.release()
        raise
    return lock


@contextlib.contextmanager
def hold(directory: Path, *, shared: bool, sharers: str) -> Iterator[None]:
    """Hold an existing directory in the context; this lock is independent of that of `acquire`.

    Args:
      directory: what is held.
      shared: beside other processes that share it.
      sharers: the words for these in a message.

    Raises:
      InUseError: another process holds it.
      OSError: the directory cannot be written to.
    """
    lock = filelock.ReadWriteLock(directory / _SHARED_LOCK, is_singleton=False)
    try:
        (lock.acquire_read if shared else lock.acquire_write)(timeout=0)
    except filelock.Timeout as error:
        alone = (directory / _HOLDER).exists()
        raise InUseError(_read_holder(directory) if alone else sharers) from error
    try:
        if shared:
            (directory / _HOLDER).unlink(missing_ok=True)
        else:
            _write_holder(directory)
        yield
    finally:
        if not shared:
            (directory / _HOLDER).unlink(missing_ok=True)
        lock.release()


def holder(directory: str | os.PathLike[str]) -> str | None:
    """Return which process holds a directory's lock; ``None`` if none does."""
    directory = Path(directory)
    if not (directory / _LOCK).exists():
        return None
    lock = _lock(directory)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return _read_holder(directory)
    except OSError:
        return None
    lock.release()
    return None


def _lock(directory: Path) -> filelock.BaseFileLock:
    # Without `flock`, a lock file would survive a process that is killed, and block the next one.
    return filelock.FileLock(directory / _LOCK, fallback_to_soft=False)


def _write_holder(directory: Path) -> None:
    (directory / _HOLDER).write_text(f"process {os.getpid()} on {socket.gethostname()}\n")


def _read_holder(directory: Path) -> str:
    try:
        return (directory / _HOLDER).read_text().strip() or "another process"
    except OSError:
        return "another process"
