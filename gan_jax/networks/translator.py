"""The residual translator of CycleGAN (Zhu et al. 2017, 1703.10593): image to image.

The network of Johnson et al. 2016 (1603.08155) for style transfer, with instance normalization:
convolutions of stride 2, residual blocks at a quarter of the resolution, transposed convolutions
back. Images are reflected at their sides, where zeros would leave a rim. Weights start from
N(0, 0.02), scales of normalization from N(1, 0.02).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.dropout import check_rate, dropout, layer_keys
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.padding import reflect_pad
from gan_jax.networks.checks import check_size
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

_OUTER = 7
_INIT = nn.initializers.normal(0.02)


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draw the scales of normalization from N(1, 0.02)."""
    return 1.0 + _INIT(key, shape, dtype)


class TranslatorBlock(nn.Module):
    """Residual block that keeps width and resolution: two 3x3 convolutions of the reflected map.

    Normalization follows both, ReLU and dropout the first; nothing follows the sum.

    Attributes:
      normalization: one of `gan_jax.layers.normalization.NORMALIZATIONS`.
      groups: of group normalization.
      dropout: probability that a number between the convolutions is dropped.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    normalization: str = "instance"
    groups: int = 8
    dropout: float = 0.0
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None, train: bool) -> jax.Array:
        """Maps `x` [batch, height, width, channels] to the same shape."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def conv_norm(y: jax.Array, index: int) -> jax.Array:
            conv = Conv(
                x.shape[-1],
                (3, 3),
                padding="VALID",
                use_bias=wants_bias(self.normalization),
                kernel_init=_INIT,
                name=f"conv_{index}",
                **types,
            )
            norm = make_norm(
                self.normalization,
                axis_name=self.axis_name,
                groups=self.groups,
                scale_init=_scale_init,
                name=f"norm_{index}",
                **types,
            )
            return norm(conv(reflect_pad(y, 1)), train)

        y = dropout(nn.relu(conv_norm(x, 1)), keys, self.dropout)
        return x + conv_norm(y, 2)


class ResNetTranslator(nn.Module):
    """Image to image through residual blocks at a fraction of the resolution.

    A 7x7 convolution, `downsamplings` 3x3 convolutions of stride 2, `blocks` residual blocks, as
    many transposed 3x3 convolutions, and a 7x7 one; normalization and ReLU follow all but the last.

    Attributes:
      shape: of one input image: `(height, width, channels)`; it serves for checks, and the network
        takes any height and width that are multiples of `multiple`.
      outputs: channels of an output image.
      features: width at full resolution; it doubles with every halving.
      blocks: residual blocks: 6 in the paper up to 128x128, 9 from 256x256.
      downsamplings: number of times that the resolution is halved; 2 in the paper, 0 keeps all
        detail, for restoration.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `instance`.
      groups: number of groups of group normalization, a divisor of `features`.
      dropout: probability that a number inside a residual block is dropped, when the network is
        given keys.
      output: what the last layer's output is: `tanh` of it, `linear`, or a `residual` that is added
        to the input.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8, "blocks": 1}

    shape: tuple[int, ...]
    outputs: int
    features: int = 64
    blocks: int = 6
    downsamplings: int = 2
    normalization: str = "instance"
    groups: int = 8
    dropout: float = 0.0
    output: str = "tanh"
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        for field in ("features", "blocks"):
            check_size(f"generator.translator.{field}", getattr(self, field))
        check_count("generator.translator.downsamplings", self.downsamplings)
        reason = f"generator.translator.downsamplings = {self.downsamplings}"
        check_images("translator", self.shape, self.outputs, self.output, self.multiple, reason)
        if self.normalization == "instance" and self.shape[:2] == (self.multiple, self.multiple):
            raise ConfigError(
                f"data.resolution = {self.multiple}x{self.multiple} is halved to a single pixel by "
                f"{reason}, which instance normalization would make 0; accepted: larger images, "
                "fewer downsamplings, or another normalization."
            )
        widths = tuple(self.features << level for level in range(self.downsamplings + 1))
        check_normalization("generator.translator", self.normalization, self.groups, widths)
        check_rate("generator.translator.dropout", self.dropout)
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1 << self.downsamplings

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
        outer = (_OUTER, _OUTER)
        hidden: dict[str, Any] = {
            "use_bias": wants_bias(self.normalization),
            "kernel_init": _INIT,
            **types,
        }
        options: dict[str, Any] = {
            "axis_name": self.axis_name,
            "groups": self.groups,
            **types,
        }

        def norm_relu(y: jax.Array) -> jax.Array:
            norm = make_norm(self.normalization, scale_init=_scale_init, **options)
            return nn.relu(norm(y, train))

        y = reflect_pad(x.astype(self.dtype), _OUTER // 2)
        y = norm_relu(Conv(self.features, outer, padding="VALID", **hidden)(y))
        for level in range(self.downsamplings):
            width = self.features << (level + 1)
            y = norm_relu(Conv(width, (3, 3), (2, 2), "SAME", **hidden)(y))
        for index in range(self.blocks):
            block = TranslatorBlock(
                normalization=self.normalization,
                dropout=self.dropout,
                name=f"block_{index + 1}",
                **options,
            )
            y = block(y, layer_keys(keys, index), train)
        for level in reversed(range(self.downsamplings)):
            width = self.features << level
            y = norm_relu(ConvTranspose(width, (3, 3), (2, 2), "SAME", **hidden)(y))
        last = Conv(
            self.outputs,
            outer,
            padding="VALID",
            kernel_init=last_init(self.output, _INIT),
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
        )
        y = last(reflect_pad(y.astype(jnp.float32), _OUTER // 2))
        return finished(y, same_image(x, self.outputs), self.output)
