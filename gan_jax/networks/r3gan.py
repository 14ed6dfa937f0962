"""Residual networks without normalization (R3GAN, Huang et al. 2025, 2501.05441).

"The GAN is dead; long live the GAN! A Modern GAN Baseline". Both networks are stages of residual
blocks, one stage per resolution from the coarsest map (4x4) to the image; between two of them the
resolution changes by a smooth resampling, and the width by a 1x1 convolution. A block is

    x + conv1x1(act(grouped conv3x3(act(conv1x1(x)))))

where act is a bias and LeakyReLU, and the 3x3 convolution is in groups of few channels. Nothing
else has a bias, and images are not limited by a tanh. Residual branches start from zero: the last
convolution of each is zero, the others are scaled down with the number of blocks (Fixup, Zhang et
al. 2019, 1901.09321), so that no normalization is needed.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import downsample_binomial, upsample_binomial
from gan_jax.networks.checks import (
    check_image_shape,
    check_size,
    check_widths,
    halvings,
    widths_of,
)
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator, Network
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

_LINEAR = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_MEANING = "the widths of the stages, from the coarsest on"


class Block(nn.Module):
    """Residual block; it starts as the identity.

    Attributes:
      hidden: width between its convolutions.
      groups: of its 3x3 convolution.
      blocks: how many the network has.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    hidden: int
    groups: int
    blocks: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to the same shape."""
        # Of three convolutions: the standard deviation falls with the fourth root of the blocks.
        scale = 2.0 / (1.0 + SLOPE**2) / self.blocks**0.5
        init = nn.initializers.variance_scaling(scale, "fan_in", "normal")
        conv = partial(Conv, dtype=self.dtype, param_dtype=self.param_dtype)
        y = conv(self.hidden, (1, 1), kernel_init=init)(x)
        y = nn.leaky_relu(y, SLOPE)
        y = conv(self.hidden, (3, 3), kernel_init=init, groups=self.groups)(y)
        y = nn.leaky_relu(y, SLOPE)
        zeros = nn.initializers.zeros
        return x + conv(x.shape[-1], (1, 1), kernel_init=zeros, use_bias=False)(y)


class _Staged(Network):
    """What both networks share.

    Attributes:
      features: width of every stage, or a tuple: from the coarsest on.
      blocks: residual blocks of a stage.
      expansion: width between the convolutions of a block, over that of its stage.
      group_size: channels of a group of the 3x3 convolutions.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8, "blocks": 1, "group_size": 8}

    features: int | tuple[int, ...] = 768
    blocks: int = 2
    expansion: int = 2
    group_size: int = 16

    def __post_init__(self) -> None:
        check_image_shape("r3gan", self.shape)
        check_widths(f"{self.GROUP}.features", self.features, self._stages, _MEANING)
        self._check_sizes("blocks", "expansion", "group_size")
        for width in self._widths:
            if self.expansion * width % self.group_size:
                raise ConfigError(
                    f"{self.GROUP}.group_size = {self.group_size} for blocks of the width "
                    f"{self.expansion} * {width}; accepted: a divisor of it"
                )
        super().__post_init__()

    @property
    def _stages(self) -> int:
        return halvings(self.shape) + 1

    @property
    def _widths(self) -> tuple[int, ...]:
        return widths_of(self.features, self._stages)

    def _stage(self, x: jax.Array) -> jax.Array:
        """Return what the blocks of one stage make of `x`."""
        hidden, count = self.expansion * x.shape[-1], self.blocks * self._stages
        for _ in range(self.blocks):
            x = Block(hidden, hidden // self.group_size, count, **self._types)(x)
        return x

    def _resized(self, x: jax.Array, features: int) -> jax.Array:
        """Return `x` at another width, by a 1x1 convolution if it has to change."""
        return x if x.shape[-1] == features else self._linear(features)(x)

    def _linear(self, features: int, **types: Any) -> nn.Module:
        types = {**self._types, **types}
        return Conv(features, (1, 1), use_bias=False, kernel_init=_LINEAR, **types)


class R3GANGenerator(_Staged, Generator):
    """Latent vector to image: a learned coarsest map, scaled by the latent; then stages.

    Attributes:
      features: width of every stage, or a tuple: from the coarsest on; 768 is the paper's for
        CIFAR-10.
    """

    GROUP: ClassVar[str] = "generator.r3gan"

    latent_dim: int = 64

    def __post_init__(self) -> None:
        check_size("generator.latent_dim", self.latent_dim)
        super().__post_init__()

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        first, *rest = self._widths
        sides = [side >> halvings(self.shape) for side in self.shape[:2]]
        normal = nn.initializers.normal(1.0)
        basis = self.param("basis", normal, (*sides, first), self.param_dtype)
        z = self._with_class(z.astype(self.dtype), condition)
        scales = nn.Dense(first, use_bias=False, kernel_init=_LINEAR, **self._types)(z)
        x = self._stage(basis.astype(self.dtype) * scales[:, None, None])
        for features in rest:
            # A 1x1 convolution commutes with the resampling, at a quarter of the cost.
            x = self._stage(upsample_binomial(self._resized(x, features)))
        return self._linear(self.shape[-1], dtype=jnp.float32)(x.astype(jnp.float32))


class R3GANDiscriminator(_Staged, VectorDiscriminator):
    """Image to score: stages down to the coarsest map, each channel's weighted sum, a dense layer.

    With `projection`, the inner product with a learned vector of the class is added; the paper has
    that product alone.

    Attributes:
      features: width of every stage, or a tuple: from the coarsest on; 768 is the paper's for
        CIFAR-10.
    """

    GROUP: ClassVar[str] = "discriminator.r3gan"

    def __post_init__(self) -> None:
        # The weights of the sums belong to the channels of the last stage.
        self._check_choice("minibatch", ("none", "discrimination"))
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        first, *rest = reversed(self._widths)
        x = self._with_class(x.astype(self.dtype), condition)
        activations = [self._stage(self._linear(first)(x))]
        for features in rest:
            smaller = downsample_binomial(activations[-1])
            activations.append(self._stage(self._resized(smaller, features)))

        def pool(x: jax.Array) -> jax.Array:
            """Return each channel's sum over its pixels, by learned weights."""
            init = nn.initializers.normal(1 / (x.shape[1] * x.shape[2]) ** 0.5)
            return jnp.sum(x * self.param("pool", init, x.shape[1:], self.param_dtype), (1, 2))

        return self._verdict(
            activations[-1],
            pool,
            activations,
            condition,
            train,
            use_bias=False,
            kernel_init=_LINEAR,
        )
