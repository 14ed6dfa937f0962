"""The training of a task by a reference."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from typing_extensions import override

from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build
from gan_jax.training import sampling
from scripts.contestants import (
    SAMPLES_AT_ONCE,
    TRANSLATED_AT_ONCE,
    Contestant,
    Task,
    make_pipeline,
    parts_of,
)
from scripts.pytorch import references
from scripts.pytorch.data import Batches, channels_first, channels_last, to_float, to_uint8
from scripts.pytorch.system import Placement
from scripts.pytorch.weights import copy_weights


class Theirs(Contestant):
    """The training of a task by PyTorch, from given parameters on.

    Args:
      task: what is trained.
      initial: parameters by network, as `scripts.contestants.Ours.initial`.
      **placement: fields of the placement.
    """

    name = "PyTorch"

    def __init__(self, task: Task, initial: Mapping[str, Any], **placement: Any) -> None:
        super().__init__()
        self._task, self._placement = task, Placement(**placement)
        config, spec = task.config, task.source.spec
        training = build.make_training(config, spec)
        self._game = training.game
        self._layout = make_pipeline(task, training).layout
        torch.manual_seed(config.train.seed)
        # A program in PyTorch alone would neither copy weights nor make the rates by JAX.
        self._system = references.make(config, spec, self._placement)
        for network, params in initial.items():
            copy_weights(self._game.networks[network], params, self._system.networks[network])
        self._rates = rates(training, config.train.steps)

    @override
    def _start(self) -> None:
        config = self._task.config
        prepare = build.make_prepare(config, self._task.source.spec)
        given = self._task.arrays, self._layout, prepare, self._game, self._placement
        self._batches = Batches(*given, config.train.seed)

    @override
    def _step(self) -> int:
        for name, optimizer in self._system.optimizers.items():
            rate = self._rates[name][min(self.steps, len(self._rates[name]) - 1)]
            for group in optimizer.param_groups:
                group["lr"] = rate
        self._system.step(self.steps, next(self._batches))
        return 1

    def _network(self, name: str) -> torch.nn.Module:
        return self._system.averages.networks[name].eval()

    @override
    def sample(self, count: int, class_of: sampling.ClassOf | None) -> np.ndarray:
        network, device = self._network("generator"), self._placement.device
        random = torch.Generator().manual_seed(self._task.config.train.seed)
        parts = []
        for first in range(0, count, SAMPLES_AT_ONCE):
            numbers = np.arange(first, min(first + SAMPLES_AT_ONCE, count), dtype=np.uint32)
            classes = np.zeros(len(numbers)) if class_of is None else class_of(numbers)
            labels = torch.tensor(np.asarray(classes)).long().to(device)
            shape = len(numbers), self._task.config.generator.latent_dim
            z = torch.randn(shape, generator=random).to(device)
            with torch.no_grad():
                parts.append(channels_last(to_uint8(network(z, labels))))
        return np.concatenate(parts)

    @override
    def translate(self, inputs: np.ndarray, direction: str) -> np.ndarray:
        assert isinstance(self._game, TranslationGame)
        (name,) = self._game.directions[direction].networks
        network, put = self._network(name), self._placement.put
        with torch.no_grad():
            parts = parts_of(inputs, TRANSLATED_AT_ONCE)
            made = [network(put(to_float(channels_first(x)))) for x in parts]
        return np.concatenate([channels_last(to_uint8(x)) for x in made])


def rates(training: build.Training, steps: int) -> dict[str, list[float]]:
    """Return the learning rate at each train step, by player; it stays at the last one."""
    found = {}
    for player in training.game.players:
        schedule = training.optimizers[player.networks[0]].learning_rate
        counts = jnp.maximum(jnp.arange(steps + 1, dtype=jnp.int32) - player.start, 0)
        each = jax.vmap(lambda count, schedule=schedule: jnp.asarray(schedule(count), jnp.float32))
        found[player.name] = np.asarray(each(counts)).tolist()
    return found
