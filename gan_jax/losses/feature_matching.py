"""Feature matching: the generator brings features of what it makes to those of real data."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.losses import guards, reconstruction


def feature_matching(
    real_features: ArrayLike, fake_features: ArrayLike, *, axis_name: str | None = None
) -> jax.Array:
    """Squared distance of the mean features: ``mean_j (E f_j(x) - E f_j(G(z)))^2``.

    "Improved Techniques for Training GANs", Salimans et al. 2016, section 3.1,
    https://arxiv.org/abs/1606.03498: ``f`` is a layer inside the discriminator, and the
    expectations are means over the global batch. The paper has the squared norm, a sum over the
    layer's entries; this is the mean over them, so that one weight serves layers of every size.
    Multiply by their number for the paper's value.

    With ``axis_name`` the mean is a ``pmean`` inside the differentiated function; the caller's
    ``pmean`` of gradients then gives exactly the gradient of one device that holds the whole batch
    (see `gan_jax.losses.adversarial.relativistic_average_discriminator`).

    Args:
      real_features: of real images, ``[batch, ...]``, floating; no gradient flows into them.
      fake_features: of generated images, ``[batch, ...]``, with as many entries per image.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      The distance, in squared units of the features, float32 scalar, the same on every device.

    Raises:
      ValueError: the features of an image have different shapes, or are not floating, or have no
        batch dimension.
    """
    real = lax.stop_gradient(guards.floating("real features", real_features))
    fake = guards.floating("fake features", fake_features)
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real features have shape {real.shape} and fake features {fake.shape}; accepted: "
            "equal shapes after the batch dimension."
        )
    real, fake = real.astype(jnp.float32), fake.astype(jnp.float32)
    means = (guards.global_mean(features, axis_name, axis=0) for features in (real, fake))
    return jnp.mean(jnp.square(jnp.subtract(*means)))


def feature_distance(
    real_features: Sequence[ArrayLike], fake_features: Sequence[ArrayLike]
) -> jax.Array:
    """L1 distance of each generated example's features from its target's: ``sum_l mean |f_l|``.

    "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", Wang et al.
    2017, https://arxiv.org/abs/1711.11585: the sum over layers of the mean absolute difference over
    a layer's entries.

    Args:
      real_features: of the targets, ``[batch, ...]`` for each layer, floating; no gradient flows
        into them.
      fake_features: of generated examples, of the same shapes.

    Returns:
      float32 ``[batch]``.

    Raises:
      ValueError: shapes differ, or features are not floating.
    """
    total = jnp.float32(0.0)
    for real, fake in zip(real_features, fake_features, strict=True):
        total = total + reconstruction.l1(fake, lax.stop_gradient(real))
    return total
