"""WGAN-GP's ResNets and train step in plain PyTorch, for benchmarks and tests alone.

The networks (with 1x1 convolutions at the lower resolution, as in ours), batches, losses and
optimizers of ``configs/wgan_gp.py``, in eager mode with autograd's double backward.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class UpBlock(nn.Module):
    """Residual block that doubles the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, c, h, w] to [n, c, 2h, 2w]."""
        y = self.conv_1(F.interpolate(F.relu(self.norm_1(x)), scale_factor=2))
        y = self.conv_2(F.relu(self.norm_2(y)))
        return F.interpolate(self.shortcut(x), scale_factor=2) + y


class DownBlock(nn.Module):
    """Residual block of the critic, with or without halving the resolution."""

    def __init__(self, inputs: int, channels: int, downsample: bool, first: bool) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        self.conv_1 = nn.Conv2d(inputs, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, channels, 1) if downsample else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, h, w] to [n, channels, h / 2, w / 2], or keep h and w."""
        y = self.conv_2(F.relu(self.conv_1(x if self.first else F.relu(x))))
        if self.downsample:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return self.shortcut(x) + y


class Generator(nn.Module):
    """Latents [n, latent_dim] to images [n, channels, resolution, resolution]."""

    def __init__(self, resolution: int, channels: int, features: int, latent_dim: int) -> None:
        super().__init__()
        self.features = features
        self.dense = nn.Linear(latent_dim, 16 * features)
        blocks = (resolution // 4).bit_length() - 1
        self.blocks = nn.Sequential(*(UpBlock(features) for _ in range(blocks)))
        self.norm = nn.BatchNorm2d(features)
        self.conv = nn.Conv2d(features, channels, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return images in [-1, 1]."""
        x = self.dense(z).view(-1, self.features, 4, 4)
        return torch.tanh(self.conv(F.relu(self.norm(self.blocks(x)))))


class Critic(nn.Module):
    """Images [n, channels, resolution, resolution] to scores [n]."""

    def __init__(self, resolution: int, channels: int, features: int) -> None:
        super().__init__()
        down = (resolution // 8).bit_length() - 1
        blocks = [DownBlock(channels, features, True, True)]
        blocks += [DownBlock(features, features, i < down, False) for i in range(1, down + 2)]
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Linear(features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one score per image."""
        return self.dense(F.relu(self.blocks(x)).mean((2, 3)))[:, 0]


def copy_weights(module: nn.Module, params: Mapping[str, Any]) -> None:
    """Copy the weights of our generator or critic into ``module``, by order of the layers."""
    ours = [np.asarray(leaf) for leaf in _layers(params, isinstance(module, Generator))]
    theirs = list(module.parameters())
    for array, parameter in zip(ours, theirs, strict=True):
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        if array.ndim == 2:
            array = array.T
        with torch.no_grad():
            parameter.copy_(torch.tensor(np.ascontiguousarray(array)))


def _layers(params: Mapping[str, Any], generator: bool) -> list[Any]:
    """Return our leaves in the order of PyTorch's ``parameters()``."""
    dense = params["Dense_0"]
    blocks = [params[name] for name in sorted(params) if "Block" in name]
    leaves: list[Any] = []
    if generator:
        kernel = np.asarray(dense["kernel"])
        # Ours fills [4, 4, features], PyTorch's view [features, 4, 4].
        order = np.arange(kernel.shape[1]).reshape(4, 4, -1).transpose(2, 0, 1).ravel()
        leaves += [kernel[:, order], np.asarray(dense["bias"])[order]]
    for block in blocks:
        for name in ("norm_1", "norm_2"):
            if name in block:
                leaves += [block[name]["scale"], block[name]["bias"]]
        for name in ("conv_1", "conv_2", "shortcut"):
            if name in block:
                leaves += [block[name]["kernel"], block[name]["bias"]]
    if generator:
        norm, conv = params["BatchNorm_0"], params["Conv_0"]
        return [*leaves, norm["scale"], norm["bias"], conv["kernel"], conv["bias"]]
    return [*leaves, dense["kernel"], dense["bias"]]


def penalty(critic: nn.Module, between: torch.Tensor) -> torch.Tensor:
    """Return the gradient penalty at ``between``, per image, with a graph to differentiate."""
    between = between.detach().requires_grad_()
    score = critic(between).sum()
    (slope,) = torch.autograd.grad(score, between, create_graph=True)
    norm = (slope.float().square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (norm - 1).square()


def make_step(
    resolution: int,
    channels: int,
    features: int,
    latent_dim: int,
    batch_size: int,
    critic_steps: int,
    device: str = "cpu",
    bfloat16: bool = False,
    channels_last: bool = False,
) -> Callable[[], float]:
    """Return a function that makes one train step on random data and returns the critic's loss."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    generator = Generator(resolution, channels, features, latent_dim).to(device)
    critic = Critic(resolution, channels, features).to(device)
    generator.to(memory_format=memory_format)
    critic.to(memory_format=memory_format)
    optimize_generator = torch.optim.Adam(generator.parameters(), 2e-4, (0.0, 0.9))
    optimize_critic = torch.optim.Adam(critic.parameters(), 2e-4, (0.0, 0.9))
    shape = (batch_size, channels, resolution, resolution)
    data = torch.rand(shape, device=device).mul(2).sub(1).contiguous(memory_format=memory_format)

    def latents() -> torch.Tensor:
        return torch.randn(batch_size, latent_dim, device=device)

    def step() -> float:
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            for _ in range(critic_steps):
                with torch.no_grad():
                    fake = generator(latents())
                epsilon = torch.rand(batch_size, 1, 1, 1, device=device)
                between = epsilon * data + (1 - epsilon) * fake
                loss = critic(fake).mean() - critic(data).mean()
                loss = loss + 10 * penalty(critic, between).mean()
                optimize_critic.zero_grad()
                loss.backward()
                optimize_critic.step()
            objective = -critic(generator(latents())).mean()
            optimize_generator.zero_grad()
            objective.backward(inputs=list(generator.parameters()))
            optimize_generator.step()
        return loss.item()

    return step
