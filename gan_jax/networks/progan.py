"""Networks that grow from 4x4 pixels to the image (ProGAN, Karras et al. 2017, 1710.10196).

"Progressive Growing of GANs for Improved Quality, Stability, and Variation". Stage s of a network
makes, or judges, images that are halved as often as there are later stages; the coarsest, of stage
0, have a shorter side of 4 to 7. All stages' layers exist from the start. How many of them are used
is one number, the level, in the collection `growth`: at level s + alpha, with 0 < alpha <= 1, the
layers of stage s + 1 have the share alpha in the image, and in the features of an image, those of
stage s the rest. Thus a network is a continuous function of the level, and a checkpoint has the
level that its samples are made at. `gan_jax.games.progressive` raises it during training. A moving
average of a network includes the level: averaged weights are not those of the present level.

Every layer has an equalized learning rate (`gan_jax.layers.equalized`).
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.equalized import EqualizedConv, EqualizedDense
from gan_jax.layers.normalization import PixelNorm
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.networks.checks import check_image_shape, check_size, halvings, width_at
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator, Network
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

GROWTH = "growth"
"""The collection of the number `level`, float32 from 0 to the last stage."""

_GAIN = 2**0.5


def fade(coarse: jax.Array, fine: jax.Array, level: jax.Array, stage: int) -> jax.Array:
    """Fade the layers of a stage in: exactly `coarse` up to level stage - 1, `fine` from stage on.

    Args:
      coarse: what the earlier stages give, `[batch, height, width, channels]`.
      fine: what this stage gives, of the same shape.
      level: float32 scalar.
      stage: 1 or more.
    """
    share = jnp.clip(level - (stage - 1), 0.0, 1.0).astype(fine.dtype)
    return (1 - share) * coarse + share * fine


def _activated(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, SLOPE)


class Growing(Network):
    """What both networks share.

    Attributes:
      features: width at 64x64; it is in inverse proportion to the side, up to `max_features`.
      max_features: the largest width.
      stage: the network is used at levels above `stage - 1`, up to `stage`: only the layers that
        have a share there are computed, and images are of this stage's size. None: at any level,
        with images of full size.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 2, "max_features": 4}

    features: int = 256
    max_features: int = 512
    stage: int | None = None

    def __post_init__(self) -> None:
        check_image_shape("progan", self.shape)
        self._check_sizes("features", "max_features")
        super().__post_init__()

    @property
    def last_stage(self) -> int:
        """The number of the stage of full size; the first is 0."""
        return halvings(self.shape)

    @property
    def _used(self) -> tuple[int, int]:
        """The first and the last stage that have an image of their own."""
        if self.stage is None:
            return 0, self.last_stage
        return max(self.stage - 1, 0), self.stage

    def _width(self, stage: int) -> int:
        side = min(self.shape[:2]) >> (self.last_stage - stage)
        return width_at(side, self.features, self.max_features)

    def _level(self) -> jax.Array:
        """Return the level; a network that nothing raises is fully grown."""
        return self.variable(GROWTH, "level", lambda: jnp.float32(self.last_stage)).value

    def _convolution(
        self, stage: int, index: int, features: int, *, upsample: bool = False
    ) -> Callable[..., jax.Array]:
        """Return a 3x3 convolution, after doubling the resolution or not, and an activation."""
        name = f"conv_{stage}_{index}"
        conv = EqualizedConv(features, _GAIN, name=name, upsample=upsample, **self._types)
        return lambda x: _activated(conv(x))


class ProGANGenerator(Growing, Generator):
    """Latent vector, scaled to a mean square of 1, to image, which no tanh limits.

    Nearest-neighbour upsampling and two 3x3 convolutions lead from one stage to the next. Each is
    followed by LeakyReLU and pixel normalization.
    """

    GROUP: ClassVar[str] = "generator.progan"

    latent_dim: int = 512

    def __post_init__(self) -> None:
        check_size("generator.latent_dim", self.latent_dim)
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        level, (first, last) = self._level(), self._used
        norm = PixelNorm(dtype=self.dtype)
        rgb = partial(
            EqualizedConv, self.shape[-1], kernel_size=(1, 1), param_dtype=self.param_dtype
        )

        height, width = (side >> self.last_stage for side in self.shape[:2])
        features = self._width(0)
        # The norm that follows would undo any gain; this one slows the layer down.
        dense = partial(EqualizedDense, gain=_GAIN / (height * width) ** 0.5, use_bias=False)
        z = norm(self._with_class(z.astype(self.dtype), condition))
        x = dense(height * width * features, name="dense", **self._types)(z)
        bias = self.param("bias", nn.initializers.zeros, (features,), self.param_dtype)
        x = x.reshape(-1, height, width, features) + bias.astype(self.dtype)
        x = norm(self._convolution(0, 0, features)(norm(_activated(x))))
        image = None
        for stage in range(last + 1):
            if stage:
                features = self._width(stage)
                x = norm(self._convolution(stage, 0, features, upsample=True)(x))
                x = norm(self._convolution(stage, 1, features)(x))
            if stage >= first:
                fine = rgb(name=f"rgb_{stage}")(x.astype(jnp.float32))
                if image is None:
                    image = fine
                else:
                    image = fade(upsample_nearest(image), fine, level, stage)
        assert image is not None
        return image


class ProGANDiscriminator(Growing, VectorDiscriminator):
    """Image to score: two 3x3 convolutions and a mean over 2x2 pixels lead to the stage before.

    With `stddev`, the standard deviation over groups of the batch is a channel of the coarsest map,
    as in the paper. A 3x3 convolution and a hidden dense layer follow; there is no normalization.
    """

    GROUP: ClassVar[str] = "discriminator.progan"

    minibatch: str = "stddev"

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        level, (first, last) = self._level(), self._used

        def seen(x: jax.Array, stage: int) -> jax.Array:
            """Return the features of an image of a stage's size."""
            name, options = f"rgb_{stage}", {"kernel_size": (1, 1), **self._types}
            conv = EqualizedConv(self._width(stage), _GAIN, name=name, **options)
            return _activated(conv(self._with_class(x.astype(self.dtype), condition)))

        def pool(x: jax.Array) -> jax.Array:
            """Return the hidden layer's vectors."""
            types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
            hidden = EqualizedDense(self._width(0), _GAIN, name="dense", **types)
            return _activated(hidden(x.reshape(x.shape[0], -1)))

        while x.shape[1] > self.shape[0] >> (self.last_stage - last):
            x = mean_pool(x)
        activations = [seen(x, last)]
        for stage in range(last, 0, -1):
            y = self._convolution(stage, 0, self._width(stage))(activations[-1])
            y = mean_pool(self._convolution(stage, 1, self._width(stage - 1))(y))
            x = mean_pool(x)
            if stage > first:
                y = fade(seen(x, stage - 1), y, level, stage)
            activations.append(y)
        y = activations[-1]
        if self.minibatch == "stddev":
            y = self._with_deviation(y, train)
        y = self._convolution(0, 0, self._width(0))(y)
        return self._verdict(
            y, pool, activations, condition, train, layer=EqualizedDense, appended=True
        )
