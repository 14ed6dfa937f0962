"""What the references share: where they run, and how their networks are updated and averaged."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import swa_utils

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.games.game import Game, batches_per_step, images_per_step
from gan_jax.training.ema import EMA

Batch = Mapping[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a reference runs, and how.

    Attributes:
      device: PyTorch's name of the device.
      bfloat16: autocast to it.
      channels_last: the memory format of images and of the kernels of convolutions.
    """

    device: str = "cpu"
    bfloat16: bool = False
    channels_last: bool = False

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, network: nn.Module) -> nn.Module:
        """Return the network on the device, in the memory format."""
        return network.to(self.device, memory_format=self._format)

    def put(self, x: torch.Tensor) -> torch.Tensor:
        """Return an array on the device, images in the memory format."""
        return x.to(
            self.device, memory_format=self._format if x.ndim == 4 else torch.preserve_format
        )

    def images(self, count: int, shape: Sequence[int]) -> torch.Tensor:
        """Return random images in [-1, 1] of a shape ``(height, width, channels)``."""
        height, width, channels = shape
        return self.put(torch.rand(count, channels, height, width).mul(2).sub(1))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of forward passes."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)


class Averages:
    """The moving averages of networks and of their statistics, as `gan_jax.training.ema` has them.

    Attributes:
      networks: the averages by the names of the networks, which are the networks themselves where
        the configuration keeps no averages.
    """

    def __init__(self, config: Any, game: Game, networks: Mapping[str, nn.Module]) -> None:
        self._ema = EMA(config.ema.half_life, config.ema.ramp_up, config.ema.start)
        self._images = images_per_step(game, config.train.batch_size)
        self._sources = networks
        self.networks: Mapping[str, nn.Module] = networks
        if self._ema.enabled:
            self.networks = {
                name: swa_utils.AveragedModel(own, multi_avg_fn=self._average, use_buffers=True)
                for name, own in networks.items()
            }

    def _average(self, averages: list[torch.Tensor], sources: list[torch.Tensor], _: Any) -> None:
        swa_utils.get_ema_multi_avg_fn(self._decay)(averages, sources, None)

    def update(self, done: int) -> None:
        """Update the averages after a train step, before which ``done`` were made."""
        if self._ema.enabled:
            self._decay = host_decay(self._ema, done, self._images)
            for name, averaged in self.networks.items():
                averaged.update_parameters(self._sources[name])


def host_decay(ema: EMA, done: int, images_per_step: int) -> float:
    """Return `EMA.decay`, computed on the host."""
    if done < ema.start:
        return 0.0
    seen = (done + 1) * images_per_step
    half_life = ema.half_life if ema.ramp_up is None else min(ema.half_life, seen * ema.ramp_up)
    return 0.5 ** (images_per_step / half_life)


@dataclasses.dataclass(frozen=True)
class System:
    """A reference.

    Attributes:
      networks: by the name that they have in the game.
      optimizers: by the name of the player.
      averages: of the networks that a user samples or translates with.
      step: makes one train step, given how many were made before it and `batches_per_step` batches
        in float32, and returns a loss.
      batches: random ones of the shapes that a step takes.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averages: Averages
    step: Callable[[int, Sequence[Batch]], float]
    batches: Sequence[Batch]


def make_optimizer(group: Any, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that a group of ``config.optimizer`` describes."""
    own, rate = group[group.name], group.learning_rate
    if group.name == "adam":
        errors.require(own.end_b2 is None, "adam.end_b2", own.end_b2, "none, with PyTorch")
        # On CPU the default is a loop over the parameters, which takes several times longer.
        return torch.optim.Adam(parameters, rate, (own.b1, own.b2), own.eps, fused=True)
    errors.require(group.name == "rmsprop", "optimizer.name", group.name, "adam, rmsprop")
    return torch.optim.RMSprop(parameters, rate, own.decay, own.eps, momentum=own.momentum or 0.0)


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Make a step of an optimizer, with gradients of its own parameters and no others."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    optimizer.zero_grad()
    loss.backward(inputs=parameters)
    optimizer.step()


def random_images(config: Any, game: Game, placement: Placement) -> list[Batch]:
    """Return random batches of images and classes for a step; of data without classes, class 0."""
    count, classes = config.train.batch_size, specs.num_classes(game.spec) or 1
    batch = {
        "image": placement.images(count, game.shape),
        "label": torch.randint(classes, (count,), device=placement.device),
    }
    return [batch] * batches_per_step(game)
