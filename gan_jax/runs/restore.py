"""A trained run read back for use, from its directory alone and on whatever devices are here."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.evaluation import best
from gan_jax.games.game import Game, num_classes
from gan_jax.runs import build, replicas
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as one checkpoint has it.

    Attributes:
      path: the run directory.
      config: its configuration.
      game: what it trained.
      state: restored.
      step: train steps taken.
    """

    path: Path
    config: ConfigDict
    game: Game
    state: TrainState
    step: int


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """A run directory, opened for use.

    Attributes:
      path: the run directory.
      config: its configuration.
      training: what that describes, on one device.
      data: what ``data.json`` tells of its data set.
    """

    path: Path
    config: ConfigDict
    training: build.Training
    data: Mapping[str, Any]

    @property
    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, ascending."""
        with Checkpoints(RunDirectory(self.path).checkpoints, read_only=True) as checkpoints:
            return checkpoints.steps()

    def restore(self, step: int | None = None) -> Run:
        """Return the run at train step ``step``, or at its newest whole checkpoint.

        Raises:
          CheckpointError: it has no such checkpoint, or none that is whole.
        """
        directory = RunDirectory(self.path).checkpoints
        with Checkpoints(directory, read_only=True) as checkpoints:
            restored = checkpoints.restore(self.training.abstract_state, step)
        game = self.training.game
        return Run(self.path, self.config, game, restored.state, restored.step)


def open_run(path: str | os.PathLike[str]) -> OpenRun:
    """Return the run in ``path``; nothing is restored yet.

    Side effect: JAX computes in the run's precision from now on.

    Raises:
      WorkdirError: this is no run directory.
    """
    run = RunDirectory(path)
    config, data = run.read_config(), run.read_data()
    if (count := config.train.get("replicas", 1)) > 1:
        raise errors.WorkdirError(
            f"{run.path} holds {count} replicas; accepted: the directory of one of them, such as "
            f"{replicas.folders(run.path, count)[0]}"
        )
    # One device is enough to use a run, and its batch size need not divide by how many are here.
    config.num_devices = 1
    if "fsdp" in config:
        config.fsdp.devices = 1
    build.set_precision(config)
    training = build.make_training(config, tuple(data["shape"]), data.get("num_classes"))
    return OpenRun(run.path, config, training, data)


def load_run(path: str | os.PathLike[str], step: int | None = None) -> Run:
    """Return the run in ``path`` at train step ``step``, or at its newest whole checkpoint.

    Raises:
      WorkdirError: this is no run directory.
      CheckpointError: it has no such checkpoint, or none that is whole.
    """
    return open_run(path).restore(step)


def choose_step(path: str | os.PathLike[str], checkpoint: str) -> int | None:
    """Return the train step that ``--checkpoint`` means; ``None``: the newest that is whole.

    Args:
      path: the run directory.
      checkpoint: "latest", "best" or a train step.

    Raises:
      ConfigError: it is none of these.
      WorkdirError: there is no best one, since the run was not evaluated.
    """
    if checkpoint == "latest":
        return None
    if checkpoint == "best":
        found = best.read(path)
        if found is None:
            raise errors.WorkdirError(
                f"{path} has no {best.FILE}: it was not evaluated while it trained "
                "(config.eval.every); accepted: --checkpoint=latest, or a train step"
            )
        return found.step
    if not checkpoint.isdecimal():
        raise errors.ConfigError(
            f"--checkpoint={checkpoint}; accepted: latest, best, or a train step"
        )
    return int(checkpoint)


def check_label(run: OpenRun, label: int | None) -> None:
    """Check that samples of class ``label`` can be asked of ``run``.

    Raises:
      ConfigError: the run has no classes, or not that one.
    """
    classes = num_classes(run.training.game)
    if label is None:
        return
    if classes is None:
        raise errors.ConfigError(
            f"--label={label}, but {run.config.variant!r} is not class-conditional; "
            "accepted: no --label"
        )
    if not 0 <= label < classes:
        raise errors.ConfigError(f"--label={label}; accepted: 0 to {classes - 1}")
