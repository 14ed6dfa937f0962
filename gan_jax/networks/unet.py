"""The U-Net of pix2pix (Isola et al. 2016, 1611.07004): image to image, with skip connections.

Strided convolutions halve the resolution some times, transposed convolutions double it again, and
what was seen at a resolution on the way down stands beside what is made there on the way up.
Weights start from N(0, 0.02), scales of normalization from N(1, 0.02), as in DCGAN; without
normalization, which would make up for it, from He's N(0, 2 / fan in).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.dropout import check_rate, dropout, layer_keys
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.resample import upsample_nearest
from gan_jax.networks.checks import check_choice, check_size
from gan_jax.networks.condition import Condition
from gan_jax.networks.normalized import check_normalization, wants_bias
from gan_jax.networks.translation import (
    check_count,
    check_images,
    check_multiple,
    finished,
    last_init,
    same_image,
)

UPSAMPLE = ("transposed", "nearest")
"""How the resolution is doubled: by a transposed 4x4 convolution, or by repeating and a 3x3 one."""

_SLOPE = 0.2
_INIT = nn.initializers.normal(0.02)
_HE_INIT = nn.initializers.he_normal()


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draw the scales of normalization from N(1, 0.02)."""
    return 1.0 + _INIT(key, shape, dtype)


class UNet(nn.Module):
    """Image to image through a bottleneck, round which skip connections lead.

    LeakyReLU before the convolutions down, ReLU before those up, normalization between convolution
    and rectifier. Neither the first nor the innermost map is normalized, as in the authors' code:
    the innermost may be a single pixel, which instance normalization would make 0.

    Attributes:
      shape: of one input image: `(height, width, channels)`; it serves for checks, and the network
        takes any height and width that are multiples of `multiple`.
      outputs: channels of an output image.
      levels: number of times that the resolution is halved; 8 in the paper, for 256x256.
      features: width at half the resolution; it doubles with every halving, up to `max_features`.
      max_features: the largest width.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`, of batches of one image in most of its experiments.
      groups: number of groups of group normalization, a divisor of every width but the innermost
        one.
      dropout_levels: number of the innermost levels on the way up that have dropout; 3 in the
        paper, where it is the only noise.
      dropout: probability that a number is dropped there, when the network is given keys.
      upsample: how the resolution is doubled: by `transposed` 4x4 convolutions, or by `nearest`
        neighbours and 3x3 convolutions.
      stem: width of a convolution at full resolution, which the first halving and the last layer
        see, so that single pixels can be restored; 0: there is none, as in the paper.
      output: what the last layer's output is: `tanh` of it, `linear`, or a `residual` that is added
        to the input.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"levels": 2, "features": 8, "dropout_levels": 1}

    shape: tuple[int, ...]
    outputs: int
    levels: int = 4
    features: int = 64
    max_features: int = 512
    normalization: str = "instance"
    groups: int = 8
    dropout_levels: int = 0
    dropout: float = 0.5
    upsample: str = "transposed"
    stem: int = 0
    output: str = "tanh"
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        for field in ("levels", "features", "max_features"):
            check_size(f"generator.unet.{field}", getattr(self, field))
        reason = f"generator.unet.levels = {self.levels}"
        check_images("unet", self.shape, self.outputs, self.output, self.multiple, reason)
        check_normalization("generator.unet", self.normalization, self.groups, self._widths()[:-1])
        check_count("generator.unet.dropout_levels", self.dropout_levels, self.levels - 1)
        check_rate("generator.unet.dropout", self.dropout)
        check_count("generator.unet.stem", self.stem, 4096)
        check_choice("generator.unet.upsample", self.upsample, UPSAMPLE)
        super().__post_init__()

    def _widths(self) -> tuple[int, ...]:
        """Return the channels after each halving."""
        return tuple(min(self.features << level, self.max_features) for level in range(self.levels))

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1 << self.levels

    @property
    def scale(self) -> int:
        """Size of the output over that of the input."""
        return 1

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps images `x` to float32 [batch, height, width, outputs].

        Args:
          x: images [batch, height, width, channels] in [-1, 1].
          condition: ignored.
          keys: `[batch]` typed keys of dropout, in training and evaluation alike; None: no dropout.
          train: True normalizes by the batch's statistics, False by the running ones; of
            normalizations, `batch` alone heeds it.
        """
        check_multiple(x, self.multiple)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = _HE_INIT if self.normalization == "none" else _INIT

        def normalized(y: jax.Array, normalization: str) -> jax.Array:
            norm = make_norm(
                normalization,
                axis_name=self.axis_name,
                groups=self.groups,
                scale_init=_scale_init,
                **types,
            )
            return norm(y, train)

        def doubled(y: jax.Array, width: int, **options: Any) -> jax.Array:
            if self.upsample == "nearest":
                return Conv(width, (3, 3), **options)(upsample_nearest(y))
            return ConvTranspose(width, (4, 4), (2, 2), "SAME", **options)(y)

        widths = self._widths()
        start, y, skipped = x, x.astype(self.dtype), []
        if self.stem:
            y = stem = Conv(self.stem, (3, 3), kernel_init=init, **types)(y)
        for level, width in enumerate(widths):
            inner = 0 < level < self.levels - 1
            normalization = self.normalization if inner else "none"
            conv = Conv(
                width,
                (4, 4),
                (2, 2),
                "SAME",
                use_bias=wants_bias(normalization),
                kernel_init=init,
                **types,
            )
            rectified = level > 0 or bool(self.stem)
            y = conv(nn.leaky_relu(y, _SLOPE) if rectified else y)
            y = normalized(y, normalization)
            skipped.append(y)
        y = skipped.pop()
        for level, width in enumerate(reversed(widths[:-1])):
            use_bias = wants_bias(self.normalization)
            y = doubled(nn.relu(y), width, use_bias=use_bias, kernel_init=init, **types)
            y = normalized(y, self.normalization)
            if level < self.dropout_levels:
                y = dropout(y, layer_keys(keys, level), self.dropout)
            y = jnp.concatenate([y, skipped.pop()], axis=-1)
        last = {"kernel_init": last_init(self.output, _INIT), "param_dtype": self.param_dtype}
        if self.stem:
            y = doubled(nn.relu(y), self.stem, kernel_init=init, **types)
            y = nn.relu(jnp.concatenate([y, stem], axis=-1)).astype(jnp.float32)
            y = Conv(self.outputs, (3, 3), dtype=jnp.float32, **last)(y)
        else:
            y = nn.relu(y).astype(jnp.float32)
            y = doubled(y, self.outputs, dtype=jnp.float32, **last)
        return finished(y, same_image(start, self.outputs), self.output)
