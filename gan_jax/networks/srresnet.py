"""The residual network for super-resolution (SRResNet, Ledig et al. 2016, 1609.04802).

All but the last layers work at the small image's resolution; channels become pixels at the end.
Without normalization it has the layers of EDSR (Lim et al. 2017, 1707.02921). Weights start from
He's normal distribution (1502.01852).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.activation import PReLU
from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import pixel_shuffle
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Layer, wants_bias
from gan_jax.networks.translation import Translator

_STAGES: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}

FACTORS = tuple(_STAGES)
"""The enlargements that the network can make."""


def _he(gain: float = 1.0) -> Any:
    """Return He's initializer, with weights of `gain` times its variance."""
    return nn.initializers.variance_scaling(2.0 * gain, "fan_in", "normal")


class SRBlock(nn.Module):
    """Residual block that keeps width and resolution: convolution, PReLU, convolution.

    Attributes:
      norm: makes the layer of normalization after a convolution, of a name.
      use_bias: whether the convolutions have a bias.
      gain: variance of the second convolution's first weights over that of He's.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    norm: Callable[..., Layer]
    use_bias: bool = False
    gain: float = 1.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `x` [batch, height, width, channels] to the same shape."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(Conv, x.shape[-1], (3, 3), use_bias=self.use_bias, **types)
        y = conv(kernel_init=_he(), name="conv_1")(x)
        y = PReLU(name="prelu", **types)(self.norm(name="norm_1")(y, train))
        y = conv(kernel_init=_he(self.gain), name="conv_2")(y)
        return x + self.norm(name="norm_2")(y, train)


class SRResNet(Translator):
    """Small image to large image: residual blocks, then sub-pixel convolutions.

    A convolution and PReLU; `blocks` residual blocks; a convolution, normalized, to which the first
    block's input is added; for each doubling (or for the tripling) a 3x3 convolution, pixel shuffle
    and PReLU; a last convolution.

    Attributes:
      factor: enlargement, one of `FACTORS`; 1 is for restoration.
      features: width of all layers.
      blocks: residual blocks; 16 in the paper.
      kernel_size: size of the first and the last kernel; 9 is the paper's, 3 is EDSR's.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`. With `none` the residual branches start smaller, so that their sum over
        all blocks does not grow.
      output: what the last layer's output is: `tanh` of it, `linear`, or a `residual` that is added
        to the input's bicubic enlargement (Keys' cubic with a = -0.5).
    """

    GROUP: ClassVar[str] = "generator.srresnet"
    TINY: ClassVar[dict[str, int]] = {"features": 8, "blocks": 1}

    factor: int = 4
    features: int = 64
    blocks: int = 16
    kernel_size: int = 9
    output: str = "linear"

    def __post_init__(self) -> None:
        self._check_sizes("factor", "features", "blocks", "kernel_size")
        if self.factor not in FACTORS:
            raise ConfigError(
                f"generator.srresnet.factor = {self.factor} cannot be made; accepted: "
                f"{', '.join(map(str, FACTORS))}."
            )
        self._check_images()
        self._check_normalization((self.features,))
        super().__post_init__()

    @property
    def scale(self) -> int:
        """Size of the output over that of the input."""
        return self.factor

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        types = self._types
        size = (self.kernel_size, self.kernel_size)
        norm = partial(self._norms(), self.normalization)
        use_bias = wants_bias(self.normalization)
        # A branch of He's weights has its input's variance: unnormalized, each block would double
        # that of the sum. So it grows by less than e over all blocks.
        gain = 1.0 / self.blocks if self.normalization == "none" else 1.0
        first = Conv(self.features, size, kernel_init=_he(), name="first", **types)
        y = start = PReLU(name="first_prelu", **types)(first(x.astype(self.dtype)))
        for index in range(self.blocks):
            block = SRBlock(norm, use_bias, gain, name=f"block_{index + 1}", **types)
            y = block(y, train)
        conv = partial(Conv, kernel_size=(3, 3), kernel_init=_he(), **types)
        y = conv(features=self.features, use_bias=use_bias, name="after_blocks")(y)
        y = start + norm(name="after_blocks_norm")(y, train)
        for index, times in enumerate(_STAGES[self.factor]):
            y = conv(features=self.features * times**2, name=f"enlarge_{index + 1}")(y)
            y = PReLU(name=f"enlarge_{index + 1}_prelu", **types)(pixel_shuffle(y, times))
        last = Conv(self.outputs, size, name="last", **self._last(_he()))
        return self._finished(last(y.astype(jnp.float32)), x)
