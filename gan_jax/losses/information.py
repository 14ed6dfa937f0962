"""The lower bound of the mutual information between codes and images (InfoGAN, Chen et al. 2016).

"InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
Nets", https://arxiv.org/abs/1606.03657, section 5: ``L_I = E[log Q(c | G(z, c))] + H(c)``. The
entropy of the codes is fixed, so that the negative log-likelihood of a code is what is minimised.
For a categorical code that is `gan_jax.losses.classification.cross_entropy`.
"""

import math

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def gaussian_code(mean: ArrayLike, code: ArrayLike) -> jax.Array:
    """Negative log-likelihood of continuous codes under a Gaussian of unit variance.

    ``sum_i (c_i - mean_i)^2 / 2 + log(2 pi) / 2``: the paper's factored Gaussian, its variance
    fixed, as in the authors' experiments on digits.

    Args:
      mean: the mean that Q predicts, ``[batch, codes]``, floating.
      code: the codes, of the same shape, floating.

    Returns:
      In nats, ``[batch]`` float32.

    Raises:
      AssertionError: the shapes differ, the rank is not 2, or a dtype is not floating.
    """
    mean, code = jnp.asarray(mean), jnp.asarray(code)
    chex.assert_type([mean, code], float)
    chex.assert_rank([mean, code], 2)
    chex.assert_equal_shape([mean, code])
    difference = code.astype(jnp.float32) - mean.astype(jnp.float32)
    return jnp.sum(0.5 * jnp.square(difference) + 0.5 * math.log(2 * math.pi), axis=-1)
