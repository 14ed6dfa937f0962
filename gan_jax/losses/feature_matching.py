"""Feature matching: the generator brings the mean features of its images to those of real ones."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.losses import scores as guards


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
    real = lax.stop_gradient(_features("real", real_features))
    fake = _features("fake", fake_features)
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real features have shape {real.shape} and fake features {fake.shape}; accepted: "
            "equal shapes after the batch dimension."
        )
    means = (guards.mean_over_batch(features, axis_name) for features in (real, fake))
    return jnp.mean(jnp.square(jnp.subtract(*means)))


def _features(name: str, value: ArrayLike) -> jax.Array:
    features = jnp.asarray(value)
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(
            f"{name} features have dtype {features.dtype}; accepted: a floating dtype."
        )
    if features.ndim < 2:
        raise ValueError(f"{name} features have shape {features.shape}; accepted: [batch, ...].")
    return features.astype(jnp.float32)
