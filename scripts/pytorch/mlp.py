"""The MLPs of `gan_jax.networks.mlp`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def _hidden(inputs: int, widths: Sequence[int]) -> list[nn.Module]:
    """Return dense layers with LeakyReLU."""
    layers: list[nn.Module] = []
    for before, after in zip((inputs, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
    return layers


class Generator(nn.Module):
    """Latents [n, latent_dim] to images [n, channels, height, width]."""

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None) -> None:
        super().__init__()
        height, width, channels = shape
        widths = group.mlp.features
        self.layers = nn.Sequential(
            *_hidden(group.latent_dim, widths),
            nn.Linear(widths[-1], math.prod(shape)),
            nn.Tanh(),
            nn.Unflatten(1, (channels, height, width)),
        )

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return images in [-1, 1]."""
        return self.layers(z)


class Discriminator(nn.Module):
    """Images [n, channels, height, width] to scores [n]."""

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None) -> None:
        super().__init__()
        widths = group.mlp.features
        hidden = _hidden(math.prod(shape), widths)
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return one score per image."""
        return self.layers(x)[:, 0]
