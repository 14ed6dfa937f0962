"""The residual translator of CycleGAN (Zhu et al. 2017, 1703.10593): image to image.

The network of Johnson et al. 2016 (1603.08155) for style transfer, with instance normalization:
convolutions of stride 2, residual blocks at a quarter of the resolution, transposed convolutions
back. Images are padded by reflection, since zeros would cause artefacts at the borders. Weights
start from N(0, 0.02), scales of normalization from N(1, 0.02).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.dropout import check_rate, dropout, layer_keys
from gan_jax.layers.padding import edge_pad, reflect_pad
from gan_jax.networks.checks import check_count
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Layer, normal_scale, wants_bias
from gan_jax.networks.translation import Translator, check_multiple

_OUTER = 7
_INIT = nn.initializers.normal(0.02)


class TranslatorBlock(nn.Module):
    """Residual block that keeps width and resolution: two 3x3 convolutions, padded by reflection.

    Normalization follows both, ReLU and dropout the first; nothing follows the sum.

    Attributes:
      norm: makes the layer of normalization after a convolution, of a name.
      use_bias: whether the convolutions have a bias.
      dropout: probability that a number between the convolutions is dropped.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    norm: Callable[..., Layer]
    use_bias: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None, train: bool) -> jax.Array:
        """Maps `x` [batch, height, width, channels] to the same shape."""

        def conv_norm(y: jax.Array, index: int) -> jax.Array:
            conv = Conv(
                x.shape[-1],
                (3, 3),
                padding="VALID",
                use_bias=self.use_bias,
                kernel_init=_INIT,
                name=f"conv_{index}",
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )
            y = conv(reflect_pad(y, 1))
            return self.norm(name=f"norm_{index}")(y, train)

        y = dropout(nn.relu(conv_norm(x, 1)), keys, self.dropout)
        return x + conv_norm(y, 2)


class ResNetTranslator(Translator):
    """Image to image through residual blocks at a fraction of the resolution.

    A 7x7 convolution, `downsamplings` 3x3 convolutions of stride 2, `blocks` residual blocks, as
    many transposed 3x3 convolutions, and a 7x7 one; normalization and ReLU follow all but the last.

    Attributes:
      features: width at full resolution; it doubles with every halving.
      blocks: residual blocks: 6 in the paper up to 128x128, 9 from 256x256.
      downsamplings: number of times that the resolution is halved; 2 in the paper, 0 keeps all
        detail, for restoration.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `instance`.
      dropout: probability that a number inside a residual block is dropped, when the network is
        given keys.
      upsample: how the resolution is doubled: by `transposed` convolutions, as in the paper, or by
        `nearest` neighbours and convolutions, which leave no checkerboard.
    """

    GROUP: ClassVar[str] = "generator.translator"
    TINY: ClassVar[dict[str, int]] = {"features": 8, "blocks": 1}

    _: dataclasses.KW_ONLY
    features: int = 64
    blocks: int = 6
    downsamplings: int = 2
    normalization: str = "instance"
    dropout: float = 0.0
    upsample: str = "transposed"

    def __post_init__(self) -> None:
        self._check_sizes("features", "blocks")
        self._check_choice("upsample", ("transposed", "nearest"))
        check_count("generator.translator.downsamplings", self.downsamplings)
        reason = f"generator.translator.downsamplings = {self.downsamplings}"
        self._check_images(reason)
        if self.normalization == "instance" and self.shape[:2] == (self.multiple, self.multiple):
            raise ConfigError(
                f"data.resolution = {self.multiple}x{self.multiple} is halved to a single pixel by "
                f"{reason}, which instance normalization would make 0; accepted: larger images, "
                "fewer downsamplings, or another normalization."
            )
        self._check_normalization([self.features << i for i in range(self.downsamplings + 1)])
        check_rate("generator.translator.dropout", self.dropout)
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1 << self.downsamplings

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        check_multiple(x, self.multiple)
        outer = (_OUTER, _OUTER)
        hidden: dict[str, Any] = {
            "use_bias": wants_bias(self.normalization),
            "kernel_init": _INIT,
            **self._types,
        }
        norm = partial(self._norms(scale_init=normal_scale), self.normalization)

        def norm_relu(y: jax.Array) -> jax.Array:
            return nn.relu(norm()(y, train))

        y = reflect_pad(x.astype(self.dtype), _OUTER // 2)
        y = norm_relu(Conv(self.features, outer, padding="VALID", **hidden)(y))
        for level in range(self.downsamplings):
            width = self.features << (level + 1)
            y = norm_relu(Conv(width, (3, 3), (2, 2), "SAME", **hidden)(y))
        for index in range(self.blocks):
            block = TranslatorBlock(
                norm, hidden["use_bias"], self.dropout, name=f"block_{index + 1}", **self._types
            )
            y = block(y, layer_keys(keys, index), train)
        for level in reversed(range(self.downsamplings)):
            width = self.features << level
            if self.upsample == "nearest":
                # Reflected, the enlarged image repeats its outermost pixels, as here this one does.
                y = Conv(width, (3, 3), upsample=True, **hidden)(edge_pad(y))[:, 2:-2, 2:-2]
            else:
                y = ConvTranspose(width, (3, 3), (2, 2), "SAME", **hidden)(y)
            y = norm_relu(y)
        last = Conv(self.outputs, outer, padding="VALID", **self._last(_INIT))
        return self._finished(last(reflect_pad(y.astype(jnp.float32), _OUTER // 2)), x)
