"""A trained run read back for use, from its directory alone and on whatever devices are here."""

import dataclasses
import os
from pathlib import Path

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.games.game import Game
from gan_jax.training import build
from gan_jax.training.checkpoint import Checkpoints
from gan_jax.training.run_directory import RunDirectory
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


def load_run(path: str | os.PathLike[str], step: int | None = None) -> Run:
    """Return the run in ``path`` at train step ``step``, or at its newest whole checkpoint.

    Raises:
      WorkdirError: this is no run directory.
      CheckpointError: it has no such checkpoint, or none that is whole.
    """
    run = RunDirectory(path)
    config = run.read_config()
    shape = tuple(run.read_data()["shape"])
    # One device is enough to use a run, and its batch size need not divide by how many are here.
    config.num_devices = 1
    training = build.make_training(config, shape)
    with Checkpoints(run.checkpoints, read_only=True) as checkpoints:
        restored = checkpoints.restore(training.abstract_state, step)
    return Run(run.path, config, training.game, restored.state, restored.step)


def check_label(run: Run, label: int | None) -> None:
    """Check that samples of class ``label`` can be asked of ``run``.

    Raises:
      ConfigError: the run has no classes, or not that one.
    """
    classes = run.game.num_classes
    if label is None:
        return
    if classes is None:
        raise errors.ConfigError(
            f"--label={label}, but {run.config.variant!r} is not class-conditional; "
            "accepted: no --label"
        )
    if not 0 <= label < classes:
        raise errors.ConfigError(f"--label={label}; accepted: 0 to {classes - 1}")
