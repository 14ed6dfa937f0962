"""The networks of StyleGAN2 (Karras et al. 2019, 1912.04958).

"Analyzing and Improving the Image Quality of StyleGAN". The generator has two modulated
convolutions per resolution, one at the coarsest (4x4). The image is the sum of what a 1x1
convolution makes of each resolution's map, upsampled (skip connections). The discriminator has a
residual block per resolution. All layers have an equalized learning rate; resolutions change by the
binomial kernel 1, 3, 3, 1. Images are not limited by a tanh.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.equalized import EqualizedConv, EqualizedDense
from gan_jax.layers.modulated import ModulatedConv
from gan_jax.layers.resample import blur_binomial, downsample_binomial, upsample_binomial
from gan_jax.networks.checks import check_image_shape, check_widths, halvings, widths_of
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Network
from gan_jax.networks.styles import GAIN, Noise, StyleGenerator
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

_MEANING = "the widths of the resolutions, from the coarsest on"


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias and LeakyReLU.

    Attributes:
      features: number of output channels.
      index: number of the layer, for its noise.
      upsample: double the resolution.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    features: int
    index: int
    upsample: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, style: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to `features` channels, at h, w or 2h, 2w pixels."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = ModulatedConv(self.features, upsample=self.upsample, **types)(x, style)
        x = Noise(self.index, param_dtype=self.param_dtype)(x, keys)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
        return GAIN * nn.leaky_relu(x + bias.astype(x.dtype), SLOPE)


class Synthesis(nn.Module):
    """Styles to image.

    Attributes:
      shape: of one image.
      widths: of the resolutions, from the coarsest on.
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, styles: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps `styles` [batch, 2 * resolutions, style_dim] to float32 images."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        normal, channels = nn.initializers.normal(1.0), self.shape[-1]
        sides = [side >> (len(self.widths) - 1) for side in self.shape[:2]]
        constant = self.param("constant", normal, (*sides, self.widths[0]), self.param_dtype)
        x = jnp.broadcast_to(constant.astype(self.dtype), (styles.shape[0], *constant.shape))
        image = jnp.zeros((styles.shape[0], *sides, channels), jnp.float32)
        for stage, features in enumerate(self.widths):
            layer = 2 * stage
            if stage:
                conv = StyledConv(features, layer - 1, upsample=True, **types)
                x = conv(x, styles[:, layer - 1], keys)
                image = upsample_binomial(image)
            x = StyledConv(features, layer, **types)(x, styles[:, layer], keys)
            # By the style of the next resolution's first convolution.
            colors = ModulatedConv(channels, 1, demodulate=False, **types)(x, styles[:, layer + 1])
            zeros = nn.initializers.zeros
            bias = self.param(f"bias_{stage}", zeros, (channels,), self.param_dtype)
            image = image + colors.astype(jnp.float32) + bias
        return image


class _Staged(Network):
    """What both networks share.

    Attributes:
      features: width of every resolution, or a tuple: from the coarsest on. The paper's for
        256x256 are 512, 512, 512, 512, 512, 256, 128.
    """

    features: int | tuple[int, ...] = 512

    def __post_init__(self) -> None:
        check_image_shape("stylegan2", self.shape)
        check_widths(f"{self.GROUP}.features", self.features, self._stages, _MEANING)
        super().__post_init__()

    @property
    def _stages(self) -> int:
        return halvings(self.shape) + 1

    @property
    def _widths(self) -> tuple[int, ...]:
        return widths_of(self.features, self._stages)


class StyleGAN2Generator(_Staged, StyleGenerator):
    """Latent to style, and a style for each layer to an image."""

    GROUP: ClassVar[str] = "generator.stylegan2"

    @property
    def layers(self) -> int:
        """Two for each resolution; the last has no convolution but that to the image."""
        return 2 * self._stages

    def _synthesis(self) -> nn.Module:
        return Synthesis(self.shape, self._widths, **self._types)


class StyleGAN2Discriminator(_Staged, VectorDiscriminator):
    """Image to score: residual blocks to the coarsest map, a convolution and a hidden dense layer.

    With `stddev`, the standard deviation over groups of the batch is a channel of the coarsest map
    before that convolution, as in the paper.
    """

    GROUP: ClassVar[str] = "discriminator.stylegan2"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    minibatch: str = "stddev"

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        first, *rest = reversed(self._widths)
        conv: Callable[..., nn.Module] = partial(EqualizedConv, gain=GAIN, **self._types)
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}

        def halved(x: jax.Array, features: int) -> jax.Array:
            """Return what a block makes of `x`, at half the resolution."""
            y = nn.leaky_relu(conv(x.shape[-1])(x), SLOPE)
            y = conv(features, strides=(2, 2), padding="VALID")(blur_binomial(y, 2))
            # A 1x1 convolution commutes with the resampling, at a quarter of the cost.
            linear = EqualizedConv(features, kernel_size=(1, 1), use_bias=False, **self._types)
            return (nn.leaky_relu(y, SLOPE) + linear(downsample_binomial(x))) / GAIN

        def pool(x: jax.Array) -> jax.Array:
            """Return the hidden layer's vectors."""
            hidden = EqualizedDense(x.shape[-1], GAIN, **types)
            return nn.leaky_relu(hidden(x.reshape(x.shape[0], -1)), SLOPE)

        x = self._with_class(x.astype(self.dtype), condition)
        activations = [nn.leaky_relu(conv(first, kernel_size=(1, 1))(x), SLOPE)]
        for features in rest:
            activations.append(halved(activations[-1], features))
        last = activations[-1]
        x = self._with_deviation(last, train) if self.minibatch == "stddev" else last
        x = nn.leaky_relu(conv(last.shape[-1])(x), SLOPE)
        return self._verdict(
            x, pool, activations, condition, train, layer=EqualizedDense, appended=True
        )
