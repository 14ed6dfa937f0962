"""The ResNets of WGAN-GP and SNGAN, as in `gan_jax.networks.resnet`.

The 1x1 convolutions of the shortcuts are at the lower resolution, as there.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_jax.networks.checks import halvings
from scripts.pytorch.layers import ConditionalBatchNorm2d, maybe_spectral


class UpBlock(nn.Module):
    """Residual block that doubles the resolution; ``norm`` makes the normalization of a width."""

    def __init__(self, channels: int, norm: Any = nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm_1 = norm(channels)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_2 = norm(channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor, *labels: torch.Tensor) -> torch.Tensor:
        """Map [n, c, h, w] to [n, c, 2h, 2w]; a conditional normalization takes labels [n]."""
        y = self.conv_1(F.interpolate(F.relu(self.norm_1(x, *labels)), scale_factor=2))
        y = self.conv_2(F.relu(self.norm_2(y, *labels)))
        return F.interpolate(self.shortcut(x), scale_factor=2) + y


class DownBlock(nn.Module):
    """Residual block of the discriminator, with or without halving the resolution."""

    def __init__(
        self, inputs: int, channels: int, downsample: bool, first: bool, normalization: str = "none"
    ) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        wrapped = maybe_spectral(normalization)
        self.conv_1 = wrapped(nn.Conv2d(inputs, channels, 3, padding=1))
        self.conv_2 = wrapped(nn.Conv2d(channels, channels, 3, padding=1))
        shortcut = nn.Conv2d(inputs, channels, 1)
        self.shortcut = wrapped(shortcut) if downsample else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, h, w] to [n, channels, h / 2, w / 2], or keep h and w."""
        y = self.conv_2(F.relu(self.conv_1(x if self.first else F.relu(x))))
        if self.downsample:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return self.shortcut(x) + y


class Generator(nn.Module):
    """Latents [n, latent_dim], perhaps with classes [n], to images [n, channels, height, width]."""

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None) -> None:
        super().__init__()
        features = group.resnet.features
        self.sides = [side >> halvings(shape) for side in shape[:2]]
        self.dense = nn.Linear(group.latent_dim, self.sides[0] * self.sides[1] * features)
        self.conditional = group.conditioning == "batch_norm"
        norm = nn.BatchNorm2d
        if self.conditional:
            norm = partial(ConditionalBatchNorm2d, classes=classes)
        self.blocks = nn.ModuleList(UpBlock(features, norm) for _ in range(halvings(shape)))
        self.norm = nn.BatchNorm2d(features)
        self.conv = nn.Conv2d(features, shape[2], 3, padding=1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return images in [-1, 1]."""
        x = self.dense(z).unflatten(1, (-1, *self.sides))
        for block in self.blocks:
            x = block(x, labels) if self.conditional else block(x)
        return torch.tanh(self.conv(F.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images [n, channels, height, width], perhaps with classes [n], to scores [n]."""

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None) -> None:
        super().__init__()
        own, features = group.resnet, group.resnet.features
        self.pooling = own.pooling
        down = halvings(shape) - 1
        blocks = [DownBlock(shape[2], features, True, True, own.normalization)]
        for index in range(1, down + 2):
            blocks.append(DownBlock(features, features, index < down, False, own.normalization))
        self.blocks = nn.Sequential(*blocks)
        wrapped = maybe_spectral(own.normalization)
        self.dense = wrapped(nn.Linear(features, 1))
        projects = group.conditioning == "projection"
        self.projection = wrapped(nn.Embedding(classes, features)) if projects else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return one score per image."""
        x = F.relu(self.blocks(x))
        x = x.mean((2, 3)) if self.pooling == "mean" else x.sum((2, 3))
        scores = self.dense(x)[:, 0]
        if self.projection is None:
            return scores
        return scores + (self.projection(labels) * x).sum(1)
