"""The residual network for super-resolution (SRResNet, Ledig et al. 2016, 1609.04802).

All but the last layers work at the small image's resolution; channels become pixels at the end.
Without normalization it is the plan of EDSR (Lim et al. 2017, 1707.02921). Weights start from He's
normal distribution (1502.01852).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.activation import PReLU
from gan_jax.layers.convolution import Conv
from gan_jax.layers.normalization import make_norm
from gan_jax.layers.resample import pixel_shuffle
from gan_jax.networks.checks import check_size
from gan_jax.networks.condition import Condition
from gan_jax.networks.normalized import check_normalization, wants_bias
from gan_jax.networks.translation import check_images, finished, last_init, same_image

_STAGES: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}

FACTORS = tuple(_STAGES)
"""The enlargements that the network can make."""


def _he(gain: float = 1.0) -> Any:
    """Return He's initializer, with weights of `gain` times its variance."""
    return nn.initializers.variance_scaling(2.0 * gain, "fan_in", "normal")


class SRBlock(nn.Module):
    """Residual block that keeps width and resolution: convolution, PReLU, convolution.

    Attributes:
      normalization: after both convolutions, one of
        `gan_jax.layers.normalization.NORMALIZATIONS`.
      groups: of group normalization.
      gain: variance of the second convolution's first weights over that of He's.
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation and the output.
      param_dtype: of the parameters.
    """

    normalization: str = "batch"
    groups: int = 8
    gain: float = 1.0
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `x` [batch, height, width, channels] to the same shape."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def conv_norm(y: jax.Array, index: int, gain: float) -> jax.Array:
            conv = Conv(
                x.shape[-1],
                (3, 3),
                use_bias=wants_bias(self.normalization),
                kernel_init=_he(gain),
                name=f"conv_{index}",
                **types,
            )
            norm = make_norm(
                self.normalization,
                axis_name=self.axis_name,
                groups=self.groups,
                name=f"norm_{index}",
                **types,
            )
            return norm(conv(y), train)

        y = PReLU(name="prelu", **types)(conv_norm(x, 1, 1.0))
        return x + conv_norm(y, 2, self.gain)


class SRResNet(nn.Module):
    """Small image to large image: residual blocks, then sub-pixel convolutions.

    A convolution and PReLU; `blocks` residual blocks; a convolution, normalized, to which what went
    into the first block is added; for each doubling (or for the tripling) a 3x3 convolution, pixel
    shuffle and PReLU; a last convolution.

    Attributes:
      shape: of one input image: `(height, width, channels)`; it serves for checks, and the network
        takes any height and width.
      outputs: channels of an output image.
      factor: enlargement, one of `FACTORS`; 1 is for restoration.
      features: width of all layers.
      blocks: residual blocks; 16 in the paper.
      kernel_size: size of the first and the last kernel; 9 is the paper's, 3 is EDSR's.
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`; the
        paper's is `batch`. With `none` the residual branches start smaller, so that their sum over
        all blocks does not grow.
      groups: number of groups of group normalization, a divisor of `features`.
      output: what the last layer's output is: `tanh` of it, `linear`, or a `residual` that is added
        to the input's bicubic enlargement (Keys' cubic with a = -0.5).
      axis_name: mapped axis over which batch statistics are shared.
      dtype: of the computation, save the last layer's, which is float32.
      param_dtype: of the parameters.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8, "blocks": 1}

    shape: tuple[int, ...]
    outputs: int
    factor: int = 4
    features: int = 64
    blocks: int = 16
    kernel_size: int = 9
    normalization: str = "batch"
    groups: int = 8
    output: str = "linear"
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        check_size("generator.srresnet.factor", self.factor)
        if self.factor not in FACTORS:
            raise ConfigError(
                f"generator.srresnet.factor = {self.factor} cannot be made; accepted: "
                f"{', '.join(map(str, FACTORS))}."
            )
        for field in ("features", "blocks", "kernel_size"):
            check_size(f"generator.srresnet.{field}", getattr(self, field))
        check_images("srresnet", self.shape, self.outputs, self.output, self.multiple)
        widths = (self.features,)
        check_normalization("generator.srresnet", self.normalization, self.groups, widths)
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1

    @property
    def scale(self) -> int:
        """Size of the output over that of the input."""
        return self.factor

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Maps images `x` to float32 [batch, factor * height, factor * width, outputs].

        Args:
          x: images [batch, height, width, channels] in [-1, 1].
          condition: ignored.
          keys: ignored: there is no dropout.
          train: True normalizes by the batch's statistics, False by the running ones; of
            normalizations, `batch` alone heeds it.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        options: dict[str, Any] = {"axis_name": self.axis_name, "groups": self.groups, **types}
        size = (self.kernel_size, self.kernel_size)
        # A branch of He's weights has its input's variance: unnormalized, each block would double
        # that of the sum. So it grows by less than e over all blocks.
        gain = 1.0 / self.blocks if self.normalization == "none" else 1.0
        first = Conv(self.features, size, kernel_init=_he(), name="first", **types)
        first_features = PReLU(name="first_prelu", **types)(first(x.astype(self.dtype)))
        y = first_features
        for index in range(self.blocks):
            block = SRBlock(self.normalization, gain=gain, name=f"block_{index + 1}", **options)
            y = block(y, train)
        after = Conv(
            self.features,
            (3, 3),
            use_bias=wants_bias(self.normalization),
            kernel_init=_he(),
            name="after_blocks",
            **types,
        )
        norm = make_norm(self.normalization, name="after_blocks_norm", **options)
        y = first_features + norm(after(y), train)
        for index, times in enumerate(_STAGES[self.factor]):
            width = self.features * times**2
            conv = Conv(width, (3, 3), kernel_init=_he(), name=f"enlarge_{index + 1}", **types)
            y = pixel_shuffle(conv(y), times)
            y = PReLU(name=f"enlarge_{index + 1}_prelu", **types)(y)
        last = Conv(
            self.outputs,
            size,
            kernel_init=last_init(self.output, _he()),
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
            name="last",
        )
        y = last(y.astype(jnp.float32))
        if self.output != "residual":
            return finished(y, y, self.output)
        start = jax.image.resize(same_image(x, self.outputs), y.shape, "cubic")
        return finished(y, start, self.output)
