"""Checkpoints of a training state, written by Orbax.

A checkpoint is a directory named by its step. Orbax writes it under a temporary name and renames it
when it is complete, so a directory that bears a bare number was once whole. It holds two items:

- ``state``: the leaves of the state as a flat dictionary, named by their path
  (``networks/generator/params/Dense_0/kernel``). The structure around them (named tuples, empty
  states, ``None``) comes from the state that is restored into, so it needs no registration.
- ``meta``: one JSON file with the caller's metadata and, for every leaf, its shape, dtype and
  CRC-32; the file carries its own CRC-32 (`gan_jax.runs.integrity`).

Leaves pass through host memory as whole arrays, so the number of devices that saved does not matter
to the number that restores; with several processes a leaf has to be replicated (the state of this
project is).
"""

import contextlib
import dataclasses
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.experimental import multihost_utils

from gan_jax.errors import CheckpointError, require
from gan_jax.runs import checkpoint_files
from gan_jax.runs.checkpoint_files import FORMAT, META, STATE, Record
from gan_jax.runs.integrity import DamageError, crc32_of, seal
from gan_jax.runs.leaves import leaf_of, mismatch, named_leaves, place, stored_leaf, to_host
from gan_jax.runs.quiet_orbax import KeptStep, make_manager, orbax, reason_of, remove_interrupted

logger = logging.getLogger(__name__)

PyTree = Any

# Seconds that a process which fails waits for a save in which the others may take part.
_LEAVE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read.

    Attributes:
      step: the step that was restored.
      state: the pytree that was asked for.
      meta: the dictionary given to ``save``, after a round trip through JSON.
      skipped: newer checkpoints that were damaged, as (step, reason), newest first.
    """

    step: int
    state: PyTree
    meta: dict[str, Any]
    skipped: list[tuple[int, str]]


class Checkpoints:
    """The checkpoints of one run directory: saved in the background, verified when read.

    Use it as a context manager, or call ``close``. Every process of a multi-process run makes the
    same calls with the same arguments, on a directory that they share.

    Side effects, unless ``read_only``: makes the directory, and removes what interrupted saves
    have left in it.

    Args:
      directory: where the checkpoints are, or will be.
      keep_latest: number of the newest checkpoints that are kept.
      keep_every: every step that this divides is kept too; None for no such steps.
      read_only: nothing on disk is ever changed, and ``save`` is refused.

    Raises:
      ConfigError: ``keep_latest`` or ``keep_every`` is not positive.
      CheckpointError: the directory cannot be made or read.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep_latest: int = 2,
        keep_every: int | None = None,
        read_only: bool = False,
    ):
        for field, value in (("keep_latest", keep_latest), ("keep_every", keep_every)):
            require(value is None or value >= 1, field, value, "1 or more")
        self.directory = Path(directory).absolute()
        self.read_only = read_only
        self._keep_latest = keep_latest
        self._keep_every = keep_every
        self._kept = KeptStep()
        self._manager: Any = None
        self._saving: int | None = None
        if not read_only:
            self._make_directory()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
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

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(None if jax.process_count() == 1 else _LEAVE_SECONDS)

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, ascending, without one being written."""
        try:
            entries = list(self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"Cannot read checkpoints in {self.directory}: {reason_of(error)}"
            ) from error
        return sorted(
            int(entry.name) for entry in entries if re.fullmatch(r"0|[1-9]\d*", entry.name)
        )

    def agreed_steps(self) -> list[int]:
        """Return ``steps()``, which every process has to find the same.

        Raises:
          CheckpointError: in every process: they find different steps, or some cannot read them.
        """
        failure: CheckpointError | None = None
        try:
            steps = self.steps()
        except CheckpointError as error:
            steps, failure = [], error
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
        """Keep this step's checkpoint from now on, instead of the one that was kept so before."""
        self._kept.step = step

    def save(self, step: int, state: PyTree, meta: Mapping[str, Any]) -> None:
        """Start saving a state, and return once it is copied to host memory.

        The caller may donate or change the state as soon as this returns. A save that is still
        being written is waited for first. A step that is already saved is left as it is: a run that
        was resumed computes the same state again.

        Args:
          step: the step that the state is of, not negative.
          state: pytree of JAX arrays (typed random keys too), NumPy arrays and Python numbers.
          meta: JSON-able.

        Raises:
          CheckpointError: this save could not start, or the one before failed (disk full, for
            example); the checkpoints before it are intact.
          TypeError: ``meta`` is not JSON-able, or a leaf of the state is no array.
        """
        if self.read_only:
            raise CheckpointError(f"Cannot save in {self.directory}: it was opened read-only.")
        step = int(step)
        self.wait()
        manager = self.open()
        if step in manager.all_steps():
            return
        with jax.transfer_guard("allow"):
            leaves, arrays = to_host(state)
            body = {
                "format": FORMAT,
                "step": step,
                "meta": dict(meta),
                "leaves": {
                    name: {**dataclasses.asdict(leaf), "crc32": crc32_of(arrays[name])}
                    for name, leaf in leaves.items()
                },
            }
            ocp = orbax()
            args = ocp.args.Composite(
                **{
                    # Orbax refuses arrays without elements, which their metadata describe fully.
                    STATE: ocp.args.PyTreeSave(
                        {name: array for name, array in arrays.items() if array.size}
                    ),
                    META: ocp.args.JsonSave(seal(body)),
                }
            )
            try:
                self._move_aside(step)
                self._saving = step
                manager.save(step, args=args, force=True)
            except Exception as error:
                raise self._failed(step, error) from error

    def open(self) -> Any:
        """Open Orbax's manager, which takes an eighth of a second and a save needs; return it.

        Raises:
          CheckpointError: the file system refuses.
        """
        if self._manager is None:
            self._make_directory()
            # Several processes wait for each other, by way of their devices.
            with self._refused(), jax.transfer_guard("allow"):
                self._manager = make_manager(
                    self.directory, self._kept, self._keep_latest, self._keep_every
                )
        return self._manager

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
        """Wait for the last save, then close Orbax's threads; idempotent.

        Raises:
          CheckpointError: the last save failed; the checkpoints before it are intact.
        """
        try:
            self.wait()
        finally:
            self._drop_manager()

    def restore(self, abstract_state: PyTree, step: int | None = None) -> Restored:
        """Read a checkpoint into the structure and onto the shardings of ``abstract_state``.

        A damaged newest checkpoint (files missing, truncated or changed) is reported and skipped,
        and, unless read-only, renamed to ``<step>.damaged-<n>`` once an older one has been
        restored: it is not lost, and training can save that step again. One that cannot be read
        for another reason (no permission, no memory, a file system that does not answer) is left as
        it is, and no older one is used instead.

        Args:
          abstract_state: pytree of ``jax.ShapeDtypeStruct`` with shardings (without one: the
            default device); arrays and Python numbers serve too.
          step: which one; None for the newest that is whole.

        Raises:
          CheckpointError: there is none; the requested one is missing or damaged; all are damaged
            (each is listed, and left in place); one cannot be read now; the newest whole one has
            other leaves than ``abstract_state`` (the leaves are listed); or the processes find
            different checkpoints.
        """
        wanted = named_leaves(abstract_state)
        expected = {name: leaf_of(value) for name, value in wanted.items()}
        stored = {name: stored_leaf(value) for name, value in wanted.items()}

        def read(directory: Path, record: Record) -> PyTree:
            saved = {n: dataclasses.replace(x, generator=None) for n, x in record.leaves.items()}
            if saved != expected:
                raise CheckpointError(mismatch(directory, saved, expected))
            arrays = checkpoint_files.read_arrays(directory, record, stored)
            values = [
                place(arrays[name], value, record.leaves[name].generator)
                for name, value in wanted.items()
            ]
            return jax.tree.unflatten(jax.tree.structure(abstract_state), values)

        return self._first_whole(read, step)

    def read(self, paths: Sequence[str], step: int | None = None) -> Restored:
        """Read some leaves of a checkpoint as NumPy arrays, without a state to restore into.

        Args:
          paths: of sub-trees of the saved state, such as ``networks/generator/ema``.
          step: as for `restore`; damaged checkpoints are treated alike.

        Returns:
          A ``Restored``, whose state maps every path that has leaves to nested dictionaries.

        Raises:
          CheckpointError: as for `restore`.
        """

        def read(directory: Path, record: Record) -> PyTree:
            chosen = {
                (path, *name.removeprefix(f"{path}/").split("/")): name
                for path in paths
                for name in record.leaves
                if name.startswith(f"{path}/")
            }
            stored = {name: record.leaves[name] for name in chosen.values()}
            arrays = checkpoint_files.read_arrays(directory, record, stored)
            return traverse_util.unflatten_dict({k: arrays[n] for k, n in chosen.items()})

        return self._first_whole(read, step)

    def _first_whole(self, read: Callable[[Path, Record], PyTree], step: int | None) -> Restored:
        """Return what ``read`` gives for a step, or for the newest checkpoint that is whole."""
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
            directory = self.directory / str(candidate)
            with jax.transfer_guard("allow"):
                try:
                    record = checkpoint_files.read_record(directory, candidate)
                    state = read(directory, record)
                except DamageError as damage:
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
            return Restored(candidate, state, record.meta, skipped)

        damages = "; ".join(f"step {damaged}: {reason}" for damaged, reason in skipped)
        if step is not None:
            others = [other for other in available if other != step]
            raise CheckpointError(
                f"Damaged checkpoint, {damages}. Others in {self._listing(others)}"
            )
        raise CheckpointError(f"Every checkpoint in {self.directory} is damaged: {damages}.")

    def _listing(self, steps: list[int]) -> str:
        """Return the directory and some steps, for a message."""
        return f"{self.directory}: {', '.join(map(str, steps)) or 'none'}."

    def _make_directory(self) -> None:
        """Make the directory, and remove the temporary ones of interrupted saves from it."""
        with self._refused():
            if jax.process_index() == 0:
                self.directory.mkdir(parents=True, exist_ok=True)
                remove_interrupted(self.directory)

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """Report that the file system refuses."""
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"Cannot keep checkpoints in {self.directory}: {reason_of(error)}"
            ) from error

    def _failed(self, step: int, error: Exception) -> CheckpointError:
        """Return a failed save's error; drop the manager, whose list of steps is no longer true."""
        self._saving = None
        # It may raise the same failure again.
        with contextlib.suppress(Exception):
            self._drop_manager()
        kept = ", ".join(map(str, self.steps())) or "none"
        return CheckpointError(
            f"Could not save step {step} in {self.directory}: {reason_of(error)}; "
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
                f"Cannot move damaged checkpoints aside: {reason_of(error)}"
            ) from error
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("gan_jax: damaged checkpoints moved aside")
        # The next save opens another manager, which lists the directory anew.
        self._drop_manager()

    def _drop_manager(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()
