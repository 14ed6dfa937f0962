"""The discriminator of patches (PatchGAN, Isola et al. 2016, 1611.07004): a score per patch.

Strided convolutions end in a map of scores, each of which depends on a square of the image: the
consistency of the whole is left to other losses and to neighbouring squares. Layers are those of
the paper's appendix (6.1.2), with its names for their squares: 16x16, 70x70 and 286x286 have 1, 3
and 5 strided layers, and PixelGAN none. Weights start from N(0, 0.02), scales of normalization from
N(1, 0.02).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_axes, check_count, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Normalized, normal_scale, wants_bias
from gan_jax.networks.verdict import SLOPE, Discriminator, Verdict

_INIT = nn.initializers.normal(0.02)


def receptive_field(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the number of input pixels along an axis that an output depends on.

    Args:
      sizes: `(kernel size, stride)` of each convolution, from the input on.
    """
    seen = 1
    for kernel, stride in reversed(sizes):
        seen = (seen - 1) * stride + kernel
    return seen


def _pad(kernel: int) -> int:
    """Return the zeros on each side of the input of a convolution of that size."""
    return (kernel - 1) // 2


def _smallest(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the smallest height and width that give an output."""
    side = 1
    for kernel, stride in reversed(sizes):
        side = (side - 1) * stride + kernel - 2 * _pad(kernel)
    return side


class PatchGAN(Normalized, Discriminator):
    """Image to a map of scores, one per overlapping patch: float32 `[batch, height', width']`.

    `layers` 4x4 convolutions of stride 2, one of stride 1, and a last one of stride 1 that scores;
    with 0 `layers`, three 1x1 convolutions. LeakyReLU after every one but the last, normalization
    before it, except in the first. Images are padded by 1 on every side of each 4x4 convolution:
    the scores near the sides depend on fewer pixels than others. `shape` includes the channels of
    what a game concatenates to the image; it serves for checks, and the network takes other sizes,
    too.

    Attributes:
      features: width of the first layer; it doubles with every layer, up to `max_features`.
      max_features: the largest width.
      layers: number of layers of stride 2: 1, 3 or 5 for patches of 16x16, 70x70 or 286x286 pixels;
        0 for single pixels.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel`,
        `local_response`, or `spectral` (of every layer's kernel). With `batch` the scores of one
        image depend on the others.
    """

    GROUP: ClassVar[str] = "discriminator.patchgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8, "layers": 1}

    features: int = 64
    max_features: int = 512
    layers: int = 3
    normalization: str = "instance"

    def __post_init__(self) -> None:
        more = ", or a network named mlp."
        check_axes("patchgan", "images", self.shape, "height, width, channels", more)
        check_sizes("data.shape", tuple(self.shape), 3, ": height, width and channels")
        self._check_sizes("features", "max_features")
        check_count("discriminator.patchgan.layers", self.layers)
        height, width, _ = self.shape
        smallest = _smallest(self.sizes)
        if min(height, width) < smallest:
            raise ConfigError(
                f"data.resolution = {height}x{width} leaves no score after "
                f"discriminator.patchgan.layers = {self.layers}; accepted: a height and a width of "
                f"{smallest} or more, or fewer layers."
            )
        self._check_normalization(self._widths()[1:], "spectral")
        super().__post_init__()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """`(kernel size, stride)` of each convolution, from the input on."""
        if self.layers == 0:
            return ((1, 1),) * 3
        return ((4, 2),) * self.layers + ((4, 1),) * 2

    @property
    def receptive_field(self) -> int:
        """Height and width of the patch that a score depends on."""
        return receptive_field(self.sizes)

    def _widths(self) -> tuple[int, ...]:
        """Return the channels after each convolution but the last."""
        hidden = range(len(self.sizes) - 1)
        return tuple(min(self.features << index, self.max_features) for index in hidden)

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        spectral = self.normalization == "spectral"
        make_conv = self._convolutions(spectral, train, padding="VALID", kernel_init=_INIT)
        make_norm = self._norms(scale_init=normal_scale)

        def convolved(y: jax.Array, width: int, size: tuple[int, int], **fields: Any) -> jax.Array:
            kernel, stride = size
            conv = make_conv(
                width, kernel_size=(kernel, kernel), strides=(stride, stride), **fields
            )
            side = (_pad(kernel), _pad(kernel))
            return conv(jnp.pad(y, ((0, 0), side, side, (0, 0))))

        *hidden, last = self.sizes
        x = x.astype(self.dtype)
        activations = []
        for index, (width, size) in enumerate(zip(self._widths(), hidden, strict=True)):
            normalization = self.normalization if index > 0 and not spectral else "none"
            x = convolved(x, width, size, use_bias=wants_bias(normalization))
            x = nn.leaky_relu(make_norm(normalization)(x, train), SLOPE)
            activations.append(x)
        scores = convolved(x.astype(jnp.float32), 1, last, dtype=jnp.float32)[..., 0]
        return Verdict(scores, tuple(activations), {})
