"""A run's directory: its lock, its layout version, and its configuration."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from ml_collections import ConfigDict

import gan_jax
from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source
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

    Attributes:
      path: the directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._lock: BaseFileLock | None = None

    @property
    def checkpoints(self) -> Path:
        """The checkpoints' folder."""
        return self.path / "checkpoints"

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
        saved = self._read_json("config.json")
        return chosen(ConfigDict(_filled(saved, plain(create()))))

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
            },
        )

    def write_origin(self, origin: Mapping[str, Any]) -> None:
        """Write which run, and step of it, this one has started from."""
        self._write_json(ORIGIN, origin)

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
        old, new = flat(self.read_config()), flat(chosen(config))
        if not saved and not writers.has_records(self.path):
            return
        allowed: tuple[str, ...] = OPERATIONAL
        if all(
            value == "constant" for name, value in new.items() if name.endswith("schedule.name")
        ):
            # No schedule depends on the length, so a run may be made longer.
            allowed = (*allowed, "train.steps")
        changed = [
            f"{name}: {old.get(name)!r} there, {new.get(name)!r} now"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
            and not name.startswith(allowed)
            and not _goes_with_choice(name, old, new)
        ]
        if changed:
            raise errors.WorkdirError(
                f"--workdir={self.path} holds a run of another configuration: "
                f"{'; '.join(changed)}. Choose another --workdir, or the same values."
            )


def _goes_with_choice(name: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether one configuration lacks a field because it has chosen something else.

    Then the field ``name`` of a group around it differs, and says so.
    """
    if name in old and name in new:
        return False
    parts = name.split(".")
    groups = [".".join(parts[:i]) for i in range(1, len(parts))]
    return any(old.get(f"{group}.name") != new.get(f"{group}.name") for group in groups)


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
