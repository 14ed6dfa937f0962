"""LeCam regularisation: scores are held near moving averages of the other kind's scores.

"Regularizing Generative Adversarial Networks under Limited Data", Tseng et al. 2021,
https://arxiv.org/abs/2104.03310.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.losses import guards


class Anchors(NamedTuple):
    """Moving averages of the discriminator's scores, float32 scalars.

    Attributes:
      real: of real images.
      fake: of generated images.
    """

    real: jax.Array
    fake: jax.Array


def init() -> Anchors:
    """Return the anchors before training: both 0.

    They lag behind the scores at first: the regulariser is better switched on only after some
    multiples of ``1 / (1 - decay)`` updates.
    """
    return Anchors(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))


def lecam(
    real_scores: ArrayLike, fake_scores: ArrayLike, anchor_real: ArrayLike, anchor_fake: ArrayLike
) -> jax.Array:
    """Squared distances to the other kind's anchor: ``(D(x) - a_F)^2 + (D(G(z)) - a_R)^2``.

    "Regularizing Generative Adversarial Networks under Limited Data", Tseng et al. 2021,
    https://arxiv.org/abs/2104.03310: real scores are compared with the average of the *fakes'*
    scores, and fake scores with that of the reals'. This is the paper's form; in the authors'
    program a distance costs something only where it has the expected sign (a real score above
    ``a_F``, a fake one below ``a_R``).

    Args:
      real_scores: of real images, ``[batch]`` or ``[batch, ...]``, floating.
      fake_scores: of generated images, of the same shape.
      anchor_real: moving average of real scores, a scalar; no gradient flows into it.
      anchor_fake: moving average of fake scores, a scalar; no gradient flows into it.

    Returns:
      The value of each pair, in squared units of the score, ``[batch]`` float32: the mean over its
      patches.

    Raises:
      ValueError: the shapes differ, the scores are not floating or have no batch dimension, or an
        anchor is no scalar.
    """
    real, fake = guards.as_pair("real", real_scores, "fake", fake_scores)
    above = real - _anchor("fake", anchor_fake)
    below = fake - _anchor("real", anchor_real)
    return guards.mean_over_patches(jnp.square(above) + jnp.square(below))


def update_anchors(
    anchors: Anchors,
    real_scores: ArrayLike,
    fake_scores: ArrayLike,
    decay: float,
    axis_name: str | None = None,
) -> Anchors:
    """Return the anchors moved towards the scores' means over the global batch.

    ``decay * anchor + (1 - decay) * mean``; the paper's decay is 0.99. No gradient flows through.

    Args:
      anchors: as they were.
      real_scores: of real images, ``[batch]`` or ``[batch, ...]``, floating.
      fake_scores: of generated images, of the same shape.
      decay: share of the old value, in [0, 1).
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      The new anchors, float32 scalars, the same on every device.

    Raises:
      ConfigError: the decay is out of its range.
      ValueError: the shapes differ, or the scores are not floating or have no batch dimension.
    """
    check_decay(decay)
    pair = guards.as_pair("real", real_scores, "fake", fake_scores)

    def moved(anchor: jax.Array, scores: jax.Array) -> jax.Array:
        mean = guards.global_mean(guards.mean_over_patches(scores), axis_name)
        return anchor + (1.0 - decay) * (lax.stop_gradient(mean) - anchor)

    return Anchors(*(moved(a, s) for a, s in zip(lax.stop_gradient(anchors), pair, strict=True)))


def check_decay(decay: float) -> None:
    """Check the setting of `update_anchors`.

    Raises:
      ConfigError: ``terms.lecam.decay`` is no number in [0, 1).
    """
    guards.check_number("terms.lecam.decay", decay, 0.0, 1.0)


def _anchor(name: str, value: ArrayLike) -> jax.Array:
    anchor = jnp.asarray(value, jnp.float32)
    if anchor.shape != ():
        raise ValueError(f"the {name} anchor has shape {anchor.shape}; accepted: a scalar.")
    return lax.stop_gradient(anchor)
