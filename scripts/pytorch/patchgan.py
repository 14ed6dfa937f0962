"""The discriminator of patches of `gan_jax.networks.patchgan`."""

from typing import Any

import torch
from torch import nn

from scripts.pytorch.layers import init_normal, make_norm


class Discriminator(nn.Module):
    """Images [n, inputs, height, width] to a map of scores [n, 1, height', width']."""

    def __init__(self, group: Any, inputs: int) -> None:
        super().__init__()
        own = group.patchgan
        self.layers = nn.Sequential()
        for index in range(own.layers + 1):
            width = min(own.features << index, own.max_features)
            normalization = own.normalization if index else "none"
            stride = 2 if index < own.layers else 1
            bias = normalization == "none"
            self.layers.append(nn.Conv2d(inputs, width, 4, stride, 1, bias=bias))
            self.layers.append(make_norm(normalization, width))
            self.layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = width
        self.layers.append(nn.Conv2d(inputs, 1, 4, 1, 1))
        self.layers.apply(init_normal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        return self.layers(x)
