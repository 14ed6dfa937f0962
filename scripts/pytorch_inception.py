"""The FID's Inception network in plain PyTorch, for benchmarks and tests alone.

The network of `gan_jax.metrics.inception`, filled from the same arrays and written as a PyTorch
user would: one convolution per layer, library pools, with the folded batch norm that spares it
work. It needs PyTorch and nothing else.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIZE = 299


class Inception(nn.Module):
    """The network up to a layer, for inference.

    Args:
      weights: float32 arrays by name, as `gan_jax.metrics.inception.load_weights` gives them; those
        of deeper layers are not used.
      layer: ``"64"``, ``"192"``, ``"768"`` or ``"2048"``.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], layer: str) -> None:
        super().__init__()
        w = weights
        blocks: list[nn.Module] = [
            Convolution(w, "Conv2d_1a_3x3", stride=2, padded=False),
            Convolution(w, "Conv2d_2a_3x3", padded=False),
            Convolution(w, "Conv2d_2b_3x3"),
            nn.MaxPool2d(3, 2),
        ]
        if layer != "64":
            blocks += [
                Convolution(w, "Conv2d_3b_1x1"),
                Convolution(w, "Conv2d_4a_3x3", padded=False),
                nn.MaxPool2d(3, 2),
            ]
        if layer in ("768", "2048"):
            blocks += [Block35(w, f"Mixed_5{letter}") for letter in "bcd"]
            blocks += [From35To17(w, "Mixed_6a")]
            blocks += [Block17(w, f"Mixed_6{letter}") for letter in "bcde"]
        if layer == "2048":
            blocks += [
                From17To8(w, "Mixed_7a"),
                Block8(w, "Mixed_7b", average),
                Block8(w, "Mixed_7c", nn.MaxPool2d(3, 1, 1)),
            ]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 [n, 3, h, w] to float32 [n, width]: the layer's mean over the pixels."""
        x = (resize_tf1(images.float(), SIZE) - 128) / 128
        return self.blocks(x).mean((2, 3))


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


class Block(nn.ModuleDict):
    """The convolutions of one block, by name; those named in ``halving`` do so, without padding."""

    def __init__(
        self, weights: Mapping[str, np.ndarray], name: str, halving: tuple[str, ...] = ()
    ) -> None:
        kernels = [key.split("/")[0] for key in weights if key.startswith(f"{name}.")]
        branches = [kernel.split(".")[1] for kernel in dict.fromkeys(kernels)]
        super().__init__(
            {
                branch: Convolution(weights, f"{name}.{branch}", 2, padded=False)
                if branch in halving
                else Convolution(weights, f"{name}.{branch}")
                for branch in branches
            }
        )

    def chain(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        """Apply some of them one after the other."""
        for name in names:
            x = self[name](x)
        return x


class Block35(Block):
    """A block at 35x35 pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, 35, 35] to [n, outputs, 35, 35]."""
        parts = (
            self.chain(x, "branch1x1"),
            self.chain(x, "branch5x5_1", "branch5x5_2"),
            self.chain(x, *(f"branch3x3dbl_{i}" for i in (1, 2, 3))),
            self.chain(average(x), "branch_pool"),
        )
        return torch.cat(parts, 1)


class From35To17(Block):
    """The step from 35x35 to 17x17 pixels."""

    def __init__(self, weights: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__(weights, name, ("branch3x3", "branch3x3dbl_3"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, 35, 35] to [n, outputs, 17, 17]."""
        double = self.chain(x, *(f"branch3x3dbl_{i}" for i in (1, 2, 3)))
        return torch.cat((self.chain(x, "branch3x3"), double, F.max_pool2d(x, 3, 2)), 1)


class Block17(Block):
    """A block at 17x17 pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, 17, 17] to [n, outputs, 17, 17]."""
        parts = (
            self.chain(x, "branch1x1"),
            self.chain(x, *(f"branch7x7_{i}" for i in (1, 2, 3))),
            self.chain(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))),
            self.chain(average(x), "branch_pool"),
        )
        return torch.cat(parts, 1)


class From17To8(Block):
    """The step from 17x17 to 8x8 pixels."""

    def __init__(self, weights: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__(weights, name, ("branch3x3_2", "branch7x7x3_4"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, 17, 17] to [n, outputs, 8, 8]."""
        three = self.chain(x, "branch3x3_1", "branch3x3_2")
        seven = self.chain(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4)))
        return torch.cat((three, seven, F.max_pool2d(x, 3, 2)), 1)


class Block8(Block):
    """A block at 8x8 pixels, with the pool that it is given."""

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        name: str,
        pool: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__(weights, name)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, 8, 8] to [n, outputs, 8, 8]."""
        single = self.chain(x, "branch3x3_1")
        double = self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2")
        parts = (
            self.chain(x, "branch1x1"),
            self.chain(single, "branch3x3_2a"),
            self.chain(single, "branch3x3_2b"),
            self.chain(double, "branch3x3dbl_3a"),
            self.chain(double, "branch3x3dbl_3b"),
            self.chain(self.pool(x), "branch_pool"),
        )
        return torch.cat(parts, 1)


def average(x: torch.Tensor) -> torch.Tensor:
    """Return the mean over 3x3 pixels at stride one, of those that lie in the image."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def resize_tf1(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize [n, c, h, w] to ``size`` squared as TensorFlow 1 does; see `gan_jax.metrics.resize`.

    ``F.interpolate`` takes pixels for squares about the halves, and is another map.
    """
    for axis in (3, 2):
        length = x.shape[axis]
        places = torch.arange(size, device=x.device) * (length / size)
        low = places.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (places - low).view(-1, *(1,) * (3 - axis))
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x
