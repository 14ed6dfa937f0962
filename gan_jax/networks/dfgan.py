"""Networks of text and images (DF-GAN, Tao et al. 2020, 2008.05865).

"DF-GAN: A Simple and Effective Baseline for Text-to-Image Synthesis". The generator has one stage,
whose blocks scale and shift every channel, twice before each convolution, by the sentence and the
latent vector. The discriminator joins the sentence to its last map.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.networks.captioned import SENTENCE, Captioned
from gan_jax.networks.checks import check_size, halvings
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator
from gan_jax.networks.verdict import SLOPE, Discriminator, Head, Verdict


def _activated(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, SLOPE)


class Fusion(nn.Module):
    """Scales and shifts each channel twice, with a LeakyReLU after each, then a 3x3 convolution.

    Scales and shifts are an MLP's, of one hidden layer each, and 1 and 0 at first.

    Attributes:
      features: of the convolution.
      upsample: double the resolution before it; what is done to single pixels commutes with that.
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    features: int
    upsample: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, vectors: jax.Array) -> jax.Array:
        """Returns [batch, h, w, features], or 2h and 2w, of a map and of vectors [batch, n]."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        zeros = nn.initializers.zeros

        def numbers() -> jax.Array:
            hidden = nn.relu(nn.Dense(x.shape[-1], **types)(vectors))
            return nn.Dense(x.shape[-1], kernel_init=zeros, **types)(hidden)[:, None, None]

        for _ in range(2):
            x = _activated((1.0 + numbers()) * x + numbers())
        return Conv(self.features, (3, 3), upsample=self.upsample, **types)(x)


class DFGANGenerator(Captioned, Generator):
    """Latent vector and caption to image: residual blocks of two fusions per resolution."""

    GROUP: ClassVar[str] = "generator.dfgan"

    latent_dim: int = 100

    def __post_init__(self) -> None:
        check_size("generator.latent_dim", self.latent_dim)
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        times = halvings(self.shape)
        height, width = (side >> times for side in self.shape[:2])
        widths = self._widths[::-1]

        z = z.astype(self.dtype)
        x = nn.Dense(height * width * widths[0], **self._types)(z)
        x = x.reshape(-1, height, width, widths[0])
        vectors = z
        if self.conditioning == "text":
            sentence = self._sentence(condition).astype(self.dtype)
            vectors = jnp.concatenate([z, sentence], axis=-1)
        for features in widths[1:]:
            y = Fusion(features, upsample=True, **self._types)(x, vectors)
            y = Fusion(features, **self._types)(y, vectors)
            if x.shape[-1] != features:
                x = Conv(features, (1, 1), **self._types)(x)
            x = upsample_nearest(x) + y
        x = Conv(self.shape[-1], (3, 3), **self._types)(_activated(x))
        return jnp.tanh(x.astype(jnp.float32))


class DFGANDiscriminator(Captioned, Discriminator):
    """Image and caption to a score: residual blocks down to a side of 4 to 7, then the sentence.

    With a caption the verdict has the output `sentence`, its vector. A condition with the field
    `sentence`, float32 `[batch, sentence_dim]`, instead of a caption is used as it is.

    In the paper the residual of each block has a learned factor, which is 0 at first. Here there is
    none: in a short run it was 0.1 after 2,500 steps, and the forms of `shapes` were not learned.
    """

    GROUP: ClassVar[str] = "discriminator.dfgan"

    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        if self.heads:
            raise ConfigError(
                f"discriminator.name = 'dfgan' cannot predict {self.heads[0].name}; accepted: a "
                "discriminator with a vector for each image, such as dcgan or resnet"
            )
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        conv = self._convolutions(False, train)
        first, *widths = self._widths
        x = conv(first, (3, 3))(x.astype(self.dtype))
        activations = [x]
        for features in widths:
            y = _activated(conv(features, (4, 4), strides=(2, 2), use_bias=False)(x))
            y = _activated(conv(features, (3, 3), use_bias=False)(y))
            if x.shape[-1] != features:
                x = conv(features, (1, 1))(x)
            x = mean_pool(x) + y
            activations.append(x)
        outputs = {}
        if self.conditioning == "text":
            outputs[SENTENCE] = sentence = self._sentence(condition)
            planes = jnp.broadcast_to(
                sentence.astype(x.dtype)[:, None, None], (*x.shape[:3], self.sentence_dim)
            )
            x = jnp.concatenate([x, planes], axis=-1)
        x = _activated(conv(2 * first, (3, 3), use_bias=False)(x)).astype(jnp.float32)
        activations.append(x)
        # A convolution of the whole map to a single pixel is a dense layer.
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        scores = nn.Dense(1, use_bias=False, **types)(x.reshape(x.shape[0], -1))[:, 0]
        return Verdict(scores, tuple(activations), outputs)
