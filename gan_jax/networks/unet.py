"""The U-Net of pix2pix (Isola et al. 2016, 1611.07004): image to image, with skip connections.

Strided convolutions halve the resolution several times and transposed convolutions double it again;
the activations of a resolution on the way down are concatenated to those on the way up. Weights
start from N(0, 0.02), scales of normalization from N(1, 0.02), as in DCGAN; without normalization,
which would compensate for that, from He's N(0, 2 / fan in).
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.dropout import check_rate, dropout, layer_keys
from gan_jax.networks.checks import check_count
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import normal_scale, wants_bias
from gan_jax.networks.translation import Translator, check_multiple

_SLOPE = 0.2
_INIT = nn.initializers.normal(0.02)
_HE_INIT = nn.initializers.he_normal()


class UNet(Translator):
    """Image to image through a bottleneck, with skip connections around it.

    LeakyReLU before the convolutions down, ReLU before those up, normalization between convolution
    and rectifier. Neither the first nor the innermost map is normalized, as in the authors' code:
    the innermost may be a single pixel, which instance normalization would make 0.

    Attributes:
      levels: number of times that the resolution is halved; 8 in the paper, for 256x256.
      features: width at half the resolution; it doubles with every halving, up to `max_features`.
      max_features: the largest width.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`, of batches of one image in most of its experiments.
      dropout_levels: number of the innermost levels on the way up that have dropout; 3 in the
        paper, where it is the only noise.
      dropout: probability that a number is dropped there, when the network is given keys.
      upsample: how the resolution is doubled: by `transposed` 4x4 convolutions, or by `nearest`
        neighbours and 3x3 convolutions.
      stem: width of a convolution at full resolution, which is an input of the first halving and of
        the last layer, so that single pixels can be restored; 0: there is none, as in the paper.
    """

    GROUP: ClassVar[str] = "generator.unet"
    TINY: ClassVar[dict[str, int]] = {"levels": 2, "features": 8, "dropout_levels": 1}

    _: dataclasses.KW_ONLY
    levels: int = 4
    features: int = 64
    max_features: int = 512
    normalization: str = "instance"
    dropout_levels: int = 0
    dropout: float = 0.5
    upsample: str = "transposed"
    stem: int = 0

    def __post_init__(self) -> None:
        self._check_sizes("levels", "features", "max_features")
        self._check_images(f"generator.unet.levels = {self.levels}")
        self._check_normalization(self._widths()[:-1])
        check_count("generator.unet.dropout_levels", self.dropout_levels, self.levels - 1)
        check_rate("generator.unet.dropout", self.dropout)
        check_count("generator.unet.stem", self.stem, 4096)
        self._check_choice("upsample", ("transposed", "nearest"))
        super().__post_init__()

    def _widths(self) -> tuple[int, ...]:
        """Return the channels after each halving."""
        return tuple(min(self.features << level, self.max_features) for level in range(self.levels))

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1 << self.levels

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        check_multiple(x, self.multiple)
        init = _HE_INIT if self.normalization == "none" else _INIT
        hidden: dict[str, Any] = {"kernel_init": init, **self._types}
        norm = self._norms(scale_init=normal_scale)
        halved = partial(Conv, kernel_size=(4, 4), strides=(2, 2), **hidden)

        def doubled(y: jax.Array, width: int, **fields: Any) -> jax.Array:
            if self.upsample == "nearest":
                return Conv(width, (3, 3), upsample=True, **fields)(y)
            return ConvTranspose(width, (4, 4), (2, 2), "SAME", **fields)(y)

        widths = self._widths()
        y, skipped = x.astype(self.dtype), []
        if self.stem:
            y = stem = Conv(self.stem, (3, 3), **hidden)(y)
        for level, width in enumerate(widths):
            inner = 0 < level < self.levels - 1
            normalization = self.normalization if inner else "none"
            if level > 0 or self.stem:
                y = nn.leaky_relu(y, _SLOPE)
            y = halved(features=width, use_bias=wants_bias(normalization))(y)
            y = norm(normalization)(y, train)
            skipped.append(y)
        y = skipped.pop()
        for level, width in enumerate(reversed(widths[:-1])):
            y = doubled(nn.relu(y), width, use_bias=wants_bias(self.normalization), **hidden)
            y = norm(self.normalization)(y, train)
            if level < self.dropout_levels:
                y = dropout(y, layer_keys(keys, level), self.dropout)
            y = jnp.concatenate([y, skipped.pop()], axis=-1)
        if self.stem:
            y = doubled(nn.relu(y), self.stem, **hidden)
            y = nn.relu(jnp.concatenate([y, stem], axis=-1)).astype(jnp.float32)
            y = Conv(self.outputs, (3, 3), **self._last(_INIT))(y)
        else:
            y = doubled(nn.relu(y).astype(jnp.float32), self.outputs, **self._last(_INIT))
        return self._finished(y, x)
