"""Reading the files of one checkpoint; several processes agree on whether that succeeded."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from gan_jax.errors import CheckpointError
from gan_jax.runs.integrity import DamageError, crc32_of, unseal
from gan_jax.runs.leaves import Leaf, leaf_of
from gan_jax.runs.quiet_orbax import is_passing, orbax, reason_of

STATE = "state"
META = "meta"
FORMAT = 1
# What a process found when it read a checkpoint; the highest of all processes counts.
_WHOLE, _DAMAGED, _UNREADABLE = range(3)


@dataclasses.dataclass(frozen=True)
class Record:
    """The metadata of a checkpoint.

    Attributes:
      meta: the dictionary given to ``Checkpoints.save``.
      leaves: the record of every leaf, by path.
      sums: the CRC-32 of every leaf, by path.
    """

    meta: dict[str, Any]
    leaves: dict[str, Leaf]
    sums: dict[str, int]


def read_record(directory: Path, step: int) -> Record:
    """Return the metadata of a checkpoint.

    Raises:
      DamageError: any process finds them damaged, or of another step.
      CheckpointError: any process cannot read them now, or they have another format.
    """
    with _agreed(directory, "unreadable metadata"):
        body = unseal((directory / META / "metadata").read_bytes())
        if body["step"] != step:
            raise DamageError(f"its metadata are of step {body['step']}")
        if (format_ := body["format"]) == FORMAT:
            leaves = body["leaves"]
            return Record(
                body["meta"],
                {n: Leaf(tuple(r["shape"]), r["dtype"], r["generator"]) for n, r in leaves.items()},
                {name: r["crc32"] for name, r in leaves.items()},
            )
    raise CheckpointError(f"Checkpoint {directory} has format {format_!r}; accepted: {FORMAT}.")


def read_arrays(
    directory: Path, record: Record, stored: Mapping[str, Leaf]
) -> dict[str, np.ndarray]:
    """Return some arrays of a checkpoint in host memory, each verified.

    ``stored`` is the expected record of each, by path; of random keys, that of their data.

    Raises:
      DamageError: any process finds an array that is not what was saved.
      CheckpointError: any process cannot read them now.
    """
    with _agreed(directory, "unreadable arrays"):
        return _read_arrays(directory / STATE, stored, record.sums)


def _read_arrays(
    directory: Path, stored: Mapping[str, Leaf], sums: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Read arrays and verify each; damaged files raise errors of many kinds."""
    ocp = orbax()
    arrays: dict[str, np.ndarray] = {}
    on_disk = [name for name, leaf in stored.items() if 0 not in leaf.shape]
    if on_disk:
        # Orbax reports a folder that it may not read as a missing one.
        for _ in os.walk(directory, onerror=_raise):
            pass
        handler = ocp.PyTreeCheckpointHandler()
        how = ocp.RestoreArgs(restore_type=np.ndarray)
        try:
            arrays = handler.restore(
                epath.Path(directory),
                args=ocp.args.PyTreeRestore(
                    item=dict.fromkeys(on_disk, 0),
                    restore_args=dict.fromkeys(on_disk, how),
                    partial_restore=True,
                ),
            )
        finally:
            handler.close()
    for name, leaf in stored.items():
        if 0 in leaf.shape:
            arrays[name] = np.empty(leaf.shape, leaf.dtype)
        # The checksum is of the bytes alone.
        if (found := leaf_of(arrays[name])) != leaf:
            raise DamageError(f"leaf {name} is {found}, but was saved as {leaf}")
        if crc32_of(arrays[name]) != sums[name]:
            raise DamageError(f"the checksum of leaf {name} is wrong")
    return arrays


def _raise(error: OSError) -> NoReturn:
    raise error


@contextlib.contextmanager
def _agreed(directory: Path, what: str) -> Iterator[None]:
    """Let a failure in any process raise an error of the same kind in every process.

    Raises:
      DamageError: a process found damage, and none met a worse failure.
      CheckpointError: a process cannot read it now, so it is unknown whether it is damaged.
    """
    failure: Exception | None = None
    own = _WHOLE
    try:
        yield
    # Orbax and TensorStore raise errors of many kinds for damaged files.
    except Exception as error:
        failure = error
        own = _UNREADABLE if is_passing(error) else _DAMAGED
    worst = own
    if jax.process_count() > 1:
        worst = int(np.max(multihost_utils.process_allgather(np.int32(own))))
    if worst == _UNREADABLE:
        reason = "another process reports the reason"
        if failure is not None and own == worst:
            reason = reason_of(failure)
        raise CheckpointError(
            f"Checkpoint {directory} cannot be read: {reason}. It may be whole, and is left as it "
            "is: run the same command again once the cause is removed, or rename the checkpoint "
            "to continue from the one before."
        ) from failure
    if failure is None and worst == _DAMAGED:
        raise DamageError("another process could not read it")
    if isinstance(failure, DamageError):
        raise failure
    if failure is not None:
        raise DamageError(f"{what}: {reason_of(failure)}") from failure
