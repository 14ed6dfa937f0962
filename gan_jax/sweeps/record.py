"""What a sweep's directory remembers: its definition and every run, so that it can go on.

    <workdir>/sweep.json      the definition, and every run with its overrides
    <workdir>/runs/<name>/    an ordinary run directory
    <workdir>/logs/<name>.txt what the run printed
    <workdir>/summary.*       the table

``sweep.json`` is written before the run that it names starts. One process holds the directory; the
tasks of a SLURM array share it.
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
_LISTED = 10  # Differences that a message lists.


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run, and what the sweep itself knows of it.

    Attributes:
      run: its name, group and overrides.
      stopped: whether the search has ended it early; it is not continued.
      defined: whether the configuration file still names it; it is not run if not.
    """

    run: Run
    stopped: bool = False
    defined: bool = True


@dataclasses.dataclass(frozen=True)
class Search:
    """How runs are chosen.

    Attributes:
      method: ``"grid"``: all that ``def sweep(add)`` names; else one of `search.METHODS`.
      metric: what ranks them; ``None``: the first that is measured.
      lower_is_better: of the metric.
      parameters: what a search may vary; none for a grid.
      num_samples: trials of a search in all.
      seeds: runs of each, with ``train.seed`` 0 to ``seeds - 1``; ``None``: the configuration's.
      seed: of the search itself.
    """

    method: str = "grid"
    metric: str | None = None
    lower_is_better: bool = True
    parameters: tuple[space.Parameter, ...] = ()
    num_samples: int = 0
    seeds: int | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep, as its directory remembers it.

    Attributes:
      config: the configuration file with its argument, ``FILE`` or ``FILE:ARG``, absolute.
      common: the overrides that all runs share, by dotted field.
      fields: every field of the configuration with these, as JSON would give it back.
      search: how runs are chosen.
      entries: the runs so far, in their order; the number of a run never changes.
      cwd: the folder that relative paths in the configuration start from.
    """

    config: str
    common: Mapping[str, Any]
    fields: Mapping[str, Any]
    search: Search
    entries: tuple[Entry, ...]
    cwd: str

    @property
    def runs(self) -> list[Run]:
        """The runs that are to be made."""
        return [entry.run for entry in self.entries if entry.defined]

    def entry(self, name: str) -> Entry:
        """Return the entry of a run."""
        return next(entry for entry in self.entries if entry.run.name == name)

    def adding(self, runs: Sequence[Run]) -> "Sweep":
        """Return the sweep with more runs at its end."""
        return dataclasses.replace(self, entries=(*self.entries, *map(Entry, runs)))

    def stopping(self, name: str) -> "Sweep":
        """Return the sweep with a run ended early."""
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
        """Return the file that a run's output goes to."""
        return self.path / "logs" / f"{name}.txt"

    def attempts(self, name: str) -> Path:
        """Return the file that tells when a run was started, and how that ended."""
        return self.path / "logs" / f"{name}.jsonl"

    def read(self) -> Sweep | None:
        """Return the sweep that the directory remembers; ``None`` if it is new.

        Raises:
          WorkdirError: the record is damaged.
        """
        file = self.path / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("version")
            search = content.pop("search")
            parameters = tuple(space.from_json(search.pop("parameters")))
            entries = tuple(
                Entry(Run(**entry.pop("run")), **entry) for entry in content.pop("entries")
            )
            return Sweep(**content, search=Search(**search, parameters=parameters), entries=entries)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise errors.WorkdirError(f"{file} is no record of a sweep: {error}") from error

    def write(self, sweep: Sweep) -> None:
        """Replace the record.

        Raises:
          WorkdirError: it cannot be written.
        """
        content = {"version": _VERSION, **dataclasses.asdict(sweep)}
        content["search"]["parameters"] = space.to_json(sweep.search.parameters)
        atomic.write_text(self.path / FILE, json.dumps(content, indent=1) + "\n")

    @contextlib.contextmanager
    def claim(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the directory, made where it is missing, until the end of the context.

        Args:
          shared: beside others that share it, too.

        Raises:
          WorkdirError: another process holds it, or it cannot be written to.
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
        """Ask whatever executes runs of this sweep, on any machine, to go on or to stop.

        Raises:
          WorkdirError: the request cannot be written.
        """
        atomic.write_text(self.path / _REQUEST, "stop\n" if stop else "go on\n")

    def asked_to_stop(self) -> bool:
        """Return whether runs are to stop."""
        # Read, not looked for: a network file system may remember for long that there was none.
        try:
            return (self.path / _REQUEST).read_text() == "stop\n"
        except OSError:
            return False


def merge(
    old: Sweep | None, new: Sweep, free: Sequence[str] = ()
) -> tuple[Sweep, list[str], list[str]]:
    """Return a sweep that goes on with what an earlier definition has begun.

    Args:
      old: what the directory remembers; ``None``: nothing.
      new: what is asked for now.
      free: fields, and groups of them with a dot behind, that do not change what is trained.

    Returns:
      The sweep; the names of runs that are new in it; and of those no longer defined.

    Raises:
      SweepError: it is another sweep; the message lists what differs.
    """
    if old is None:
        return new, [run.name for run in new.runs], []
    changed = [
        f"{what}: {before!r} there, {now!r} now"
        for what, before, now in [
            ("--config", Path(old.config).name, Path(new.config).name),
            ("--search", old.search.method, new.search.method),
            *(
                (field, old.fields.get(field), new.fields.get(field))
                for field in sorted(old.fields)
                if not field.startswith(tuple(free))
            ),
        ]
        if before != now
    ]
    if new.search.method != "grid" and old.search.method == new.search.method:
        changed += [
            f"{what}: {before!r} there, {now!r} now"
            for what, before, now in [
                ("--metric", old.search.metric, new.search.metric),
                ("--seeds", old.search.seeds, new.search.seeds),
                ("--search-seed", old.search.seed, new.search.seed),
                *_differences(old.search.parameters, new.search.parameters),
            ]
            if before != now
        ]
    if changed:
        more = f"; and {len(changed) - _LISTED} more" if len(changed) > _LISTED else ""
        raise errors.SweepError(
            f"the sweep is of another kind than the one that it goes on with: "
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


def _differences(
    old: Sequence[space.Parameter], new: Sequence[space.Parameter]
) -> list[tuple[str, Any, Any]]:
    """Return field, old and new parameter for all fields of two spaces."""
    before, now = ({p.field: p for p in parameters} for parameters in (old, new))
    return [(f"search of {f}", before.get(f), now.get(f)) for f in {**before, **now}]
