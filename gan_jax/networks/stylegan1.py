"""The generator of StyleGAN, which grows (Karras et al. 2018, 1812.04948).

"A Style-Based Generator Architecture for Generative Adversarial Networks". After every 3x3
convolution, of which there are two per resolution, come noise with a learned strength for each
channel, LeakyReLU, and adaptive instance normalization (AdaIN): each channel of each image is
normalized over its pixels, and its style gives it a scale and a bias. The first convolution of the
coarsest resolution is replaced by a learned constant. The paper's discriminator is that of ProGAN
(`gan_jax.networks.progan`), with which it grows.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.layers.equalized import EqualizedConv, EqualizedDense
from gan_jax.layers.resample import upsample_binomial, upsample_nearest
from gan_jax.networks.progan import Growing, fade
from gan_jax.networks.styles import GAIN, Noise, StyleGenerator
from gan_jax.networks.verdict import SLOPE


class Styled(nn.Module):
    """Noise, bias, LeakyReLU and adaptive instance normalization.

    Attributes:
      index: number of the layer, for its noise.
      dtype: of the output; statistics are float32.
      param_dtype: of the parameters.
    """

    index: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, style: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps `x` [batch, h, w, channels] by `style` [batch, style_dim] to the same shape."""
        channels, types = x.shape[-1], {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        x = Noise(self.index, (channels,), self.param_dtype)(x, keys).astype(jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        x = nn.leaky_relu(x + bias, SLOPE)
        x = x - jnp.mean(x, (1, 2), keepdims=True)
        x = x * lax.rsqrt(jnp.mean(jnp.square(x), (1, 2), keepdims=True) + 1e-8)
        affine = EqualizedDense(2 * channels, name="affine", **types)(style)
        scale, shift = jnp.split(affine[:, None, None], 2, axis=-1)
        return ((1.0 + scale) * x + shift).astype(self.dtype)


class Synthesis(nn.Module):
    """Styles to image.

    Attributes:
      shape: of one image of full size.
      widths: of all stages, from the coarsest on.
      used: the first and the last stage that have an image of their own.
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    used: tuple[int, int]
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, styles: jax.Array, level: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps `styles` [batch, 2 * stages, style_dim] to float32 images of the last stage used."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        sides = [side >> (len(self.widths) - 1) for side in self.shape[:2]]
        shape = (*sides, self.widths[0])
        constant = self.param("constant", nn.initializers.ones, shape, self.param_dtype)
        x = jnp.broadcast_to(constant.astype(self.dtype), (styles.shape[0], *shape))
        image, (first, last) = None, self.used
        for stage in range(last + 1):
            for index in (2 * stage, 2 * stage + 1):
                if index:
                    conv = EqualizedConv(
                        self.widths[stage], GAIN, use_bias=False, name=f"conv_{index}", **types
                    )
                    # Bilinear upsampling: nearest neighbours and the filter 1, 2, 1.
                    x = conv(upsample_binomial(x) if index == 2 * stage else x)
                x = Styled(index, name=f"styled_{index}", **types)(x, styles[:, index], keys)
            if stage >= first:
                colors = EqualizedConv(
                    self.shape[-1],
                    kernel_size=(1, 1),
                    name=f"rgb_{stage}",
                    dtype=jnp.float32,
                    param_dtype=self.param_dtype,
                )
                fine = colors(x.astype(jnp.float32))
                if image is None:
                    image = fine
                else:
                    image = fade(upsample_nearest(image), fine, level, stage)
        assert image is not None
        return image


class StyleGAN1Generator(Growing, StyleGenerator):
    """Latent to style, and two styles for each resolution to an image, which no tanh limits."""

    GROUP: ClassVar[str] = "generator.stylegan1"
    TINY: ClassVar[dict[str, int]] = {**Growing.TINY, **StyleGenerator.TINY}

    @property
    def layers(self) -> int:
        """Two for each stage that is used."""
        return 2 * (self._used[1] + 1)

    def setup(self) -> None:
        """Construct both networks, the mean style and the level."""
        super().setup()
        self.level = self._level()

    def _synthesis(self) -> nn.Module:
        widths = tuple(self._width(stage) for stage in range(self.last_stage + 1))
        return Synthesis(self.shape, widths, self._used, **self._types)

    def synthesize(self, styles: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Return images as `StyleGenerator.synthesize` does; a stage's are of its size."""
        images: jax.Array = self.synthesis(styles, self.level, keys)
        return images
