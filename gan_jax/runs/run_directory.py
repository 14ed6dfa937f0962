"""A run's directory: its lock, its layout version, its configuration, the step of a checkpoint."""

import dataclasses
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from ml_collections import ConfigDict

import gan_jax
from gan_jax import errors, paths
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source
from gan_jax.evaluation import best
from gan_jax.report import atomic, lock, writers
from gan_jax.runs.config import chosen, create

#: The version of the layout: names and content of a run's files. Raise it with every change that
#: makes earlier directories unreadable.
LAYOUT = 2
# The errors of file systems without locks; Lustre has them with the mount option flock.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
# The record of that version.
_VERSION_FILE = "run.json"
#: The record of the run that a run has started from.
ORIGIN = "origin.json"

# Fields, and groups of them, that do not change what is trained, only where, how fast, and what is
# logged.
OPERATIONAL = (
    "data.data_dir",
    "data.device_cache_gib",
    "data.on_error",
    "data.path",
    "data.prefetch",
    "data.workers",
    "eval.",
    "fsdp.",
    "num_devices",
    "parallel",
    "profile.start",
    "profile.steps",
    "report.",
    "sample.",
    "train.checkpoint_every",
    "train.keep_every",
    "train.keep_latest",
    "train.log_every",
    "train.sample_every",
    "train.steps_per_call",
)


class RunDirectory:
    """A directory that this process holds for itself while it trains.

    Args:
      path: as a user gave it.
      field: that gave it, for messages.

    Attributes:
      path: the directory.

    Raises:
      ConfigError: the path is not on this machine.
    """

    def __init__(self, path: str | os.PathLike[str], field: str = "--workdir") -> None:
        self.path = paths.local(path, field).absolute()
        self._lock: BaseFileLock | None = None

    @property
    def checkpoints(self) -> Path:
        """The checkpoints' folder."""
        return self.path / "checkpoints"

    @property
    def classifier(self) -> Path:
        """The folder of the classifier by which the run is evaluated."""
        return self.path / "classifier"

    @property
    def samples(self) -> Path:
        """The sample grids' folder."""
        return self.path / "samples"

    def claim(self) -> None:
        """Make the directory and take its lock, which ends with the process.

        Raises:
          WorkdirError: it cannot be written to or locked, or another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock.acquire(self.path)
        except lock.InUseError as error:
            raise errors.WorkdirError(f"--workdir={self.path} is in use by {error}") from error
        except OSError as error:
            what = "locked" if error.errno in _NO_LOCKS else "written to"
            raise errors.WorkdirError(
                f"--workdir={self.path} cannot be {what}: {atomic.reason(error)}"
            ) from error

    def release(self) -> None:
        """Release the lock; idempotent."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def read_config(self) -> ConfigDict:
        """Return the run's configuration; fields that are newer than the run have their defaults.

        Raises:
          WorkdirError: there is none, it cannot be read, or another version has written it.
        """
        self._check_layout()
        return _completed(self._read_json("config.json"))

    def _check_layout(self) -> None:
        """Raise a `WorkdirError` if the directory has another layout."""
        if not (self.path / "config.json").exists():
            return
        # The first layout has no record of its version.
        recorded = (self.path / _VERSION_FILE).exists()
        found = self._read_json(_VERSION_FILE)["layout"] if recorded else 1
        if found != LAYOUT:
            raise errors.WorkdirError(
                f"{self.path} has run directory layout {found}, but gan_jax {gan_jax.__version__} "
                f"reads layout {LAYOUT} only: use the version that wrote it, or another --workdir"
            )

    def read_data(self) -> dict[str, Any]:
        """Return the record of the run's data set: name, shape, classes, fingerprint."""
        return self._read_json("data.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text())
        except OSError as error:
            raise errors.WorkdirError(
                f"{self.path} is no run directory: {name}: {error.strerror}"
            ) from error
        except ValueError as error:
            raise errors.WorkdirError(f"{self.path / name} is damaged: {error}") from error

    def write_config(self, config: ConfigDict) -> None:
        """Write the version of the layout, and the groups that the configuration chooses."""
        self._write_json(_VERSION_FILE, {"layout": LAYOUT, "gan_jax": gan_jax.__version__})
        self._write_json("config.json", plain(chosen(config)))

    def write_data(self, source: Source) -> None:
        """Write what a later use of the run needs to know of its data, which may be gone then."""
        self._write_json(
            "data.json",
            {
                "name": source.name,
                "spec": specs.to_json(source.spec),
                "size": len(source),
                "fingerprint": source.fingerprint(),
                "levels": source.levels and dataclasses.asdict(source.levels),
            },
        )

    def write_origin(self, origin: Mapping[str, Any]) -> None:
        """Write which run, and step of it, this one has started from."""
        self._write_json(ORIGIN, origin)

    def read_origin(self) -> dict[str, Any] | None:
        """Return the record of `write_origin`; ``None``: the run started from random weights."""
        return self._read_json(ORIGIN) if (self.path / ORIGIN).exists() else None

    def kimg(self, step: int, images: int) -> float:
        """Return the thousands of real images that were seen by a train step.

        Args:
          step: the train step.
          images: that one train step of this run sees; those of a run that it continues differ.
        """
        origin = self.read_origin() or {}
        if "kimg" not in origin:
            return step * images / 1000
        return origin["kimg"] + (step - origin["step"]) * images / 1000

    def has_checkpoints(self) -> bool:
        """Return whether the directory has any complete checkpoint."""
        return any(entry.name.isdecimal() for entry in self.checkpoints.glob("*"))

    def _write_json(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        atomic.write_text(self.path / name, text)

    def check_config(self, config: ConfigDict) -> None:
        """Check that the directory is new, or holds a run of ``config``.

        A run without logs and checkpoints, whose start has failed, may be started with another one.

        Raises:
          WorkdirError: it holds a run of another configuration (the message lists the fields that
            differ) or of another version.
        """
        saved = self.checkpoints.exists() and any(self.checkpoints.iterdir())
        if not (self.path / "config.json").exists():
            if saved:
                raise errors.WorkdirError(
                    f"--workdir={self.path} has checkpoints, but no config.json"
                )
            return
        old = self.read_config()
        if not saved and not writers.has_records(self.path):
            return
        schedules = [x for n, x in flat(chosen(config)).items() if n.endswith("schedule.name")]
        # If no schedule depends on the length, a run may be made longer.
        longer = ("train.steps",) if all(name == "constant" for name in schedules) else ()
        if changed := differences(old, config, allowed=longer):
            raise errors.WorkdirError(
                f"--workdir={self.path} holds a run of another configuration: "
                f"{'; '.join(changed)}. Choose the same values, or another --workdir, in which "
                f"--continue_from={self.path} continues this run with them."
            )

    def check_origin(self, place: str | None) -> None:
        """Check that a run of this directory started where ``--continue_from`` says.

        Raises:
          WorkdirError: it started otherwise, or it is to start elsewhere but has no checkpoint.
        """
        origin = self.read_origin() or {}
        continued = f"{origin['run']}@{origin['step']}" if "kimg" in origin else None
        if place is None and continued is not None and not self.has_checkpoints():
            raise errors.WorkdirError(
                f"--workdir={self.path} is of a run that continues another one, but was ended "
                f"before its first checkpoint; accepted: --continue_from={continued}"
            )
        if place is None or not self.has_checkpoints():
            return
        run, step = parse_place(place)
        path = RunDirectory(run).path.resolve()  # It may be given by a link, too.
        named = continued is not None and Path(origin["run"]).resolve() == path
        if not named or (step.isdecimal() and int(step) != origin["step"]):
            raise errors.WorkdirError(
                f"--workdir={self.path} holds a run that continues {continued or 'no other'}, not "
                f"--continue_from={place}; choose another --workdir"
            )


def parse_place(place: str) -> tuple[str, str]:
    """Return the run directory and the checkpoint that ``RUN@STEP`` or ``RUN`` names."""
    run, at, step = place.rpartition("@")
    if not at or paths.local(place, "--continue_from").exists():
        return place, "latest"
    return run, step


def differences(old: ConfigDict, config: ConfigDict, *, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return, in words, what a configuration trains otherwise than an older one.

    ``allowed`` are fields, or the first letters of these, that may differ beside `OPERATIONAL`.
    """
    there, now = flat(old), flat(_completed(plain(config)))
    return [
        f"{name}: {there.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name)
        and not name.startswith((*OPERATIONAL, *allowed))
        and not _goes_with_choice(name, there, now)
    ]


def _goes_with_choice(name: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether one configuration lacks a field because it has chosen something else.

    Then the field ``name`` of a group around it differs, and says so.
    """
    if name in old and name in new:
        return False
    parts = name.split(".")
    groups = [".".join(parts[:i]) for i in range(1, len(parts))]
    return any(old.get(f"{group}.name") != new.get(f"{group}.name") for group in groups)


def _completed(fields: Mapping[str, Any]) -> ConfigDict:
    """Return a configuration of these fields, with the defaults of those that are missing."""
    return chosen(ConfigDict(_filled(fields, plain(create()))))


def _filled(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were saved, and the defaults of those that were not."""
    groups = {name: default for name, default in defaults.items() if isinstance(default, dict)}
    return {
        **defaults,
        **saved,
        **{name: _filled(saved.get(name, {}), group) for name, group in groups.items()},
    }


def plain(config: ConfigDict) -> dict[str, Any]:
    """Return ``config`` as JSON would give it back."""
    return json.loads(json.dumps(config.to_dict()))


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Return the fields of ``config`` by dotted name, as JSON would give them back."""
    fields: dict[str, Any] = {}
    for name, value in plain(config).items():
        if isinstance(value, dict):
            fields |= flat(ConfigDict(value), f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def choose_step(path: str | os.PathLike[str], step: int | str | None) -> int | None:
    """Return the train step that ``step`` means; ``None``: the newest that is whole.

    Raises:
      ConfigError: it is not ``None``, "latest", "best" or a train step.
      WorkdirError: there is no best one, because the run was not evaluated.
    """
    if step is None or step == "latest":
        return None
    if step == "best":
        found = best.read(path)
        if found is None:
            raise errors.WorkdirError(
                f"{path} has no {best.FILE}: it was not evaluated while it trained "
                "(config.eval.every); accepted: latest, or a train step"
            )
        return found.step
    if not str(step).isdecimal():
        raise errors.ConfigError(f"checkpoint = {step}; accepted: latest, best, or a train step")
    return int(step)
