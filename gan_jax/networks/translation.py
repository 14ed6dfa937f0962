"""Networks from image to image, or sound to sound: their fields, sizes and last step.

Such a network ends in `tanh`, as in the papers; or it is `linear`; or its output is a `residual`
that is added to its input: it then only has to learn the difference of two similar images, and is
the identity before training.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_axes, check_size, check_sizes
from gan_jax.networks.network import Normalized

OUTPUTS = ("tanh", "residual", "linear")
"""The values of the field `output`."""


class Translator(Normalized):
    """A network from images `[batch, height, width, channels]` in [-1, 1] to images.

    The output is float32 `[batch, scale * height, scale * width, outputs]`; height and width are
    any multiples of `multiple`, and `shape` serves for checks. `keys` are those of dropout, in
    training and evaluation alike; without keys there is no dropout.

    Attributes:
      outputs: channels of an output image.
      output: what the last layer's output is: `tanh` of it, `linear`, or a `residual` that is added
        to the input.
    """

    outputs: int
    _: dataclasses.KW_ONLY
    output: str = "tanh"

    @property
    def multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return 1

    @property
    def scale(self) -> int:
        """Size of the output over that of the input."""
        return 1

    def _check_images(self, reason: str = "") -> None:
        """Raise a `ConfigError` unless the network can translate images of that shape.

        Args:
          reason: the field on which `multiple` depends, such as "generator.unet.levels = 4".
        """
        name = self.GROUP.rpartition(".")[-1]
        check_axes(name, "images", self.shape, "height, width, channels", ".")
        check_sizes("data.shape", tuple(self.shape), 3, ": height, width and channels")
        check_size("generator.outputs", self.outputs)
        height, width, channels = self.shape
        if height % self.multiple or width % self.multiple:
            raise ConfigError(
                f"data.resolution = {height}x{width} cannot be halved and doubled as often as "
                f"{reason} requires; accepted: a height and a width that are multiples of "
                f"{self.multiple}."
            )
        self._check_output(channels)

    def _check_output(self, channels: int) -> None:
        """Raise a `ConfigError` unless inputs of ``channels`` channels have such an output."""
        self._check_choice("output", OUTPUTS)
        if self.output == "residual" and 1 < channels < self.outputs:
            raise ConfigError(
                f"{self.GROUP}.output = 'residual' cannot add {self.outputs} channels to an input "
                f"of {channels}; accepted: an input of 1 channel, or of {self.outputs} or more, or "
                "another output: tanh, linear."
            )

    def _last(self, init: Any) -> dict[str, Any]:
        """Return the fields of the last layer; its kernel is zero where it makes a residual."""
        kernel_init = nn.initializers.zeros if self.output == "residual" else init
        return {
            "kernel_init": kernel_init,
            "dtype": jnp.float32,
            "param_dtype": self.param_dtype,
        }

    def _finished(self, y: jax.Array, x: jax.Array) -> jax.Array:
        """Return the images, of the last layer's output and the input.

        The input's first channels are its image: further channels, such as a mask, come last. A
        single channel is added to every output channel. A smaller input is enlarged by Keys' cubic
        interpolation with a = -0.5.
        """
        y = y.astype(jnp.float32)
        if self.output == "tanh":
            return jnp.tanh(y)
        if self.output == "linear":
            return y
        image = x.astype(jnp.float32)[..., : self.outputs]
        if image.shape[-1] < self.outputs:
            image = jnp.broadcast_to(image, (*x.shape[:-1], self.outputs))
        if image.shape != y.shape:
            image = jax.image.resize(image, y.shape, "cubic")
        return image + y


def check_multiple(x: jax.Array, multiple: int) -> None:
    """Raise a `ValueError` unless the axes of space of `x` have sizes that are such multiples."""
    sizes = x.shape[1:-1]
    if any(size % multiple for size in sizes):
        raise ValueError(
            f"an input of {'x'.join(map(str, sizes))}; accepted: multiples of {multiple}"
        )
