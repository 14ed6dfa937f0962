"""Consistency regularisation: the discriminator keeps its score under a transformation."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gan_jax.losses import guards


def consistency(scores: ArrayLike, augmented_scores: ArrayLike) -> jax.Array:
    """Squared difference of an image's score and its transformed image's: ``(D(x) - D(T(x)))^2``.

    "Improved Consistency Regularization for GANs", Zhao et al. 2020,
    https://arxiv.org/abs/2002.04724 (bCR), which adds this to the discriminator's loss for real
    images and for generated ones, with a weight each (10 and 10 on CIFAR-10); the form for real
    images alone is Zhang et al. 2019, https://arxiv.org/abs/1910.12027. The gradient goes into both
    scores.

    Args:
      scores: of the images as they are, ``[batch]`` or ``[batch, ...]``, floating.
      augmented_scores: of the same images transformed, of the same shape.

    Returns:
      The squared difference of each image, in squared units of the score, ``[batch]`` float32: the
      mean over its patches.

    Raises:
      ValueError: the shapes differ, or the scores are not floating or have no batch dimension.
    """
    plain, augmented = guards.as_pair("plain", scores, "augmented", augmented_scores)
    return guards.mean_over_patches(jnp.square(plain - augmented))
