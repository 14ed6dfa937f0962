"""Layers that several networks of the references share."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_jax.errors import lookup

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "layer": lambda channels: nn.GroupNorm(1, channels),
}


def make_norm(name: str, channels: int) -> nn.Module:
    """Return the normalization of a name."""
    return lookup(NORMS, name, "normalization")(channels)


class ConditionalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization with a scale and a shift for each class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Normalize [n, c, h, w], each example by its class."""
        scale, shift = (table(labels)[:, :, None, None] for table in (self.scale, self.shift))
        return torch.addcmul(shift, super().forward(x), 1 + scale)


def maybe_spectral(normalization: str) -> Callable[[nn.Module], nn.Module]:
    """Return what a layer is wrapped with: spectral normalization where that is the choice."""
    return spectral_norm if normalization == "spectral" else lambda layer: layer


def init_normal(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and scales from N(1, 0.02), as DCGAN does; for `apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
