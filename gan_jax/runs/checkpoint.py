"""Checkpoints of a training state, by Orbax: the only file of the project that knows Orbax.

A checkpoint is a directory named by its step. Orbax writes it under a temporary name and renames it
when it is complete, so a directory that bears a bare number was once whole. It holds two items:

- ``state``: the leaves of the state as a flat dictionary, named by their path
  (``networks/generator/params/Dense_0/kernel``). The structure around them (named tuples, empty
  states, ``None``) comes from the state that one restores into, so it needs no registration.
- ``meta``: one JSON file with the caller's metadata and, for every leaf, its shape, dtype and
  CRC-32; the file carries the CRC-32 of itself. They find what a rename cannot: a flipped bit, a
  truncated file, a lost write.

Leaves pass through host memory as whole arrays, so the number of devices that saved does not matter
to the number that restores; with several processes a leaf has to be replicated (the state of this
project is).
"""

import contextlib
import dataclasses
import errno
import functools
import json
import logging
import os
import re
import shutil
import sys
import threading
import time
import types
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from absl import logging as absl_logging
from etils import epath
from jax.experimental import multihost_utils

from gan_jax.errors import CheckpointError, ConfigError
from gan_jax.report import atomic

logger = logging.getLogger(__name__)

PyTree = Any

_STATE = "state"
_META = "meta"
_FORMAT = 1
_LISTED = 10
# What names Orbax, TensorStore or their files in a record of a task or a future.
_OF_A_CHECKPOINT = re.compile(r"[/\\]orbax[/\\]|\.orbax-checkpoint-tmp|tensorstore|OCDBT")
# How long a process that fails goes on with a save of which the others may do a part.
_LEAVE_SECONDS = 10.0
_FOREVER_SECONDS = 100 * 365 * 86400
# What processes tell one another of a checkpoint that they read; the highest counts.
_FINE, _DAMAGE, _TROUBLE = range(3)
# A read that fails so says nothing of what is on disk: the same read may succeed later.
_PASSING = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EIO,
    )
)


@dataclasses.dataclass(frozen=True)
class Restored:
    """What ``Checkpoints.restore`` returns.

    Attributes:
      step: the step that was restored.
      state: pytree of the asked structure, on the asked shardings.
      meta: the dictionary given to ``save``, after a round trip through JSON.
      skipped: newer checkpoints that were damaged, as (step, reason), newest first.
    """

    step: int
    state: PyTree
    meta: dict[str, Any]
    skipped: list[tuple[int, str]]


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """The record of one leaf: enough to refuse a wrong state and to find damage."""

    shape: tuple[int, ...]
    dtype: str
    generator: str | None = None  # of random keys, as `jax.random.wrap_key_data` wants it

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Checkpoints:
    """The checkpoints of one run directory: saved in the background, checked when read.

    Use it as a context manager, or call ``close``. Every process of a multi-process run makes the
    same calls with the same arguments, on a directory that they share.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep_latest: int = 2,
        keep_every: int | None = None,
        read_only: bool = False,
    ):
        """Open a directory of checkpoints.

        Side effects, unless ``read_only``: makes the directory, and removes what interrupted saves
        have left in it.

        Args:
          directory: where the checkpoints are, or will be.
          keep_latest: so many of the newest are kept.
          keep_every: every step that this divides is kept too; None for no such steps.
          read_only: nothing on disk is ever changed, and ``save`` is refused.

        Raises:
          ConfigError: ``keep_latest`` or ``keep_every`` is not positive.
          CheckpointError: the directory cannot be made or read.
        """
        for field, value in (("keep_latest", keep_latest), ("keep_every", keep_every)):
            if value is not None and value < 1:
                raise ConfigError(f"{field} = {value!r}; accepted: a whole number of at least 1.")
        self.directory = Path(directory).absolute()
        self.read_only = read_only
        self._keep_latest = keep_latest
        self._keep_every = keep_every
        self._kept = _Kept()
        self._manager: Any = None
        self._saving: int | None = None
        if not read_only:
            self._open_manager()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        """Close; a failed save is only logged where it would hide the error that ends the block.

        Of several processes, one that ends by an error does not wait for long: the last save may
        need the others, and they this one.
        """
        if error is None:
            self.close()
            return

        def close() -> None:
            try:
                self.close()
            except CheckpointError as failure:
                logger.warning("%s", failure)

        if jax.process_count() == 1:
            close()
            return
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(_LEAVE_SECONDS)

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, ascending, without one being written."""
        try:
            entries = list(self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"Cannot read checkpoints in {self.directory}: {_reason(error)}"
            ) from error
        return sorted(
            int(entry.name) for entry in entries if re.fullmatch(r"0|[1-9]\d*", entry.name)
        )

    def agreed_steps(self) -> list[int]:
        """Return ``steps()``, which every process has to call for and to find the same.

        Raises:
          CheckpointError: in every process: they find different steps, or some cannot look.
        """
        steps: list[int] = []
        failure: CheckpointError | None = None
        try:
            steps = self.steps()
        except CheckpointError as error:
            failure = error
        if jax.process_count() > 1:
            seen = np.uint32(zlib.crc32(str(failure or steps).encode()))
            with jax.transfer_guard("allow"):
                alike = np.unique(multihost_utils.process_allgather(seen)).size == 1
            if failure is None and not alike:
                raise CheckpointError(
                    f"Process {jax.process_index()} finds other checkpoints than another process, "
                    f"in {self._listing(steps)} --workdir must be one directory that all processes "
                    "share."
                )
        if failure is not None:
            raise failure
        return steps

    def keep(self, step: int) -> None:
        """Keep this step's checkpoint from now on, and no longer the one that was kept so before.

        What is no longer kept goes with the next save, unless it is one of the newest.
        """
        self._kept.step = step

    def save(self, step: int, state: PyTree, meta: Mapping[str, Any]) -> None:
        """Start saving a state, and return once it is copied to host memory.

        The caller may donate or change the state as soon as this returns. A save that is still
        being written is waited for first. A step that is already saved is left as it is: training
        is a function of the step, so a run that comes by again has nothing new to say.

        Args:
          step: the step that the state is of, not negative.
          state: pytree of JAX arrays (typed random keys too), NumPy arrays and Python numbers.
          meta: what else is to be known, JSON-able.

        Raises:
          CheckpointError: this save could not start, or the one before failed (disk full, for
            example); the checkpoints before it are intact.
          TypeError: ``meta`` is not JSON-able, or a leaf of the state is no array.
        """
        if self.read_only:
            raise CheckpointError(f"Cannot save in {self.directory}: it was opened read-only.")
        step = int(step)
        self.wait()
        manager = self._manager or self._open_manager()
        if step in manager.all_steps():
            return
        with jax.transfer_guard("allow"):
            leaves, arrays = _to_host(state)
            body = {
                "format": _FORMAT,
                "step": step,
                "meta": dict(meta),
                "leaves": {
                    name: {**dataclasses.asdict(leaf), "crc32": _crc32(arrays[name])}
                    for name, leaf in leaves.items()
                },
            }
            ocp = _orbax()
            args = ocp.args.Composite(
                **{
                    # Orbax refuses arrays without elements; their record in the metadata says all
                    # there is.
                    _STATE: ocp.args.PyTreeSave(
                        {name: array for name, array in arrays.items() if array.size}
                    ),
                    _META: ocp.args.JsonSave(_seal(body)),
                }
            )
            try:
                self._move_aside(step)
                self._saving = step
                manager.save(step, args=args, force=True)
            except Exception as error:
                raise self._failed(step, error) from error

    def wait(self) -> None:
        """Wait until the last save is complete on disk.

        Raises:
          CheckpointError: it failed; the checkpoints before it are intact.
        """
        if self._manager is None or self._saving is None:
            return
        step = self._saving
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(step, error) from error
        self._saving = None

    def close(self) -> None:
        """Wait for the last save, then let go of Orbax's threads; twice is as good as once.

        Raises:
          CheckpointError: the last save failed; the checkpoints before it are intact.
        """
        try:
            self.wait()
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                manager.close()

    def restore(self, abstract_state: PyTree, step: int | None = None) -> Restored:
        """Read a checkpoint into the structure and onto the shardings of ``abstract_state``.

        A damaged newest checkpoint (files missing, truncated or changed) is reported and skipped,
        and, unless read-only, renamed to ``<step>.damaged-<n>`` once an older one has been
        restored: it is not lost, and training can save that step again. One that cannot be read
        for another reason (no permission, no memory, a file system that does not answer) is not
        damaged, and nothing is done in its place.

        Args:
          abstract_state: pytree of ``jax.ShapeDtypeStruct`` with shardings (without one: the
            default device); arrays and Python numbers serve too.
          step: which one; None for the newest that is whole.

        Returns:
          A ``Restored``.

        Raises:
          CheckpointError: there is none; the asked one is missing or damaged; all are damaged (each
            is listed, and left in place); one cannot be read now; the newest whole one has other
            leaves than ``abstract_state`` (the leaves are listed); or the processes find different
            checkpoints.
        """
        self.wait()
        available = self.agreed_steps()
        if step is None:
            candidates = available[::-1]
        elif step in available:
            candidates = [step]
        else:
            raise CheckpointError(f"No checkpoint of step {step} in {self._listing(available)}")
        if not candidates:
            raise CheckpointError(f"No checkpoint in {self.directory}.")

        skipped: list[tuple[int, str]] = []
        for candidate in candidates:
            with jax.transfer_guard("allow"):
                try:
                    state, meta = self._read(candidate, abstract_state)
                except _DamageError as damage:
                    skipped.append((candidate, str(damage)))
                    continue
            for damaged, reason in skipped if jax.process_index() == 0 else ():
                logger.warning(
                    "Checkpoint %s is damaged (%s); step %d is used instead.",
                    self.directory / str(damaged),
                    reason,
                    candidate,
                )
            self._set_aside([damaged for damaged, _ in skipped])
            return Restored(candidate, state, meta, skipped)

        told = "; ".join(f"step {damaged}: {reason}" for damaged, reason in skipped)
        if step is not None:
            others = [other for other in available if other != step]
            raise CheckpointError(f"Damaged checkpoint, {told}. Others in {self._listing(others)}")
        raise CheckpointError(f"Every checkpoint in {self.directory} is damaged: {told}.")

    def _listing(self, steps: list[int]) -> str:
        """Return the directory and the given steps, for a message."""
        return f"{self.directory}: {', '.join(map(str, steps)) or 'none'}."

    def _open_manager(self) -> Any:
        """Remove the temporary directories of interrupted saves and make Orbax's manager."""
        ocp = _orbax()
        policies: list[Any] = [
            ocp.checkpoint_managers.LatestN(self._keep_latest),
            self._kept,
        ]
        if self._keep_every is not None:
            policies.append(ocp.checkpoint_managers.EveryNSteps(self._keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(policies),
            save_root_metadata=False,
            # Orbax's record of each step holds nothing that is used here, and may be what is
            # damaged.
            lightweight_initialize=True,
            # A limit would be reached by a slow disk, or a clock that is set. A process that waits
            # for one which is gone is ended by JAX's heartbeats.
            async_options=ocp.AsyncOptions(timeout_secs=_FOREVER_SECONDS),
        )
        try:
            if jax.process_index() == 0:
                self.directory.mkdir(parents=True, exist_ok=True)
                _remove_interrupted(self.directory)
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        except OSError as error:
            raise CheckpointError(
                f"Cannot keep checkpoints in {self.directory}: {_reason(error)}"
            ) from error
        return self._manager

    def _failed(self, step: int, error: Exception) -> CheckpointError:
        """Return a failed save's error; drop the manager, whose list of steps is no longer true."""
        manager, self._manager, self._saving = self._manager, None, None
        if manager is not None:
            # It may tell the same failure once more.
            with contextlib.suppress(Exception):
                manager.close()
        kept = ", ".join(map(str, self.steps())) or "none"
        return CheckpointError(
            f"Could not save step {step} in {self.directory}: {_reason(error)}; "
            f"complete checkpoints: {kept}."
        )

    def _move_aside(self, step: int) -> None:
        """Rename a directory that stands where a checkpoint is damaged or about to be written."""
        directory = self.directory / str(step)
        if jax.process_index() or not directory.exists():
            return
        number = 1
        while (target := self.directory / f"{step}.damaged-{number}").exists():
            number += 1
        directory.rename(target)

    def _set_aside(self, steps: list[int]) -> None:
        """Rename damaged checkpoints, so that their steps can be saved again."""
        if self.read_only or not steps:
            return
        try:
            for step in steps:
                self._move_aside(step)
        except OSError as error:
            raise CheckpointError(
                f"Cannot move damaged checkpoints aside: {_reason(error)}"
            ) from error
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("gan_jax: damaged checkpoints moved aside")
        # The next save opens another manager, which lists the directory anew.
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()

    def _read(self, step: int, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Read and verify one checkpoint.

        Raises:
          _DamageError: any process read something else than what was saved.
          CheckpointError: any process cannot read it now; or it is whole, but of another state.
        """
        directory = self.directory / str(step)
        wanted = _abstract_leaves(abstract_state)
        body: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        failure: Exception | None = None
        try:
            body = _unseal((directory / _META / "metadata").read_bytes())
            if body["step"] != step:
                raise _DamageError(f"its metadata are of step {body['step']}")
            if body["format"] == _FORMAT:
                meta, records = body["meta"], body["leaves"]
                saved = {name: _Leaf(tuple(r["shape"]), r["dtype"]) for name, r in records.items()}
                sums = {name: r["crc32"] for name, r in records.items()}
                generators = {name: r["generator"] for name, r in records.items()}
        except Exception as error:
            failure = error
        _agree(failure, directory, "unreadable metadata")

        if body["format"] != _FORMAT:
            raise CheckpointError(
                f"Checkpoint {directory} has format {body['format']!r}; accepted: {_FORMAT}."
            )
        expected = {name: _leaf(value) for name, value in wanted.items()}
        if saved != expected:
            raise CheckpointError(_mismatch(directory, saved, expected))

        try:
            stored = {name: _stored(value) for name, value in wanted.items()}
            arrays = _read_arrays(directory / _STATE, stored, sums)
        except Exception as error:
            failure = error
        _agree(failure, directory, "unreadable arrays")

        values = [_place(arrays[name], value, generators[name]) for name, value in wanted.items()]
        return jax.tree.unflatten(jax.tree.structure(abstract_state), values), meta


class _Kept:
    """The policy, as Orbax asks it at every save, that keeps the step which it is told to."""

    step: int | None = None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        """Return, for each checkpoint, whether it is that step's."""
        del context
        return [checkpoint.step == self.step for checkpoint in checkpoints]


class _DamageError(Exception):
    """A checkpoint is not what was saved; the message says how it was found out."""


@functools.cache
def _orbax() -> Any:
    """Import Orbax, which takes a third of a second, and quieten it.

    Its failures reach the user as ``CheckpointError``, in one line and once. Side effects, for the
    whole process:

    - Orbax's records are dropped from absl's log unless absl's verbosity is DEBUG
      (``--verbosity=1``).
    - ``sys.unraisablehook`` passes over one report: where several reads or writes fail at once,
      Orbax tells of the first and closes its event loop, and each of the others then finds it
      closed. ``asyncio``'s log passes over the same of its tasks, and of TensorStore's futures,
      which it calls "never retrieved".
    """
    import orbax.checkpoint as ocp

    def is_wanted(record: logging.LogRecord) -> bool:
        from_orbax = "/orbax/" in record.pathname.replace("\\", "/")
        return not from_orbax or absl_logging.get_verbosity() >= absl_logging.DEBUG

    def is_news(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "never retrieved" not in message or not _OF_A_CHECKPOINT.search(message)

    absl_logging.get_absl_logger().addFilter(is_wanted)
    logging.getLogger("asyncio").addFilter(is_news)
    report = sys.unraisablehook

    def report_others(event: Any) -> None:
        late = isinstance(event.exc_value, RuntimeError) and event.object is None
        if not (late and str(event.exc_value) == "Event loop is closed"):
            report(event)

    sys.unraisablehook = report_others
    return ocp


def _remove_interrupted(directory: Path) -> None:
    """Remove the temporary directories of interrupted or failed saves.

    After a failed save some of TensorStore's writers may still be at work, which nobody can wait
    for: what they make is removed until they are done, because the next save of that step uses the
    same temporary name.
    """
    pattern = "*.orbax-checkpoint-tmp*"
    deadline = time.monotonic() + 5
    while lefts := list(directory.glob(pattern)):
        for left in lefts:
            shutil.rmtree(left, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.1)


def _reason(error: BaseException) -> str:
    """Return what an error says in one line, and no more of TensorStore's than the user needs."""
    if isinstance(error, OSError) and error.strerror:
        return atomic.reason(error)
    text = " ".join(str(error).split())
    if not text or isinstance(error, LookupError | TypeError | AttributeError):
        text = f"{type(error).__name__}: {text}"
    if (code := _system_code(text)) is not None:
        return atomic.reason(OSError(code, os.strerror(code)))
    text = re.sub(r"\s*\[(source locations|tensorstore_spec)=.*", "", text)
    # The cause is told last.
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-195:]}"


def _system_code(text: str) -> int | None:
    """Return the ``errno`` of which TensorStore tells in the text of an error."""
    code = re.search(r"os_error_code='(\d+)'", text)
    return int(code[1]) if code else None


def _is_key(value: Any) -> bool:
    """Return whether a leaf is an array of typed random keys."""
    return hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def _leaf(value: Any) -> _Leaf:
    """Return the record of a concrete or abstract leaf."""
    if isinstance(value, bool | int | float):
        value = np.asarray(value)
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(f"A leaf of the state is a {type(value).__name__}; accepted: arrays.")
    return _Leaf(tuple(value.shape), str(value.dtype))


def _stored(value: Any) -> _Leaf:
    """Return the record of what is stored of a leaf: of random keys, their data."""
    return _leaf(jax.eval_shape(jax.random.key_data, value) if _is_key(value) else value)


def _abstract_leaves(state: PyTree) -> dict[str, Any]:
    """Return the leaves of a state by their path, in the order of ``jax.tree.leaves``."""
    leaves: dict[str, Any] = {}
    for path, value in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "state"
        if name in leaves:
            raise TypeError(f"Two leaves of the state have the path {name!r}.")
        leaves[name] = value
    return leaves


def _to_host(state: PyTree) -> tuple[dict[str, _Leaf], dict[str, np.ndarray]]:
    """Return, by path, each leaf's record and its value (a key's data) in host memory."""
    leaves = _abstract_leaves(state)
    records = {
        name: dataclasses.replace(_leaf(value), generator=str(jax.random.key_impl(value)))
        if _is_key(value)
        else _leaf(value)
        for name, value in leaves.items()
    }
    data = {
        name: jax.random.key_data(value) if _is_key(value) else value
        for name, value in leaves.items()
    }
    return records, {name: np.asarray(value) for name, value in jax.device_get(data).items()}


def _crc32(array: np.ndarray) -> int:
    """Return the CRC-32 of an array's bytes, in C order."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _canonical(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _seal(body: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as they are stored: with their own CRC-32."""
    # Through JSON once, so that tuples and integer keys already are what the reader will see.
    body = json.loads(json.dumps(body))
    return {"crc32": zlib.crc32(_canonical(body)), "body": body}


def _unseal(text: bytes) -> dict[str, Any]:
    """Return the metadata of a stored text.

    Raises:
      _DamageError: the text is not what was stored.
    """
    try:
        sealed = json.loads(text)
        body, crc32 = sealed["body"], sealed["crc32"]
    except (ValueError, KeyError, TypeError) as error:
        raise _DamageError("its metadata are not the JSON that was written") from error
    if zlib.crc32(_canonical(body)) != crc32:
        raise _DamageError("the checksum of its metadata is wrong")
    return body


def _read_arrays(
    directory: Path, stored: Mapping[str, _Leaf], sums: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Read the arrays of a checkpoint into host memory and verify each.

    Args:
      directory: of the arrays.
      stored: what each has to be, by path.
      sums: the CRC-32 of each.

    Raises:
      _DamageError: an array is not what was saved.
      Exception: whatever Orbax or the file system raise at damaged files.
    """
    ocp = _orbax()
    arrays: dict[str, np.ndarray] = {}
    on_disk = [name for name, leaf in stored.items() if 0 not in leaf.shape]
    if on_disk:
        # Orbax takes a folder that it may not read for one that is missing.
        for _ in os.walk(directory, onerror=_raise):
            pass
        handler = ocp.PyTreeCheckpointHandler()
        try:
            arrays = handler.restore(
                epath.Path(directory),
                args=ocp.args.PyTreeRestore(
                    item=dict.fromkeys(on_disk, 0),
                    restore_args={
                        name: ocp.RestoreArgs(restore_type=np.ndarray) for name in on_disk
                    },
                ),
            )
        finally:
            handler.close()
    for name, leaf in stored.items():
        if 0 in leaf.shape:
            arrays[name] = np.empty(leaf.shape, leaf.dtype)
        # The checksum is of the bytes alone.
        if (found := _leaf(arrays[name])) != leaf:
            raise _DamageError(f"leaf {name} is {found}, but was saved as {leaf}")
        if _crc32(arrays[name]) != sums[name]:
            raise _DamageError(f"the checksum of leaf {name} is wrong")
    return arrays


def _raise(error: OSError) -> NoReturn:
    raise error


def _agree(failure: Exception | None, directory: Path, what: str) -> None:
    """Raise an error of the same kind in every process if any of them met a failure.

    Args:
      failure: what this process met.
      directory: of the checkpoint.
      what: could not be read.

    Raises:
      _DamageError: some process found damage, and none met anything worse.
      CheckpointError: some process cannot read it now; who knows what it would have found.
    """
    own = _FINE
    if failure is not None:
        own = _TROUBLE if _is_passing(failure) else _DAMAGE
    worst = own
    if jax.process_count() > 1:
        worst = int(np.max(multihost_utils.process_allgather(np.int32(own))))
    if worst == _TROUBLE:
        reason = "another process says why"
        if failure is not None and own == worst:
            reason = _reason(failure)
        raise CheckpointError(
            f"Checkpoint {directory} cannot be read: {reason}. It need not be damaged, and is left "
            "as it is: start the same command again once that is mended, or rename it to go on "
            "from the one before."
        ) from failure
    if failure is None and worst == _DAMAGE:
        raise _DamageError("another process could not read it")
    if isinstance(failure, _DamageError):
        raise failure
    if failure is not None:
        raise _DamageError(f"{what}: {_reason(failure)}") from failure


def _is_passing(error: BaseException) -> bool:
    """Return whether a failed read says nothing of what is on disk."""
    if isinstance(error, MemoryError):
        return True
    code = error.errno if isinstance(error, OSError) else _system_code(str(error))
    if code in _PASSING:
        return True
    return error.__cause__ is not None and _is_passing(error.__cause__)


def _mismatch(directory: Path, saved: Mapping[str, _Leaf], expected: Mapping[str, _Leaf]) -> str:
    """Return the message that a checkpoint has other leaves than the state."""
    lines = []
    for name in [*expected, *(name for name in saved if name not in expected)]:
        if name not in saved:
            lines.append(f"{name}: not in the checkpoint, {expected[name]} in the state")
        elif name not in expected:
            lines.append(f"{name}: {saved[name]} in the checkpoint, not in the state")
        elif saved[name] != expected[name]:
            lines.append(f"{name}: {saved[name]} in the checkpoint, {expected[name]} in the state")
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return (
        f"Checkpoint {directory} is of another model, {len(lines)} of its leaves differ: "
        f"{'; '.join(lines[:_LISTED])}{more}."
    )


def _place(array: np.ndarray, abstract: Any, generator: str | None) -> Any:
    """Return a host array as the kind of leaf, and where, the abstract leaf asks for."""
    if isinstance(abstract, bool | int | float):
        return type(abstract)(array.item())
    if isinstance(abstract, np.ndarray | np.generic):
        return array
    sharding = getattr(abstract, "sharding", None)
    if sharding is None:
        placed = jax.device_put(array)
    else:
        # A key's data have axes behind those of the key, which no sharding of the key mentions.
        placed = jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
    if _is_key(abstract):
        return jax.random.wrap_key_data(placed, impl=generator)
    return placed
