"""The FID's Inception network in plain PyTorch, for benchmarks and tests alone.

The network of `gan_jax.metrics.inception` with the same arrays, as a PyTorch user would write it:
one convolution per layer, pools of the library, batch norm folded into the convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIZE = 299
_POOLS = {
    "mean": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "max": lambda: nn.MaxPool2d(3, 1, 1),
    "halving max": lambda: nn.MaxPool2d(3, 2),
}
# Blocks by name: branches, whose outputs are joined. A branch is pools, convolutions (with "/2" at
# half the resolution, without padding) and branches of its own, one after the other.
_DOUBLE = ["branch3x3dbl_1", "branch3x3dbl_2"]
_LAST = [
    ["branch1x1"],
    ["branch3x3_1", [["branch3x3_2a"], ["branch3x3_2b"]]],
    [*_DOUBLE, [["branch3x3dbl_3a"], ["branch3x3dbl_3b"]]],
]
_BLOCKS: dict[str, list[list[Any]]] = {
    "5": [
        ["branch1x1"],
        ["branch5x5_1", "branch5x5_2"],
        [*_DOUBLE, "branch3x3dbl_3"],
        ["mean", "branch_pool"],
    ],
    "6a": [["branch3x3/2"], [*_DOUBLE, "branch3x3dbl_3/2"], ["halving max"]],
    "6": [
        ["branch1x1"],
        ["branch7x7_1", "branch7x7_2", "branch7x7_3"],
        [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)],
        ["mean", "branch_pool"],
    ],
    "7a": [
        ["branch3x3_1", "branch3x3_2/2"],
        ["branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4/2"],
        ["halving max"],
    ],
    "7b": [*_LAST, ["mean", "branch_pool"]],
    "7c": [*_LAST, ["max", "branch_pool"]],
}


class Inception(nn.Module):
    """The network up to a layer, for inference.

    Args:
      weights: float32 arrays by name, as `gan_jax.metrics.inception.load_weights` gives them; those
        of deeper layers are not used.
      layer: ``"64"``, ``"192"``, ``"768"`` or ``"2048"``.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], layer: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            Convolution(weights, "Conv2d_1a_3x3", stride=2, padded=False),
            Convolution(weights, "Conv2d_2a_3x3", padded=False),
            Convolution(weights, "Conv2d_2b_3x3"),
            nn.MaxPool2d(3, 2),
        ]
        if layer != "64":
            layers += [
                Convolution(weights, "Conv2d_3b_1x1"),
                Convolution(weights, "Conv2d_4a_3x3", padded=False),
                nn.MaxPool2d(3, 2),
            ]
        blocks = {"768": "5b 5c 5d 6a 6b 6c 6d 6e", "2048": "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c"}
        for block in blocks.get(layer, "").split():
            branches = _BLOCKS.get(block) or _BLOCKS[block[0]]
            layers.append(Branches(weights, f"Mixed_{block}", branches))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 [n, 3, h, w] to float32 [n, width]: the layer's mean over the pixels."""
        x = (resize_tf1(images.float(), SIZE) - 128) / 128
        return self.layers(x).mean((2, 3))


class Branches(nn.Module):
    """Branches of one input, joined by channels; see `_BLOCKS`."""

    def __init__(
        self, weights: Mapping[str, np.ndarray], name: str, branches: Sequence[Sequence[Any]]
    ) -> None:
        super().__init__()

        def make(layer: Any) -> nn.Module:
            if isinstance(layer, list):
                return Branches(weights, name, layer)
            if layer in _POOLS:
                return _POOLS[layer]()
            branch, halving, _ = layer.partition("/2")
            stride = 2 if halving else 1
            return Convolution(weights, f"{name}.{branch}", stride, padded=not halving)

        self.branches = nn.ModuleList(nn.Sequential(*map(make, one)) for one in branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, h, w] to [n, outputs, ...]."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Convolution(nn.Module):
    """A convolution with its bias, rectified."""

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        name: str,
        stride: int = 1,
        padded: bool = True,
    ) -> None:
        super().__init__()
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        height, width, inputs, outputs = kernel.shape
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding)
        self.conv.weight = nn.Parameter(torch.tensor(kernel.transpose(3, 2, 0, 1).copy()))
        self.conv.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, h, w] to [n, outputs, ...]."""
        return F.relu(self.conv(x))


def resize_tf1(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize [n, c, h, w] to ``size`` squared as TensorFlow 1 does; see `gan_jax.metrics.resize`.

    The pixels of ``F.interpolate`` are squares around half-integers, which is another map.
    """
    for axis in (3, 2):
        length = x.shape[axis]
        places = torch.arange(size, device=x.device) * (length / size)
        low = places.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (places - low).view(-1, *(1,) * (3 - axis))
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x
