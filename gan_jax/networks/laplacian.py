"""The networks of one level of a Laplacian pyramid of GANs (LAPGAN, Denton 2015, 1506.05751).

At a level, an image is a blurred one, enlarged from half the resolution, plus a residual. The
generator makes a residual for the blurred image it is shown; the discriminator judges a residual
beside it. Both are convolutional and serve any resolution; the coarsest level, which has nothing to
be conditioned on, is left to ordinary networks.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import BatchNorm
from gan_jax.layers.spectral import SpectralConv
from gan_jax.networks.checks import check_choice, check_size, check_sizes
from gan_jax.networks.condition import Condition, check_conditioning, required, with_class
from gan_jax.networks.verdict import Discriminator, Verdict, verdict

CONDITIONING = ("none", "concat")
"""How a level may learn of the class: not, or by constant planes beside the blurred image."""

COARSE = "coarse"
"""The field of the condition that holds the blurred images."""

_SLOPE = 0.2
# He initialization (1502.01852): without batch-norm the signal has to keep its size by itself.
_RELU_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_LEAKY_INIT = nn.initializers.variance_scaling(2.0 / (1.0 + _SLOPE**2), "fan_in", "normal")
# Residuals are small; so are the first ones, and the first samples are the blurred images.
_RESIDUAL_INIT = nn.initializers.variance_scaling(1e-2, "fan_in", "normal")


class LaplacianGenerator(nn.Module):
    """Noise and blurred image to residual, through convolutions that keep the resolution.

    The noise is one more plane of the blurred image, as in the paper. ReLU after every convolution
    but the last, which is linear: a residual has no bounds of its own.

    Attributes:
      shape: of one residual: `(height, width, channels)`.
      features: width of the hidden convolutions.
      layers: number of hidden convolutions; 2 in the paper.
      kernel_size: size of all kernels.
      normalization: normalization of the hidden convolutions: `none`, as in the paper, or `batch`.
      conditioning: see `CONDITIONING`.
      num_classes: of the data; None: they have no labels.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation; the output is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    features: int = 64
    layers: int = 2
    kernel_size: int = 5
    normalization: str = "none"
    conditioning: str = "none"
    num_classes: int | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_sizes("data.shape", self.shape, 3, ", height, width and channels")
        for field in ("features", "layers", "kernel_size"):
            check_size(f"game.laplacian.generator.{field}", getattr(self, field))
        check_choice(
            "game.laplacian.generator.normalization", self.normalization, ("none", "batch")
        )
        check_conditioning(
            "generator.conditioning", self.conditioning, CONDITIONING, self.num_classes
        )
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of the latent vector: a number per pixel."""
        height, width, _ = self.shape
        return height * width

    @nn.compact
    def __call__(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps latents and blurred images to float32 residuals [batch, *shape].

        Args:
          z: latents [batch, latent_dim].
          condition: needs `coarse`, blurred images [batch, *shape]; and `label` where the network
            is conditional.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        size = (self.kernel_size, self.kernel_size)
        normalized = self.normalization == "batch"
        coarse = required(condition, COARSE)
        plane = z.reshape(-1, *self.shape[:2], 1)
        x = jnp.concatenate([coarse.astype(self.dtype), plane.astype(self.dtype)], axis=-1)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        for _ in range(self.layers):
            conv = Conv(
                self.features, size, use_bias=not normalized, kernel_init=_RELU_INIT, **types
            )
            x = conv(x)
            if normalized:
                x = BatchNorm(axis_name=self.axis_name, **types)(x, train)
            x = nn.relu(x)
        x = Conv(self.shape[-1], size, kernel_init=_RESIDUAL_INIT, **types)(x)
        return x.astype(jnp.float32)


class LaplacianDiscriminator(Discriminator):
    """Residual and blurred image to score: two strided convolutions, then one dense layer.

    The two are added up before the first convolution, as in the paper: it sees the sharp image,
    whose residual is real or generated, and the blurred one beside it.

    Attributes:
      shape: of one residual: `(height, width, channels)`.
      features: width of the first convolution; the second has twice as many.
      kernel_size: size of both kernels.
      normalization: `none`, `batch` (after the second convolution), or `spectral` (of every layer's
        kernel).
      conditioning: see `CONDITIONING`.
      num_classes: of the data; None: they have no labels.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8}

    shape: tuple[int, ...]
    features: int = 64
    kernel_size: int = 5
    normalization: str = "none"
    conditioning: str = "none"
    num_classes: int | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_sizes("data.shape", self.shape, 3, ", height, width and channels")
        for field in ("features", "kernel_size"):
            check_size(f"game.laplacian.discriminator.{field}", getattr(self, field))
        check_choice(
            "game.laplacian.discriminator.normalization",
            self.normalization,
            ("none", "batch", "spectral"),
        )
        check_conditioning(
            "discriminator.conditioning", self.conditioning, CONDITIONING, self.num_classes
        )
        super().__post_init__()

    @nn.compact
    def judge(
        self,
        residual: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Returns the whole verdict on residuals beside blurred images.

        Args:
          residual: [batch, *shape].
          condition: needs `coarse`, blurred images [batch, *shape]; and `label` where the network
            is conditional.
          keys: ignored.
          train: True normalizes by the batch's statistics, False by the running ones; and True
            moves spectral normalization's vectors on, where the collection `spectral` is mutable.
        """
        spectral = self.normalization == "spectral"
        make_conv = partial(SpectralConv, train=train) if spectral else Conv
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        coarse = required(condition, COARSE)
        x = jnp.concatenate([coarse + residual, coarse], axis=-1).astype(self.dtype)
        if self.conditioning == "concat":
            x = with_class(x, condition, self.num_classes)
        activations = []
        for index in range(2):
            normalized = self.normalization == "batch" and index > 0
            conv = make_conv(
                self.features << index,
                (self.kernel_size, self.kernel_size),
                (2, 2),
                "SAME",
                use_bias=not normalized,
                kernel_init=_LEAKY_INIT,
                **types,
            )
            x = conv(x)
            if normalized:
                x = BatchNorm(axis_name=self.axis_name, **types)(x, train)
            x = nn.leaky_relu(x, _SLOPE)
            activations.append(x)
        return verdict(
            x.reshape(x.shape[0], -1),
            tuple(activations),
            condition,
            spectral=spectral,
            train=train,
            param_dtype=self.param_dtype,
        )
