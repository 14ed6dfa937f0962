"""What writers to services have in common: their runs outlive a process, and take no point back."""

import abc
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from typing_extensions import override

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic
from gan_jax.report.writers.writer import Writer


class Tracker(Writer):
    """Sends metrics and images to a run of a service, each step once.

    A run that is resumed repeats the steps after its checkpoint bit for bit, so those that the
    service has received are left out. A file of the run directory has the service's name of the run
    and the last step of each kind that was sent; a kill between sending and writing it doubles one
    step.

    Args:
      workdir: the run directory.
      name: of the service, and of the file.
    """

    def __init__(self, workdir: Path, name: str):
        self._file = workdir / f"{name}.json"
        try:
            self._sent: dict[str, int | str] = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            self._sent = {}
        except (OSError, ValueError) as error:
            raise WorkdirError(f"Cannot read {self._file}: {error}") from error

    @property
    def run_id(self) -> str | None:
        """The service's name of the run that is continued; ``None``: there is none yet."""
        found = self._sent.get("id")
        return None if found is None else str(found)

    def keep(self, run_id: str) -> None:
        """Record the service's name of the run."""
        self._note("id", run_id)

    @abc.abstractmethod
    def send_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers of a step."""

    @abc.abstractmethod
    def send_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Send an image of a step, as `Writer.image` is given it."""

    @override
    def scalars(self, step: int, values: Mapping[str, float], *, kimg: float | None = None) -> None:
        if self._is_new("metrics", step):
            self.send_metrics(step, dict(values) if kimg is None else {**values, "kimg": kimg})
            self._note("metrics", step)

    @override
    def curves(self, step: int, values: Mapping[str, float]) -> None:
        if self._is_new("curves", step):
            self.send_metrics(step, values)
            self._note("curves", step)

    @override
    def image(self, step: int, name: str, image: np.ndarray) -> None:
        if self._is_new(f"image {name}", step):
            self.send_image(step, name, image)
            self._note(f"image {name}", step)

    def _is_new(self, kind: str, step: int) -> bool:
        return step > int(self._sent.get(kind, -1))

    def _note(self, kind: str, value: int | str) -> None:
        self._sent[kind] = value
        atomic.write_text(self._file, json.dumps(self._sent, indent=2) + "\n")


def settings_of(workdir: Path) -> dict[str, object]:
    """Return the configuration that a run directory records, by dotted field."""
    file = workdir / "config.json"
    flat: dict[str, object] = {}

    def visit(group: Mapping[str, object], prefix: str) -> None:
        for name, value in group.items():
            if isinstance(value, Mapping):
                visit(value, f"{prefix}{name}.")
            else:
                flat[f"{prefix}{name}"] = value

    if file.exists():
        visit(json.loads(file.read_text("utf-8")), "")
    return flat
