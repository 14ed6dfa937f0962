"""A sweep's directory, from which it can be resumed: its definition and every run.

    <workdir>/sweep.json      the definition, and every run with its overrides
    <workdir>/runs/<name>/    an ordinary run directory
    <workdir>/logs/<name>.txt the output of the run
    <workdir>/summary.*       the table

A run is written to ``sweep.json`` before it starts. One process locks the directory; the tasks of a
SLURM array share it.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax import errors
from gan_jax.report import atomic, lock
from gan_jax.sweeps import space
from gan_jax.sweeps.definition import Run

FILE = "sweep.json"
_VERSION = 1
_REQUEST = ".request"
_LISTED = 10  # Maximum number of differences that a message lists.


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run and its state in the sweep.

    Attributes:
      run: its name, group and overrides.
      stopped: whether the search has ended it early; it is not resumed.
      defined: whether the configuration file still defines it; otherwise it is not run.
    """

    run: Run
    stopped: bool = False
    defined: bool = True


@dataclasses.dataclass(frozen=True)
class Search:
    """How runs are chosen.

    Attributes:
      method: ``"grid"``: the runs of ``def sweep(add)``; else one of `search.METHODS`.
      metric: the metric by which runs are ranked; ``None``: the first that is measured.
      lower_is_better: whether smaller values of the metric are better.
      parameters: the fields that a search varies; empty for a grid.
      num_samples: total number of trials of a search.
      seeds: runs per trial, with ``train.seed`` 0 to ``seeds - 1``; ``None``: one run, with the
        configuration's seed.
      seed: seed of the search itself.
    """

    method: str = "grid"
    metric: str | None = None
    lower_is_better: bool = True
    parameters: list[space.Parameter] = dataclasses.field(default_factory=list)
    num_samples: int = 0
    seeds: int | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep as it is recorded.

    Attributes:
      config: the configuration file with its argument, ``FILE`` or ``FILE:ARG``, absolute.
      common: the overrides that all runs share, by dotted field.
      fields: every field of the configuration with these overrides, as JSON would return it.
      search: how runs are chosen.
      entries: the runs so far, in order; the number of a run never changes.
      cwd: the working directory, to which relative paths in the configuration refer.
    """

    config: str
    common: Mapping[str, Any]
    fields: Mapping[str, Any]
    search: Search
    entries: tuple[Entry, ...]
    cwd: str

    @property
    def runs(self) -> list[Run]:
        """The runs that are still defined."""
        return [entry.run for entry in self.entries if entry.defined]

    def adding(self, runs: Sequence[Run]) -> "Sweep":
        """Return the sweep with runs appended."""
        return dataclasses.replace(self, entries=(*self.entries, *map(Entry, runs)))

    def stopping(self, name: str) -> "Sweep":
        """Return the sweep with a run marked as stopped early."""
        entries = [
            dataclasses.replace(e, stopped=True) if e.run.name == name else e for e in self.entries
        ]
        return dataclasses.replace(self, entries=tuple(entries))


class Folder:
    """The directory of a sweep.

    Attributes:
      path: the directory, absolute.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()

    def run(self, name: str) -> Path:
        """Return the directory of a run."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """Return the file to which a run's output is written."""
        return self.path / "logs" / f"{name}.txt"

    def attempts(self, name: str) -> Path:
        """Return the file that records the attempts at a run."""
        return self.path / "logs" / f"{name}.jsonl"

    def read(self) -> Sweep | None:
        """Return the recorded sweep, or ``None`` if the directory is new.

        Raises:
          WorkdirError: the record is damaged.
        """
        file = self.path / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("version")
            search = content.pop("search")
            search["parameters"] = [space.Parameter(**one) for one in search["parameters"]]
            entries = [Entry(**{**one, "run": Run(**one["run"])}) for one in content.pop("entries")]
            return Sweep(**content, search=Search(**search), entries=tuple(entries))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise errors.WorkdirError(f"{file} is not a record of a sweep: {error}") from error

    def write(self, sweep: Sweep) -> None:
        """Replace the record.

        Raises:
          WorkdirError: the file cannot be written.
        """
        content = {"version": _VERSION, **dataclasses.asdict(sweep)}
        atomic.write_text(self.path / FILE, json.dumps(content, indent=1) + "\n")

    @contextlib.contextmanager
    def claim(self, *, shared: bool = False) -> Iterator[None]:
        """Create the directory if necessary and lock it for the duration of the context.

        Args:
          shared: take a shared lock, beside other processes that do the same.

        Raises:
          WorkdirError: another process has locked it, or it cannot be written to.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                sharers = "single runs of it (--only)"
                stack.enter_context(lock.hold(self.path, shared=shared, sharers=sharers))
            except lock.InUseError as error:
                raise errors.WorkdirError(
                    f"--workdir={self.path}: this sweep is in use by {error}"
                ) from error
            except OSError as error:
                raise errors.WorkdirError(
                    f"--workdir={self.path} cannot be written to: {error.strerror}"
                ) from error
            yield

    def ask(self, *, stop: bool) -> None:
        """Request all processes that execute runs of this sweep, on any machine, to stop or go on.

        Raises:
          WorkdirError: the request cannot be written.
        """
        atomic.write_text(self.path / _REQUEST, "stop\n" if stop else "go on\n")

    def asked_to_stop(self) -> bool:
        """Return whether runs have been requested to stop."""
        # Open the file instead of testing for it: network file systems cache its absence.
        try:
            return (self.path / _REQUEST).read_text() == "stop\n"
        except OSError:
            return False


def merge(
    old: Sweep | None, new: Sweep, free: Sequence[str] = ()
) -> tuple[Sweep, list[str], list[str]]:
    """Return the sweep that continues a recorded one, ``old``, under a new definition.

    Fields that begin with one of ``free`` do not affect training and may differ.

    Returns:
      The sweep, the names of its new runs, and the names of runs that are no longer defined.

    Raises:
      SweepError: the two are different sweeps; the message lists the differences.
    """
    if old is None:
        return new, [run.name for run in new.runs], []
    pairs: list[tuple[str, Any, Any]] = [
        ("--config", Path(old.config).name, Path(new.config).name),
        ("--search", old.search.method, new.search.method),
    ]
    pairs += [
        (field, value, new.fields.get(field))
        for field, value in sorted(old.fields.items())
        if not field.startswith(tuple(free))
    ]
    if new.search.method != "grid" and old.search.method == new.search.method:
        pairs += [
            ("--metric", old.search.metric, new.search.metric),
            ("--seeds", old.search.seeds, new.search.seeds),
            ("--search-seed", old.search.seed, new.search.seed),
        ]
        first, other = ({p.field: p for p in s.search.parameters} for s in (old, new))
        pairs += [(f"search of {f}", first.get(f), other.get(f)) for f in {**first, **other}]
    changed = [
        f"{what}: {one!r} there, {other!r} now" for what, one, other in pairs if one != other
    ]
    if changed:
        more = f"; and {len(changed) - _LISTED} more" if len(changed) > _LISTED else ""
        raise errors.SweepError(
            f"--workdir holds a sweep with a different definition: "
            f"{'; '.join(changed[:_LISTED])}{more}. Choose another --workdir, or the same values."
        )
    if new.search.method != "grid":
        return dataclasses.replace(new, entries=old.entries), [], []
    wanted = {run.name: run for run in new.runs}
    entries = []
    for entry in old.entries:
        run = wanted.pop(entry.run.name, None)
        if run is not None and run.overrides != entry.run.overrides:
            raise errors.SweepError(
                f'the run "{run.name}" has other overrides now: {dict(entry.run.overrides)} there, '
                f"{dict(run.overrides)} now. Give it another name, or choose another --workdir."
            )
        entries.append(dataclasses.replace(entry, run=run or entry.run, defined=run is not None))
    merged = dataclasses.replace(new, entries=(*entries, *map(Entry, wanted.values())))
    return merged, list(wanted), [e.run.name for e in entries if not e.defined]
