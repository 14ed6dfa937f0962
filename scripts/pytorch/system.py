"""What the references share: where they run, and how their networks are updated and averaged."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import swa_utils

from gan_jax import errors
from gan_jax.games.game import Game, images_per_step


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

    def images(self, count: int, shape: Sequence[int]) -> torch.Tensor:
        """Return random images in [-1, 1] of a shape ``(height, width, channels)``."""
        height, width, channels = shape
        images = torch.rand(count, channels, height, width, device=self.device)
        return images.mul(2).sub(1).contiguous(memory_format=self._format)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of forward passes."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)


@dataclasses.dataclass(frozen=True)
class System:
    """A reference.

    Attributes:
      networks: by the name that they have in the game.
      optimizers: by the name of the player.
      step: makes one train step, and returns a loss.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    step: Callable[[], float]


def make_optimizer(group: Any, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that a group of ``config.optimizer`` describes."""
    own, rate = group[group.name], group.learning_rate
    if group.name == "adam":
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


def make_average(config: Any, game: Game, networks: Iterable[nn.Module]) -> Callable[[], None]:
    """Return what updates the moving averages of networks after a train step, if any are kept."""
    half_life = config.ema.half_life
    if not half_life:
        return lambda: None
    decay = 0.5 ** (images_per_step(game, config.train.batch_size) / half_life)
    function = swa_utils.get_ema_multi_avg_fn(decay)
    averages = [(swa_utils.AveragedModel(own, multi_avg_fn=function), own) for own in networks]

    def average() -> None:
        for averaged, network in averages:
            averaged.update_parameters(network)

    return average
