"""The networks of one level of a Laplacian pyramid of GANs (LAPGAN, Denton 2015, 1506.05751).

At a level, an image is a blurred one, enlarged from half the resolution, plus a residual. The
generator makes a residual for a given blurred image; the discriminator judges a residual beside it.
Both are convolutional and serve any resolution; the coarsest level, which has nothing to be
conditioned on, is left to ordinary networks.
"""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.spectral import SpectralDense
from gan_jax.networks.checks import check_sizes
from gan_jax.networks.condition import Condition, required
from gan_jax.networks.dcgan import flattened, strided
from gan_jax.networks.network import Conditioned, Generator, he_leaky
from gan_jax.networks.verdict import SLOPE, Discriminator, Verdict

CONDITIONING = ("none", "concat")
"""The values accepted of the field `conditioning`."""

COARSE = "coarse"
"""The field of the condition that holds the blurred images."""

# Without batch-norm the variance has to be kept by the weights.
_RELU_INIT = he_leaky(0.0)
# Residuals are small; so are the first ones, and the first samples are the blurred images.
_RESIDUAL_INIT = nn.initializers.variance_scaling(1e-2, "fan_in", "normal")


class LaplacianGenerator(Generator):
    """Noise and blurred image to residual, through convolutions that keep the resolution.

    The noise is one more plane of the blurred image, as in the paper. ReLU after every convolution
    but the last, which is linear: a residual has no bounds of its own. The condition has a field
    `coarse`: the blurred images, `[batch, *shape]`.

    Attributes:
      features: width of the hidden convolutions.
      layers: number of hidden convolutions; 2 in the paper.
      kernel_size: size of all kernels.
      normalization: normalization of the hidden convolutions: `none`, as in the paper, or `batch`.
      conditioning: `none`, or `concat`: a plane per class beside the blurred image.
    """

    GROUP: ClassVar[str] = "game.laplacian.generator"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int = 64
    layers: int = 2
    kernel_size: int = 5
    normalization: str = "none"

    def __post_init__(self) -> None:
        check_sizes("data.shape", self.shape, 3, ", height, width and channels")
        self._check_sizes("features", "layers", "kernel_size")
        self._check_choice("normalization", ("none", "batch"))
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of the latent vector: a number per pixel."""
        height, width, _ = self.shape
        return height * width

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        size = (self.kernel_size, self.kernel_size)
        hidden = partial(
            Conv,
            self.features,
            size,
            use_bias=self.normalization == "none",
            kernel_init=_RELU_INIT,
            **self._types,
        )
        coarse = required(condition, COARSE)
        plane = z.reshape(-1, *self.shape[:2], 1)
        x = jnp.concatenate([coarse.astype(self.dtype), plane.astype(self.dtype)], axis=-1)
        x = self._with_class(x, condition)
        for _ in range(self.layers):
            x = hidden()(x)
            norm = make_norm(self.normalization, axis_name=self.axis_name, **self._types)
            x = nn.relu(norm(x, train))
        x = Conv(self.shape[-1], size, kernel_init=_RESIDUAL_INIT, **self._types)(x)
        return x.astype(jnp.float32)


class LaplacianDiscriminator(Conditioned, Discriminator):
    """Residual and blurred image to score: two strided convolutions, then one dense layer.

    The two are added before the first convolution, as in the paper: its input is the sharp image,
    whose residual is real or generated, and the blurred one beside it. The condition has a field
    `coarse`: the blurred images, `[batch, *shape]`.

    Attributes:
      features: width of the first convolution; the second has twice as many.
      kernel_size: size of both kernels.
      normalization: `none`, `batch` (after the second convolution), or `spectral` (of every layer's
        kernel).
      conditioning: `none`, or `concat`: a plane per class beside the blurred image.
    """

    GROUP: ClassVar[str] = "game.laplacian.discriminator"
    CONDITIONING: ClassVar[tuple[str, ...]] = CONDITIONING
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    features: int = 64
    kernel_size: int = 5
    normalization: str = "none"

    def __post_init__(self) -> None:
        check_sizes("data.shape", self.shape, 3, ", height, width and channels")
        self._check_sizes("features", "kernel_size")
        self._check_choice("normalization", ("none", "batch", "spectral"))
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        spectral = self.normalization == "spectral"
        coarse = required(condition, COARSE)
        x = jnp.concatenate([coarse + x, coarse], axis=-1).astype(self.dtype)
        x = self._with_class(x, condition)
        conv = self._convolutions(
            spectral,
            train,
            kernel_size=(self.kernel_size, self.kernel_size),
            strides=(2, 2),
            kernel_init=he_leaky(SLOPE),
        )
        norm = partial(make_norm, axis_name=self.axis_name, **self._types)
        normalizations = ("none", "none" if spectral else self.normalization)
        widths = (self.features, 2 * self.features)
        activations = strided(x, widths, conv, norm, normalizations, train)
        dense = partial(SpectralDense, train=train) if spectral else nn.Dense
        last = dense(1, dtype=jnp.float32, param_dtype=self.param_dtype)
        scores = last(flattened(activations[-1]).astype(jnp.float32))[:, 0]
        return Verdict(scores, tuple(activations), {})
