"""What networks that make an image of an image share: the sizes that they take, and how they end.

Such a network ends in `tanh`, as the papers' do; or it is `linear`; or it makes a `residual`, which
is added to its input: of two images that are nearly the same, it only has to learn the difference,
and before it has learned anything it is the identity.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_choice, check_size, check_sizes

OUTPUTS = ("tanh", "residual", "linear")
"""How a network may end."""


def check_count(field: str, value: object, most: int | None = None) -> None:
    """Raise a `ConfigError` unless `value` is a whole number from 0 up to `most`."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < 0
        or (most is not None and value > most)
    ):
        accepted = "a whole number, 0 or more" if most is None else f"a whole number, 0 to {most}"
        raise ConfigError(f"{field} = {value!r} cannot work; accepted: {accepted}.")


def check_images(
    name: str, shape: tuple[int, ...], outputs: int, output: str, multiple: int, reason: str = ""
) -> None:
    """Check what a network is to translate, and into what.

    Args:
      name: the network's, for the message.
      shape: of one input image, `(height, width, channels)`.
      outputs: channels of the images that it makes.
      output: how it ends.
      multiple: of which height and width must be multiples.
      reason: the field that makes them so, such as "generator.unet.levels = 4".

    Raises:
      ConfigError: the shape is not that of an image, or not of such a size; the output is unknown,
        or a residual of channels that the input does not have.
    """
    if len(shape) != 3:
        raise ConfigError(
            f"data.name: {name} is a network for images, but one data point has shape "
            f"{tuple(shape)}; accepted: (height, width, channels)."
        )
    check_sizes("data.shape", tuple(shape), 3, ": height, width and channels")
    check_size("generator.outputs", outputs)
    height, width, channels = shape
    if height % multiple or width % multiple:
        raise ConfigError(
            f"data.resolution = {height}x{width} cannot be halved and doubled as often as {reason} "
            f"asks; accepted: a height and a width that are multiples of {multiple}."
        )
    check_choice(f"generator.{name}.output", output, OUTPUTS)
    if output == "residual" and 1 < channels < outputs:
        raise ConfigError(
            f"generator.{name}.output = 'residual' cannot add {outputs} channels to an input of "
            f"{channels}; accepted: an input of 1 channel, or of {outputs} or more, or another "
            f"output: tanh, linear."
        )


def check_multiple(x: jax.Array, multiple: int) -> None:
    """Raise a `ValueError` unless images `x` have a height and width that are such multiples."""
    height, width = x.shape[1:3]
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}x{width}; accepted: a height and a width that are multiples of "
            f"{multiple}"
        )


def last_init(output: str, init: Any) -> Any:
    """Return the initializer of the last layer's kernel: zeros where that makes a residual."""
    return nn.initializers.zeros if output == "residual" else init


def same_image(x: jax.Array, outputs: int) -> jax.Array:
    """Return input images as they would be among the outputs.

    Args:
      x: input images [batch, height, width, channels], of 1 channel or at least `outputs`. Further
        channels, such as a mask, stand behind those of the image.
      outputs: channels of an output.

    Returns:
      float32 [batch, height, width, outputs]: the input's first channels, or grey as colour.
    """
    x = x.astype(jnp.float32)
    if x.shape[-1] >= outputs:
        return x[..., :outputs]
    return jnp.broadcast_to(x, (*x.shape[:-1], outputs))


def finished(y: jax.Array, start: jax.Array, output: str) -> jax.Array:
    """Return the images that a network makes.

    Args:
      y: what its last layer says [batch, height, width, outputs].
      start: to what a residual is added, float32 of the same shape.
      output: one of `OUTPUTS`.

    Returns:
      float32 images of the same shape: in [-1, 1] with `tanh` alone.
    """
    y = y.astype(jnp.float32)
    if output == "tanh":
        return jnp.tanh(y)
    return start + y if output == "residual" else y
