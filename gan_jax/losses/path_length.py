"""Path length regularisation of a generator with styles (Karras et al. 2019, 1912.04958).

"Analyzing and Improving the Image Quality of StyleGAN", section 3.2: a step of a fixed length in
the space of styles is to change the image by a fixed amount, in every direction and everywhere.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.losses.guards import global_mean, safe_norm


def path_lengths(
    synthesize: Callable[[jax.Array], jax.Array], styles: jax.Array, noise: jax.Array
) -> jax.Array:
    """Length of each image's gradient in the styles, for a random weighting of the pixels.

    ``||J^T y||`` with J the derivative of the image in the style of all layers together. Images of
    another number of pixels have comparable lengths: y is divided by the root of height times
    width. The paper's program, which this follows, takes the root of the mean over the layers of
    the squared norms.

    Args:
      synthesize: styles to images, ``[batch, height, width, channels]``.
      styles: float32 ``[batch, layers, style_dim]``.
      noise: y, standard normal, of the images' shape.

    Returns:
      float32 ``[batch]``; differentiable.
    """
    pixels = noise.shape[1] * noise.shape[2]

    def projected(styles: jax.Array) -> jax.Array:
        return jnp.sum(synthesize(styles) * noise) / jnp.sqrt(jnp.float32(pixels))

    gradient = jax.grad(projected)(styles)
    return safe_norm(gradient, (1, 2)) / jnp.sqrt(jnp.float32(styles.shape[1]))


def moved_mean(
    mean: jax.Array, lengths: jax.Array, decay: float, axis_name: str | None = None
) -> jax.Array:
    """Return the running mean of lengths after a batch; no gradient flows through it.

    Args:
      mean: as it was, a float32 scalar.
      lengths: ``[batch]``, this device's share.
      decay: share of the old value, in [0, 1); 0.99 in the paper.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      A float32 scalar, the same on every device.
    """
    batch = global_mean(lax.stop_gradient(lengths), axis_name)
    return mean + (1.0 - decay) * (batch - mean)
