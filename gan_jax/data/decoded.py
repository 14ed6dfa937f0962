"""Decoded data sets in the cache directory, so that a later start does not decode them again.

A set is one ``.npz`` file. Its name is a hash of everything that its arrays depend on: every file
of the set, the preparation, the code of the sources, Pillow and its decoders. So it is never out of
date. All sets together take at most ``$GAN_JAX_DECODED_GIB`` (10; 0: none is kept): those that were
used last remain.
"""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from gan_jax import arrays, cache
from gan_jax.data import stream
from gan_jax.data.sources.base import Source, content_hash
from gan_jax.data.stream import Batch
from gan_jax.errors import ConfigError, WorkdirError
from gan_jax.report import atomic

# A set that is decoded sooner is not kept.
_LEAST_SECONDS = 5.0
_LIMIT = "GAN_JAX_DECODED_GIB"
# Versions of these decide which pixels a file has.
_DECODERS = ("jpg", "libjpeg_turbo", "webp", "avif")
# Not the name of a field: int64 [failures], the indices of the examples that were skipped.
_FAILED = "failed"

logger = logging.getLogger(__name__)


def folder() -> Path:
    """Return the folder of the decoded sets; it may not exist yet."""
    return cache.root() / "decoded"


def file_of(source: Source) -> Path | None:
    """Return the file in which a decoded set is kept, whether it exists or not.

    ``None``: the set is in memory anyway, or no set is to be kept.

    Raises:
      ConfigError: the limit is no number.
      DataError: a file of the set cannot be found.
    """
    if not source.decodes or limit_bytes() == 0:
        return None
    versions = [PIL.__version__, *(str(features.version(name)) for name in _DECODERS)]
    return folder() / f"{content_hash([source.decoded_key(), _code(), *versions])}.npz"


def load(
    file: Path | None,
    source: Source,
    decode: Callable[[], Batch],
    least_seconds: float = _LEAST_SECONDS,
) -> Batch:
    """Return the arrays of a set from its file if it exists, or else decode and keep them.

    Examples that were skipped are noted in ``source.failures`` either way.

    Side effect: writes the file, and removes those used longest ago where they would exceed the
    limit. What cannot be read or written is logged.

    Args:
      file: as `file_of` returns it.
      source: the data set.
      decode: returns its arrays ``[n, ...]`` by field.
      least_seconds: a set that is decoded sooner is not kept.

    Raises:
      DataError: an example cannot be read or decoded.
    """
    if file is None:
        return decode()
    if (found := _read(file, source)) is not None:
        return found
    started = time.monotonic()
    data = decode()
    if time.monotonic() - started >= least_seconds:
        _write(file, {**data, _FAILED: np.array(sorted(source.failures), np.int64)})
    return data


def _read(file: Path, source: Source) -> Batch | None:
    """Return the arrays of a file; ``None``: it does not exist, or is damaged."""
    try:
        data = arrays.read_npz(file)
        failed = data.pop(_FAILED)
        for name, field in source.spec.items():
            if (data[name].dtype, data[name].shape) != (field.dtype, (len(source), *field.shape)):
                raise ValueError(f"{name!r} has shape {data[name].shape}")
    except FileNotFoundError:
        return None
    except (OSError, KeyError, ValueError, arrays.UnreadableError) as error:
        logger.warning("%s cannot be read (%s): the set is decoded again", file, error)
        return None
    with contextlib.suppress(OSError):  # Where it is read-only, nothing is removed either.
        os.utime(file)
    for index in failed.tolist():
        source.read([index])  # It is noted, with its reason, once more.
    stream.warn_of_failures(source, 0)
    return data


def _write(file: Path, data: Batch) -> None:
    """Write a file, after removing those used longest ago as far as the limit demands."""
    size, limit = sum(array.nbytes for array in data.values()), limit_bytes()
    if size > limit:
        logger.info("The decoded set of %.1f GiB is not kept: $%s is less", size / 2**30, _LIMIT)
        return
    try:
        _make_room(limit - size)
        # Without waiting for the disk: what a power failure damages is decoded again.
        atomic.write_npz(file, data, sync=False)
    except (OSError, WorkdirError) as error:
        logger.warning("%s: the set is decoded again at the next start", error)


def _make_room(limit: float) -> None:
    """Remove the files used longest ago until the others have at most ``limit`` bytes.

    Another process that reads one of them is not disturbed.
    """
    kept = []
    for path in folder().glob("*"):
        with contextlib.suppress(FileNotFoundError):  # Another process has removed it.
            status = path.stat()
            kept.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def limit_bytes() -> float:
    """Return how many bytes all decoded sets may have.

    Raises:
      ConfigError: ``$GAN_JAX_DECODED_GIB`` is no such number.
    """
    text = os.environ.get(_LIMIT) or "10"
    try:
        limit = float(text) * 2**30
        if not limit >= 0:
            raise ValueError
    except ValueError as error:
        raise ConfigError(f"${_LIMIT} = {text!r}; accepted: a number of GiB from 0 on") from error
    return limit


@functools.cache
def _code() -> str:
    """Return a hash of the code that decodes and prepares."""
    files = sorted(Path(__file__).with_name("sources").glob("*.py"))
    return content_hash(file.read_bytes() for file in files)
