"""Networks from image to image: those of `gan_jax.networks` of the same names."""

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_jax.errors import lookup
from scripts.pytorch.layers import init_normal, make_norm


def _normalized(layer: nn.Module, normalization: str) -> list[nn.Module]:
    """Return a convolution and the normalization that follows it."""
    return [layer, make_norm(normalization, layer.out_channels)]


class TranslatorBlock(nn.Module):
    """Residual block that keeps width and resolution."""

    def __init__(self, channels: int, normalization: str) -> None:
        super().__init__()

        def conv() -> list[nn.Module]:
            fields = {"padding": 1, "padding_mode": "reflect", "bias": normalization == "none"}
            return _normalized(nn.Conv2d(channels, channels, 3, **fields), normalization)

        self.layers = nn.Sequential(*conv(), nn.ReLU(inplace=True), *conv())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images of the same shape."""
        return x + self.layers(x)


class Translator(nn.Module):
    """CycleGAN's residual translator: [n, inputs, h, w] to [n, outputs, h, w]."""

    def __init__(self, group: Any, inputs: int, outputs: int, factor: int = 1) -> None:
        super().__init__()
        own, bias = group.translator, group.translator.normalization == "none"
        widths = [own.features << level for level in range(own.downsamplings + 1)]
        outer = {"kernel_size": 7, "padding": 3, "padding_mode": "reflect"}
        layers = [*self._layer(nn.Conv2d(inputs, widths[0], bias=bias, **outer), own)]
        for before, after in itertools.pairwise(widths):
            layers += self._layer(nn.Conv2d(before, after, 3, 2, 1, bias=bias), own)
        layers += [TranslatorBlock(widths[-1], own.normalization) for _ in range(own.blocks)]
        for before, after in itertools.pairwise(reversed(widths)):
            if own.upsample == "nearest":
                conv = nn.Conv2d(before, after, 3, 1, 1, padding_mode="reflect", bias=bias)
                layers += [nn.Upsample(scale_factor=2), *self._layer(conv, own)]
            else:
                layers += self._layer(nn.ConvTranspose2d(before, after, 3, 2, 1, 1, bias=bias), own)
        layers += [nn.Conv2d(widths[0], outputs, **outer), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.layers.apply(init_normal)

    @staticmethod
    def _layer(conv: nn.Module, own: Any) -> list[nn.Module]:
        return [*_normalized(conv, own.normalization), nn.ReLU(inplace=True)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images in [-1, 1]."""
        return self.layers(x)


class UNet(nn.Module):
    """pix2pix's network with skip connections: [n, inputs, h, w] to [n, outputs, h, w]."""

    def __init__(self, group: Any, inputs: int, outputs: int, factor: int = 1) -> None:
        super().__init__()
        own, normalization = group.unet, group.unet.normalization
        widths = [min(own.features << level, own.max_features) for level in range(own.levels)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (before, after) in enumerate(zip((inputs, *widths), widths, strict=False)):
            name = normalization if 0 < level < own.levels - 1 else "none"
            conv = nn.Conv2d(before, after, 4, 2, 1, bias=name == "none")
            self.down.append(nn.Sequential(*_normalized(conv, name)))
        before, bias = widths[-1], normalization == "none"

        def doubled(width: int, *, bias: bool = True) -> list[nn.Module]:
            if own.upsample == "nearest":
                return [nn.Upsample(scale_factor=2), nn.Conv2d(before, width, 3, 1, 1, bias=bias)]
            return [nn.ConvTranspose2d(before, width, 4, 2, 1, bias=bias)]

        for level, width in enumerate(widths[-2::-1]):
            *first, conv = doubled(width, bias=bias)
            dropped = own.dropout if level < own.dropout_levels else 0.0
            dropout = nn.Dropout(dropped) if dropped else nn.Identity()
            self.up.append(nn.Sequential(*first, *_normalized(conv, normalization), dropout))
            before = 2 * width
        self.last = nn.Sequential(*doubled(outputs))
        self.apply(init_normal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images in [-1, 1]."""
        skipped = [self.down[0](x)]
        for layer in self.down[1:]:
            skipped.append(layer(F.leaky_relu(skipped[-1], 0.2)))
        x = skipped.pop()
        for layer in self.up:
            x = torch.cat([layer(F.relu(x)), skipped.pop()], 1)
        return torch.tanh(self.last(F.relu(x)))


class SRBlock(nn.Module):
    """Residual block that keeps width and resolution."""

    def __init__(self, channels: int, normalization: str) -> None:
        super().__init__()

        def conv() -> list[nn.Module]:
            bias = normalization == "none"
            layer = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
            return _normalized(layer, normalization)

        self.layers = nn.Sequential(*conv(), nn.PReLU(channels), *conv())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images of the same shape."""
        return x + self.layers(x)


class SRResNet(nn.Module):
    """Small images [n, inputs, h, w] to large ones [n, outputs, factor * h, factor * w]."""

    def __init__(self, group: Any, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        own = group.srresnet
        self.factor, self.output, width = factor, own.output, own.features
        outer = {"kernel_size": own.kernel_size, "padding": own.kernel_size // 2}
        self.first = nn.Sequential(nn.Conv2d(inputs, width, **outer), nn.PReLU(width))
        blocks = [SRBlock(width, own.normalization) for _ in range(own.blocks)]
        after = nn.Conv2d(width, width, 3, padding=1, bias=own.normalization == "none")
        self.blocks = nn.Sequential(*blocks, *_normalized(after, own.normalization))
        self.enlarge = nn.Sequential()
        for times in {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[factor]:
            self.enlarge.append(nn.Conv2d(width, width * times**2, 3, padding=1))
            self.enlarge.append(nn.PixelShuffle(times))
            self.enlarge.append(nn.PReLU(width))
        self.last = nn.Conv2d(width, outputs, **outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return large images."""
        y = self.first(x)
        y = self.last(self.enlarge(y + self.blocks(y)))
        if self.output == "residual":
            # The cubic of antialiasing is Keys' with a = -0.5, the other's a is -0.75.
            enlarged = F.interpolate(x, scale_factor=self.factor, mode="bicubic", antialias=True)
            return enlarged + y
        return torch.tanh(y) if self.output == "tanh" else y


TRANSLATORS = {"srresnet": SRResNet, "translator": Translator, "unet": UNet}


def make_translator(group: Any, inputs: int, outputs: int, factor: int = 1) -> nn.Module:
    """Return the network that ``config.generator`` names."""
    entry = lookup(TRANSLATORS, group.name, "generator.name")
    return entry(group, inputs, outputs, factor)
