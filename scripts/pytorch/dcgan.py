"""The networks of `gan_jax.networks.dcgan`."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from gan_jax.networks.checks import halvings
from scripts.pytorch.layers import init_normal, make_norm, maybe_spectral


def _widths(own: Any, shape: Sequence[int]) -> list[int]:
    """Return the widths at half the resolution, a quarter, ... that of the coarsest map."""
    return [min(own.features << level, own.max_features) for level in range(halvings(shape))]


def _strided(own: Any, shape: Sequence[int], normalizations: Sequence[str]) -> nn.ModuleList:
    """Return convolutions of stride 2, each normalized, with LeakyReLU."""
    blocks, inputs, kernel = nn.ModuleList(), shape[2], own.kernel_size
    for width, normalization in zip(_widths(own, shape), normalizations, strict=True):
        bias = normalization in ("none", "spectral")
        conv = nn.Conv2d(inputs, width, kernel, 2, (kernel - 1) // 2, bias=bias)
        norm = nn.Identity() if bias else make_norm(normalization, width)
        activation = nn.LeakyReLU(0.2, inplace=True)
        blocks.append(nn.Sequential(conv, norm, activation))
        inputs = width
    blocks.apply(init_normal)
    for block, normalization in zip(blocks, normalizations, strict=True):
        block[0] = maybe_spectral(normalization)(block[0])
    return blocks


def _flat(own: Any, shape: Sequence[int]) -> int:
    """Return the number of features of the coarsest map."""
    height, width = (side >> halvings(shape) for side in shape[:2])
    return height * width * _widths(own, shape)[-1]


class Generator(nn.Module):
    """Latents [n, latent_dim], perhaps with classes [n], to images [n, channels, height, width]."""

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None) -> None:
        super().__init__()
        own, kernel = group.dcgan, group.dcgan.kernel_size
        self.classes = classes if group.conditioning == "concat" else None
        *widths, first = _widths(own, shape)
        sides = [side >> halvings(shape) for side in shape[:2]]
        bias = own.normalization == "none"
        # Output padding makes odd kernels double the resolution, too.
        doubled = {"stride": 2, "padding": (kernel - 1) // 2, "output_padding": kernel % 2}
        self.layers = nn.Sequential(
            nn.Linear(group.latent_dim + (self.classes or 0), _flat(own, shape), bias=bias),
            nn.Unflatten(1, (first, *sides)),
            make_norm(own.normalization, first),
            nn.ReLU(inplace=True),
        )
        for before, after in itertools.pairwise((first, *reversed(widths))):
            self.layers.append(nn.ConvTranspose2d(before, after, kernel, bias=bias, **doubled))
            self.layers.append(make_norm(own.normalization, after))
            self.layers.append(nn.ReLU(inplace=True))
        width = widths[0] if widths else first
        self.layers.append(nn.ConvTranspose2d(width, shape[2], kernel, **doubled))
        self.layers.append(nn.Tanh())
        self.layers.apply(init_normal)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return images in [-1, 1]."""
        if self.classes:
            z = torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], 1)
        return self.layers(z)


class Verdict(NamedTuple):
    """Scores [n], the activations of the hidden layers, the classifier's logits [n, classes]."""

    scores: torch.Tensor
    features: list[torch.Tensor]
    logits: torch.Tensor | None


class Discriminator(nn.Module):
    """Images [n, channels, height, width] to scores [n].

    Args:
      group: ``config.discriminator``.
      shape: of an image, ``(height, width, channels)``.
      classes: outputs of an auxiliary classifier; ``None``: there is none.
    """

    def __init__(self, group: Any, shape: Sequence[int], classes: int | None = None) -> None:
        super().__init__()
        own = group.dcgan
        first = "spectral" if own.normalization == "spectral" else "none"
        rest = [own.normalization] * (halvings(shape) - 1)
        self.blocks = _strided(own, shape, [first, *rest])
        flat = _flat(own, shape)
        self.score = maybe_spectral(own.normalization)(nn.Linear(flat, 1))
        self.classifier = nn.Linear(flat, classes) if classes else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return one score per image."""
        return self.judge(x).scores

    def judge(self, x: torch.Tensor) -> Verdict:
        """Return all outputs."""
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        x = x.flatten(1)
        logits = None if self.classifier is None else self.classifier(x)
        return Verdict(self.score(x)[:, 0], features, logits)


class Encoder(nn.Module):
    """Images [n, channels, height, width] to numbers [n, outputs]."""

    def __init__(self, group: Any, shape: Sequence[int], outputs: int) -> None:
        super().__init__()
        own = group.dcgan
        blocks = _strided(own, shape, [own.normalization] * halvings(shape))
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(_flat(own, shape), outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the numbers."""
        return self.layers(x)
