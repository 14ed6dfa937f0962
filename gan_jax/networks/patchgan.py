"""The discriminator of patches (PatchGAN, Isola et al. 2016, 1611.07004): a score per patch.

Strided convolutions end in a map of scores, each of which sees a square of the image: whether the
whole is right is left to other losses, and to the next square. Layers are those of the paper's
appendix (6.1.2), with its names for their squares: 16x16, 70x70 and 286x286 have 1, 3 and 5 strided
layers, and PixelGAN none. Weights start from N(0, 0.02), scales of normalization from N(1, 0.02).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.spectral import SpectralConv
from gan_jax.networks.checks import check_size, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.normalized import check_normalization, wants_bias
from gan_jax.networks.translation import check_count
from gan_jax.networks.verdict import Discriminator, Verdict

_SLOPE = 0.2
_INIT = nn.initializers.normal(0.02)


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draw the scales of normalization from N(1, 0.02)."""
    return 1.0 + _INIT(key, shape, dtype)


def receptive_field(sizes: Sequence[tuple[int, int]]) -> int:
    """Return how many pixels of the input, in one direction, a number of the output can depend on.

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
    """Return the smallest height and width of which a number is left."""
    side = 1
    for kernel, stride in reversed(sizes):
        side = (side - 1) * stride + kernel - 2 * _pad(kernel)
    return side


class PatchGAN(Discriminator):
    """Image to a map of scores, one per overlapping patch.

    `layers` 4x4 convolutions of stride 2, one of stride 1, and a last one of stride 1 that scores;
    with 0 `layers`, three 1x1 convolutions. LeakyReLU after every one but the last, normalization
    before it, save in the first. Images are padded by 1 on every side of each 4x4 convolution: the
    scores near the sides see less than others, and `shape` has to leave one at all.

    Attributes:
      shape: of one image: `(height, width, channels)`, with the channels of what a game shows
        beside it; it serves for checks, and the network takes other sizes, too.
      features: width of the first layer; it doubles with every layer, up to `max_features`.
      max_features: the largest width.
      layers: number of layers of stride 2: 1, 3 or 5 for patches of 16x16, 70x70 or 286x286 pixels;
        0 for single pixels.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel`,
        `local_response`, or `spectral` (of every layer's kernel). With `batch` the scores of one
        image depend on the others.
      groups: number of groups of group normalization, a divisor of the width of every layer but the
        first.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8, "layers": 1}

    shape: tuple[int, ...]
    features: int = 64
    max_features: int = 512
    layers: int = 3
    normalization: str = "instance"
    groups: int = 8
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        if len(self.shape) != 3:
            raise ConfigError(
                f"data.name: patchgan is a network for images, but one data point has shape "
                f"{tuple(self.shape)}; accepted: (height, width, channels), or a network named mlp."
            )
        check_sizes("data.shape", tuple(self.shape), 3, ": height, width and channels")
        for field in ("features", "max_features"):
            check_size(f"discriminator.patchgan.{field}", getattr(self, field))
        check_count("discriminator.patchgan.layers", self.layers)
        height, width, _ = self.shape
        smallest = _smallest(self.sizes)
        if min(height, width) < smallest:
            raise ConfigError(
                f"data.resolution = {height}x{width} leaves no score after "
                f"discriminator.patchgan.layers = {self.layers}; accepted: a height and a width of "
                f"{smallest} or more, or fewer layers."
            )
        check_normalization(
            "discriminator.patchgan",
            self.normalization,
            self.groups,
            self._widths()[1:],
            more=("spectral",),
        )
        super().__post_init__()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """`(kernel size, stride)` of each convolution, from the input on."""
        if self.layers == 0:
            return ((1, 1),) * 3
        return ((4, 2),) * self.layers + ((4, 1),) * 2

    @property
    def receptive_field(self) -> int:
        """Height and width of the patch that a score sees."""
        return receptive_field(self.sizes)

    def _widths(self) -> tuple[int, ...]:
        """Return the channels after each convolution but the last."""
        hidden = range(len(self.sizes) - 1)
        return tuple(min(self.features << index, self.max_features) for index in hidden)

    @nn.compact
    def judge(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Returns the whole verdict on images: its scores are a map, float32 [batch, h', w'].

        Args:
          x: images [batch, height, width, channels] in [-1, 1].
          condition: ignored.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones, with
            normalization `batch`; True moves spectral normalization's vectors on, where the
            collection `spectral` is mutable.
        """
        spectral = self.normalization == "spectral"
        make_conv = partial(SpectralConv, train=train) if spectral else Conv

        def convolved(
            y: jax.Array, width: int, size: tuple[int, int], use_bias: bool, dtype: Any
        ) -> jax.Array:
            kernel, stride = size
            conv = make_conv(
                width,
                (kernel, kernel),
                (stride, stride),
                "VALID",
                use_bias=use_bias,
                kernel_init=_INIT,
                dtype=dtype,
                param_dtype=self.param_dtype,
            )
            side = (_pad(kernel), _pad(kernel))
            return conv(jnp.pad(y, ((0, 0), side, side, (0, 0))))

        *hidden, last = self.sizes
        x = x.astype(self.dtype)
        activations = []
        for index, (width, size) in enumerate(zip(self._widths(), hidden, strict=True)):
            normalization = self.normalization if index > 0 and not spectral else "none"
            x = convolved(x, width, size, wants_bias(normalization), self.dtype)
            norm = make_norm(
                normalization,
                axis_name=self.axis_name,
                groups=self.groups,
                scale_init=_scale_init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )
            x = nn.leaky_relu(norm(x, train), _SLOPE)
            activations.append(x)
        scores = convolved(x.astype(jnp.float32), 1, last, True, jnp.float32)[..., 0]
        return Verdict(scores, tuple(activations), {})
