"""Deep convolutional generator and discriminator (DCGAN, Radford et al. 2015, 1511.06434).

The generator doubles the resolution from 4x4 with transposed convolutions, the discriminator halves
it back to 4x4 with strided ones. The width at half the image's resolution is `features`, and it
doubles with every halving, up to `max_features`. Weights start from N(0, 0.02), batch-norm's scales
from N(1, 0.02), as in the paper.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.conditional import ConditionalBatchNorm
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.spectral import SpectralConv
from gan_jax.networks.checks import check_choice, check_image_shape, check_size
from gan_jax.networks.condition import (
    DISCRIMINATOR_CONDITIONING,
    GENERATOR_CONDITIONING,
    LABEL,
    Condition,
    check_conditioning,
    required,
    with_class,
)
from gan_jax.networks.normalized import check_class_norm, check_normalization, wants_bias
from gan_jax.networks.verdict import MINIBATCH, Discriminator, Head, Verdict, scored_vector, verdict

RESOLUTIONS = (8, 16, 32, 64, 128)
"""The resolutions that the architecture admits; 28x28 data is padded or resized to 32 first."""

_COARSEST = 4
_SLOPE = 0.2
_INIT = nn.initializers.normal(0.02)


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draw batch-norm's scales from N(1, 0.02)."""
    return 1.0 + _INIT(key, shape, dtype)


def _widths(resolution: int, features: int, max_features: int) -> list[int]:
    """Return the widths at 4x4, 8x8, ... half the resolution."""
    halvings = (resolution // _COARSEST).bit_length() - 1
    return [min(features << level, max_features) for level in reversed(range(halvings))]


def _flattened(x: jax.Array) -> jax.Array:
    """Return maps [batch, height, width, channels] as vectors."""
    return x.reshape(x.shape[0], -1)


class DCGANGenerator(nn.Module):
    """Latent vector to image: dense to 4x4, then transposed convolutions of stride 2.

    Normalization and ReLU after every layer but the last, tanh after that.

    Attributes:
      shape: of one image: `(height, width, channels)`, square, see `RESOLUTIONS`.
      latent_dim: length of the latent vector.
      features: width at half the image's resolution, which doubles with every halving up to
        `max_features`; 128 is the paper's.
      max_features: the largest width; 1024 is the paper's.
      kernel_size: size of the transposed convolutions' kernels. 5 is the paper's; 4, a multiple of
        the stride, covers every pixel equally often, which avoids checkerboard patterns.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`.
      groups: number of groups of group normalization, a divisor of every layer's width.
      conditioning: `none`, `concat` (the class beside the latent vector), or `batch_norm`
        (scales and shifts of each class; with normalization `batch` alone).
      num_classes: of the data; None: they have no labels.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation; the output is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    latent_dim: int = 100
    features: int = 64
    max_features: int = 512
    kernel_size: int = 4
    normalization: str = "batch"
    groups: int = 8
    conditioning: str = "none"
    num_classes: int | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_image_shape("dcgan", self.shape, RESOLUTIONS)
        check_size("generator.latent_dim", self.latent_dim)
        for field in ("features", "max_features", "kernel_size"):
            check_size(f"generator.dcgan.{field}", getattr(self, field))
        check_conditioning(
            "generator.conditioning", self.conditioning, GENERATOR_CONDITIONING, self.num_classes
        )
        widths = tuple(_widths(self.shape[0], self.features, self.max_features))
        check_normalization("generator.dcgan", self.normalization, self.groups, widths)
        check_class_norm("generator.dcgan", self.conditioning, self.normalization)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps latents `z` [batch, latent_dim] to float32 images [batch, *shape] in [-1, 1].

        Args:
          z: latents.
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones.
        """
        types = {
            "axis_name": self.axis_name,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }

        def norm_relu(x: jax.Array) -> jax.Array:
            if self.conditioning == "batch_norm":
                assert self.num_classes is not None  # Checked by `check_conditioning`.
                conditional = ConditionalBatchNorm(self.num_classes, **types)
                return nn.relu(conditional(x, required(condition, LABEL), train))
            norm = make_norm(
                self.normalization, groups=self.groups, scale_init=_scale_init, **types
            )
            return nn.relu(norm(x, train))

        def transposed(width: int, use_bias: bool) -> ConvTranspose:
            return ConvTranspose(
                width,
                (self.kernel_size, self.kernel_size),
                (2, 2),
                "SAME",
                use_bias=use_bias,
                kernel_init=_INIT,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )

        first, *widths = _widths(self.shape[0], self.features, self.max_features)
        use_bias = wants_bias(self.normalization)
        dense = nn.Dense(
            _COARSEST * _COARSEST * first,
            use_bias=use_bias,
            kernel_init=_INIT,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        x = z.astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        x = dense(x).reshape(-1, _COARSEST, _COARSEST, first)
        x = norm_relu(x)
        for width in widths:
            x = norm_relu(transposed(width, use_bias)(x))
        x = transposed(self.shape[-1], use_bias=True)(x)
        return jnp.tanh(x.astype(jnp.float32))


class DCGANDiscriminator(Discriminator):
    """Image to score: strided convolutions down to 4x4, then one dense layer.

    LeakyReLU after every convolution; normalization before it, save in the first layer.

    Attributes:
      shape: of one image: `(height, width, channels)`, square, see `RESOLUTIONS`.
      features: width at half the image's resolution, which doubles with every halving up to
        `max_features`.
      max_features: the largest width.
      kernel_size: size of the convolutions' kernels; 5 is the paper's.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel`,
        `local_response`, or `spectral` (of every layer's kernel). With a penalty on each image's
        gradient use any but `batch`, which makes the score of one image depend on the others.
      groups: number of groups of group normalization, a divisor of the width of every layer but the
        first.
      minibatch: `none`, or what the score sees of the batch's other examples beside the 4x4 map:
        `stddev` or `discrimination`, see `gan_jax.networks.verdict.scored_vector`.
      conditioning: `none`, `concat` (a plane per class beside the image), or `projection`.
      num_classes: of the data; None: they have no labels.
      heads: further outputs.
      axis_name: mapped axis whose devices share one batch.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    features: int = 64
    max_features: int = 512
    kernel_size: int = 4
    normalization: str = "batch"
    groups: int = 8
    minibatch: str = "none"
    conditioning: str = "none"
    num_classes: int | None = None
    heads: tuple[Head, ...] = ()
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_image_shape("dcgan", self.shape, RESOLUTIONS)
        for field in ("features", "max_features", "kernel_size"):
            check_size(f"discriminator.dcgan.{field}", getattr(self, field))
        _, *widths = reversed(_widths(self.shape[0], self.features, self.max_features))
        check_normalization(
            "discriminator.dcgan",
            self.normalization,
            self.groups,
            tuple(widths),
            more=("spectral",),
        )
        check_choice("discriminator.dcgan.minibatch", self.minibatch, MINIBATCH)
        check_conditioning(
            "discriminator.conditioning",
            self.conditioning,
            DISCRIMINATOR_CONDITIONING,
            self.num_classes,
        )
        super().__post_init__()

    @nn.compact
    def judge(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Returns the whole verdict on images.

        Args:
          x: images [batch, *shape] in [-1, 1].
          condition: needs `label` where the network is conditional.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones; True moves
            spectral normalization's vectors on, where the collection `spectral` is mutable; and,
            with `minibatch`, False compares the examples of this call alone.
        """
        spectral = self.normalization == "spectral"
        make_conv = partial(SpectralConv, train=train) if spectral else Conv
        x = x.astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        activations = []
        widths = _widths(self.shape[0], self.features, self.max_features)
        for index, width in enumerate(reversed(widths)):
            normalization = self.normalization if index > 0 and not spectral else "none"
            conv = make_conv(
                width,
                (self.kernel_size, self.kernel_size),
                (2, 2),
                "SAME",
                use_bias=wants_bias(normalization),
                kernel_init=_INIT,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )
            norm = make_norm(
                normalization,
                axis_name=self.axis_name,
                groups=self.groups,
                scale_init=_scale_init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )
            x = nn.leaky_relu(norm(conv(x), train), _SLOPE)
            activations.append(x)
        phi = _flattened(x).astype(jnp.float32)
        scored = scored_vector(
            x,
            phi,
            _flattened,
            minibatch=self.minibatch,
            field="discriminator.dcgan.minibatch",
            train=train,
            initializing=self.is_initializing(),
            axis_name=self.axis_name,
            param_dtype=self.param_dtype,
        )
        return verdict(
            phi,
            tuple(activations),
            condition,
            scored=scored,
            conditioning=self.conditioning,
            num_classes=self.num_classes,
            heads=self.heads,
            spectral=spectral,
            train=train,
            kernel_init=_INIT,
            param_dtype=self.param_dtype,
        )
