"""Encoders: from a data point to numbers, such as the mean and variance of a latent vector.

They are discriminators' trunks with a dense layer to any number of outputs: strided convolutions
(DCGAN, Radford et al. 2015, 1511.06434; so is the encoder of VAE/GAN, Larsen et al. 2015,
1512.09300), or dense layers.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import BatchNorm
from gan_jax.networks.checks import check_choice, check_image_shape, check_size, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.dcgan import RESOLUTIONS

_COARSEST = 4
_SLOPE = 0.2
_INIT = nn.initializers.normal(0.02)
# He initialization for LeakyReLU (1502.01852, equation 15), as in the other MLPs.
_HIDDEN_INIT = nn.initializers.variance_scaling(2.0 / (1.0 + _SLOPE**2), "fan_in", "normal")


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draw batch-norm's scales from N(1, 0.02), as DCGAN does."""
    return 1.0 + _INIT(key, shape, dtype)


class DCGANEncoder(nn.Module):
    """Image to numbers: strided convolutions down to 4x4, then one dense layer.

    LeakyReLU after every convolution, batch-norm before it. The dense layer's weights start from
    N(0, 0.02), so that a posterior told by mean and logarithm of the variance starts near the
    standard normal.

    Attributes:
      shape: of one image: `(height, width, channels)`, square, of a resolution that
        `gan_jax.networks.dcgan.RESOLUTIONS` has.
      outputs: numbers given for each image.
      features: width at half the image's resolution; it doubles with every halving, up to
        `max_features`.
      max_features: the largest width.
      kernel_size: size of the convolutions' kernels; 5 is VAE/GAN's.
      normalization: normalization of every convolution: `batch` or `none`.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    outputs: int
    features: int = 64
    max_features: int = 512
    kernel_size: int = 4
    normalization: str = "batch"
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_image_shape("dcgan", self.shape, RESOLUTIONS)
        check_size("encoder.outputs", self.outputs)
        for field in ("features", "max_features", "kernel_size"):
            check_size(f"encoder.dcgan.{field}", getattr(self, field))
        check_choice("encoder.dcgan.normalization", self.normalization, ("batch", "none"))
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps images `x` [batch, *shape] to float32 [batch, outputs].

        Args:
          x: images in [-1, 1].
          condition: ignored.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        normalized = self.normalization == "batch"
        halvings = (self.shape[0] // _COARSEST).bit_length() - 1
        x = x.astype(self.dtype)
        for level in range(halvings):
            conv = Conv(
                min(self.features << level, self.max_features),
                (self.kernel_size, self.kernel_size),
                (2, 2),
                "SAME",
                # Batch-norm takes the mean away, so a bias before it would never learn.
                use_bias=not normalized,
                kernel_init=_INIT,
                **types,
            )
            x = conv(x)
            if normalized:
                norm = BatchNorm(axis_name=self.axis_name, scale_init=_scale_init, **types)
                x = norm(x, train)
            x = nn.leaky_relu(x, _SLOPE)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        last = nn.Dense(
            self.outputs, kernel_init=_INIT, dtype=jnp.float32, param_dtype=self.param_dtype
        )
        return last(x)


class MLPEncoder(nn.Module):
    """Data point to numbers, through dense layers with LeakyReLU.

    Attributes:
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      outputs: numbers given for each data point.
      features: widths of the hidden layers.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 16}

    shape: tuple[int, ...]
    outputs: int
    features: tuple[int, ...] = (1024, 512, 256)
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_sizes("data.shape", self.shape)
        check_size("encoder.outputs", self.outputs)
        check_sizes("encoder.mlp.features", self.features)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps data points `x` [batch, *shape] to float32 [batch, outputs].

        Args:
          x: data points.
          condition: ignored.
          keys: ignored.
          train: ignored.
        """
        x = x.reshape(x.shape[0], -1).astype(self.dtype)
        for width in self.features:
            layer = nn.Dense(
                width, kernel_init=_HIDDEN_INIT, dtype=self.dtype, param_dtype=self.param_dtype
            )
            x = nn.leaky_relu(layer(x), _SLOPE)
        last = nn.Dense(
            self.outputs, kernel_init=_INIT, dtype=jnp.float32, param_dtype=self.param_dtype
        )
        return last(x.astype(jnp.float32))
