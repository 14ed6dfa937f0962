"""Trainings that take turns, and ours as one of them.

`scripts.pytorch.contestant` has PyTorch's.
"""

import abc
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from typing_extensions import override

from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import Source
from gan_jax.games.game import GenerativeGame
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build, replicas
from gan_jax.training import sampling, translating

SLICE_SECONDS = 2.0
SAMPLES_AT_ONCE = 250
TRANSLATED_AT_ONCE = 20


class Task(NamedTuple):
    """What is trained, on which data.

    Attributes:
      config: the configuration, of the length that is expected.
      source: the data set.
      arrays: it as it is stored, by field.
    """

    config: ConfigDict
    source: Source
    arrays: Mapping[str, np.ndarray]


class Contestant(abc.ABC):
    """A training that is made in slices.

    Attributes:
      name: in tables.
      startup: seconds until its first call of `_step` was done, from the data set in memory on.
      spent: seconds of its calls after the first.
      steps: train steps made.
      allotted: seconds that it may spend.
    """

    name: str

    def __init__(self) -> None:
        self.startup = self.spent = 0.0
        self.steps = self._at_start = 0
        self.allotted = 0.0

    def start(self) -> None:
        """Do all that precedes the second call of `_step`."""
        started = time.perf_counter()
        self._start()
        self.steps = self._at_start = self._step()
        self.startup = time.perf_counter() - started

    def run(self, seconds: float) -> None:
        """Make steps until they have taken some seconds, one at least."""
        started = time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            self.steps += self._step()
        self.spent += taken

    @property
    def step_seconds(self) -> float:
        """The seconds of one train step after the start."""
        return self.spent / max(1, self.steps - self._at_start)

    @abc.abstractmethod
    def _start(self) -> None:
        """Build and place everything."""

    @abc.abstractmethod
    def _step(self) -> int:
        """Make the next train steps, wait for their end, and return how many they are."""

    @abc.abstractmethod
    def sample(self, count: int, class_of: sampling.ClassOf | None) -> np.ndarray:
        """Return samples as the configuration makes them, uint8 ``[count, *shape]``.

        Args:
          count: how many.
          class_of: the classes by number of the sample; ``None``: the generator has no classes.
        """

    @abc.abstractmethod
    def translate(self, inputs: np.ndarray, direction: str) -> np.ndarray:
        """Return images translated in a direction of the game, uint8 ``[n, ...]`` from uint8."""


def take_turns(contestants: Sequence[Contestant]) -> None:
    """Let contestants make steps in slices of `SLICE_SECONDS` until each has spent its seconds.

    The next slice is that of whoever has spent the smallest share of its own, so that all meet the
    same load of the machine, and end together.
    """
    while left := [one for one in contestants if one.spent < one.allotted]:
        one = min(left, key=lambda one: one.spent / one.allotted)
        one.run(min(SLICE_SECONDS, one.allotted - one.spent))


def of_length(config: ConfigDict, steps: int) -> ConfigDict:
    """Return a configuration that is trained for a number of steps and does nothing else.

    Further fields in train steps that configurations with a reference set, such as the start of a
    learning rate's decay, keep their share of the length.
    """
    config = config.copy_and_resolve_references()
    before, train = config.train.steps, config.train
    if jax.default_backend() == "cpu":
        train.steps_per_call = 1  # The dispatch costs nothing, and slices end where they should.
    steps = max(1, steps // train.steps_per_call) * train.steps_per_call

    def scaled(count: int) -> int:
        return count * steps // before

    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        train[name] = steps
    config.eval.every = 0
    config.num_devices = 1
    config.ema.start = scaled(config.ema.start)
    config.game.paired.content_steps = scaled(config.game.paired.content_steps)
    for optimizer in config.optimizer.values():
        schedule = optimizer.schedule
        schedule.warmup_steps = scaled(schedule.warmup_steps)
        schedule.linear.decay_start = scaled(schedule.linear.decay_start)
        schedule.step.boundaries = tuple(map(scaled, schedule.step.boundaries))
    return config


def make_pipeline(task: Task, training: build.Training) -> Pipeline:
    """Return the order of a training's examples."""
    return replicas.make_pipeline(task.config, training, task.source)


class Ours(Contestant):
    """The training of a task by gan_jax, compiled anew.

    Attributes:
      initial: parameters by network before the first step.
    """

    name = "gan_jax"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self.initial: dict[str, Any] = {}

    @override
    def _start(self) -> None:
        config = self._task.config
        with build.matmul_precision(config):
            self._training = build.make_training(config, self._task.source.spec)
            self._state = self._training.init_state()
            pipeline = make_pipeline(self._task, self._training)
            self._training.lower_step(pipeline)()  # With the compiler's options of a run.
        networks = self._state.networks.items()
        self.initial = {name: jax.device_get(network.params) for name, network in networks}
        self._data = self._training.parallel.put_replicated(dict(self._task.arrays))
        self._batches = pipeline.batches(0)

    @override
    def _step(self) -> int:
        step = self._training.parallel
        batch = step.put_batch(next(self._batches))
        self._state, _ = step(self._state, self._data, batch)
        jax.block_until_ready(self._state)
        return self._task.config.train.steps_per_call

    @override
    def sample(self, count: int, class_of: sampling.ClassOf | None) -> np.ndarray:
        config, game = self._task.config, self._training.game
        assert isinstance(game, GenerativeGame)
        how = sampling.make_sampling(config)
        with build.matmul_precision(config):
            sampler = sampling.Sampler(
                game,
                seed=config.train.seed,
                batch_size=min(SAMPLES_AT_ONCE, count),
                sampling=how,
                devices=self._training.devices,
                class_of=class_of,
            )
            variables = sampler.place(sampling.chosen_variables(self._state, how))
            return sampler.samples(variables, count)

    @override
    def translate(self, inputs: np.ndarray, direction: str) -> np.ndarray:
        config, game = self._task.config, self._training.game
        assert isinstance(game, TranslationGame)
        variables = sampling.chosen_variables(self._state, sampling.make_sampling(config))
        with build.matmul_precision(config):
            network = translating.network(game, direction, variables)
            parts = parts_of(inputs, TRANSLATED_AT_ONCE)
            made = [network(x, None, np.zeros((len(x), 3), np.int32)) for x in parts]
        return np.concatenate([np.asarray(x) for x in made])


def parts_of(images: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield ``count`` images at a time."""
    for first in range(0, len(images), count):
        yield images[first : first + count]
