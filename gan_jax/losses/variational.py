"""The terms of a variational autoencoder (Kingma and Welling 2013, 1312.6114), in nats.

"Auto-Encoding Variational Bayes", https://arxiv.org/abs/1312.6114. For each example an encoder
returns the mean and the log-variance of a diagonal Gaussian over latents; the bound on the
likelihood of the data is a reconstruction's log-likelihood less the Gaussian's divergence from the
prior. VAE/GAN (Larsen et al. 2015, https://arxiv.org/abs/1512.09300) keeps the divergence and
replaces the pixels by the features of a layer of the discriminator.
"""

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def gaussian_kl(mean: ArrayLike, log_variance: ArrayLike) -> jax.Array:
    """Divergence of a diagonal Gaussian from the standard one: ``KL(N(mean, exp(lv)) || N(0, I))``.

    ``sum_i (mean_i^2 + exp(lv_i) - lv_i - 1) / 2``; Kingma and Welling 2013, appendix B,
    https://arxiv.org/abs/1312.6114.

    Args:
      mean: ``[batch, latent_dim]``, floating.
      log_variance: the logarithm of the variances, of the same shape.

    Returns:
      In nats, a sum over the latent's entries, never negative, ``[batch]`` float32.

    Raises:
      AssertionError: the shapes differ, the rank is not 2, or a dtype is not floating.
    """
    mean, log_variance = _matrices(mean, log_variance)
    # Near 0, where training begins, exp(x) - x - 1 would round to nothing, or below it.
    excess = jnp.maximum(jnp.expm1(log_variance) - log_variance, 0.0)
    return 0.5 * jnp.sum(jnp.square(mean) + excess, axis=-1)


def reparameterize(mean: ArrayLike, log_variance: ArrayLike, noise: ArrayLike) -> jax.Array:
    """Latents of a diagonal Gaussian, differentiable in it: ``mean + exp(lv / 2) * noise``.

    Kingma and Welling 2013, section 2.4, https://arxiv.org/abs/1312.6114.

    Args:
      mean: ``[batch, latent_dim]``, floating.
      log_variance: the logarithm of the variances, of the same shape.
      noise: draws of a standard normal, of the same shape.

    Returns:
      ``[batch, latent_dim]`` float32.

    Raises:
      AssertionError: the shapes differ, the rank is not 2, or a dtype is not floating.
    """
    mean, log_variance, noise = _matrices(mean, log_variance, noise)
    return mean + jnp.exp(0.5 * log_variance) * noise


def gaussian_reconstruction(features: ArrayLike, target: ArrayLike) -> jax.Array:
    """Negative log-likelihood of ``target`` under ``N(features, I)``, without its constant.

    ``sum_j (target_j - features_j)^2 / 2`` over all entries of an example: equations 7 and 8 of
    VAE/GAN, Larsen et al. 2015, https://arxiv.org/abs/1512.09300, where both are a discriminator
    layer's features. The omitted constant is ``log(2 pi) / 2`` per entry, so that a perfect
    reconstruction has 0.

    Args:
      features: of the reconstruction, ``[batch, ...]``, floating.
      target: of the original, of the same shape.

    Returns:
      In nats, a sum over the entries of an example, ``[batch]`` float32.

    Raises:
      AssertionError: the shapes differ, the rank is below 2, or a dtype is not floating.
    """
    features, target = jnp.asarray(features), jnp.asarray(target)
    chex.assert_type([features, target], float)
    chex.assert_axis_dimension_gt(features, 1, 0)
    chex.assert_equal_shape([features, target])
    difference = target.astype(jnp.float32) - features.astype(jnp.float32)
    return 0.5 * jnp.sum(jnp.square(difference), axis=tuple(range(1, difference.ndim)))


def _matrices(*values: ArrayLike) -> list[jax.Array]:
    arrays = [jnp.asarray(value) for value in values]
    chex.assert_type(arrays, float)
    chex.assert_rank(arrays, 2)
    chex.assert_equal_shape(arrays)
    return [array.astype(jnp.float32) for array in arrays]
