"""A run that continues another one with other settings, in a directory of its own."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data.sources import Source
from gan_jax.games.game import images_per_step, owner_starts, owner_steps
from gan_jax.runs import build
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.leaves import place
from gan_jax.runs.run import open_run
from gan_jax.runs.run_directory import RunDirectory, choose_step, differences, parse_place
from gan_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Parent:
    """A checkpoint of the run that a new run continues.

    Attributes:
      run: its directory.
      step: the train step of the checkpoint, from which the new run counts on.
      kimg: thousands of real images that had been seen.
      changes: in words, what is different in the new run.
      state: the whole train state, on the devices of the new run.
    """

    run: Path
    step: int
    kimg: float
    changes: tuple[str, ...]
    state: TrainState = dataclasses.field(repr=False)

    @property
    def record(self) -> dict[str, Any]:
        """What is recorded in the new run's directory, JSON-able."""
        return {
            "run": str(self.run),
            "step": self.step,
            "kimg": self.kimg,
            "changes": list(self.changes),
        }

    def words(self) -> list[tuple[str, str]]:
        """Return rows of the plan of the new run."""
        start = f"continues {self.run}, step {self.step:,}, {self.kimg:,.1f} kimg"
        return [("start", start), ("changed", "\n".join(self.changes) or "nothing")]


def read_parent(place: str, config: ConfigDict, training: build.Training, source: Source) -> Parent:
    """Return the checkpoint that a new run continues.

    Args:
      place: ``RUN@STEP``; the step may be ``best`` or ``latest``.
      config: the new run's configuration.
      training: what it describes.
      source: its data.

    Raises:
      ConfigError: a field has no effect, or the new run has no steps to take.
      WorkdirError: there is no such run.
      CheckpointError: it has no such checkpoint, or its state has other arrays.
    """
    path, step = parse_place(place)
    run = open_run(path)
    if config.init.run not in (None, run.config.init.run):
        raise errors.ConfigError(
            f"init.run = {config.init.run!r} with --continue_from; accepted: one of the two"
        )
    with Checkpoints(RunDirectory(run.path).checkpoints, read_only=True) as checkpoints:
        restored = checkpoints.restore(training.abstract_state, choose_step(run.path, step))
    if restored.step >= config.train.steps:
        raise errors.ConfigError(
            f"train.steps = {config.train.steps}, but --continue_from={place} has taken "
            f"{restored.step} already; accepted: more"
        )
    images = images_per_step(run.game, run.config.train.batch_size)
    changes = [x for x in differences(run.config, config) if not x.startswith("init.")]
    if (data := run.data["fingerprint"]) != source.fingerprint():
        changes.append(f"data: {data} there, {source.fingerprint()} now")
    return Parent(
        run.path,
        restored.step,
        RunDirectory(run.path).kimg(restored.step, images),
        tuple(changes),
        _adapted(restored.state, config.train.seed, training),
    )


def _adapted(state: TrainState, seed: int, training: build.Training) -> TrainState:
    """Return a state with the root key of a seed, and with the counts of this run's schedules."""
    steps, starts = owner_steps(training.game), owner_starts(training.game)
    at = int(state.step)

    def counted(network: str, x: Any) -> Any:
        if not isinstance(x, optax.ScaleByScheduleState):
            return x
        count = np.asarray(max(0, at - starts[network]) * steps[network], x.count.dtype)
        return optax.ScaleByScheduleState(place(count, x.count, None))

    networks = {
        name: network.replace(
            opt_state=jax.tree.map(
                lambda x, name=name: counted(name, x),
                network.opt_state,
                is_leaf=lambda x: isinstance(x, optax.ScaleByScheduleState),
            )
        )
        for name, network in state.networks.items()
    }
    key = jax.random.key(seed)
    data, kind = np.asarray(jax.random.key_data(key)), str(jax.random.key_impl(key))
    return state.replace(networks=networks, key=place(data, state.key, kind))
