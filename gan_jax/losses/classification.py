"""Log-likelihoods of classes, as losses."""

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Negative log-likelihood of the right class: ``-log softmax(logits)[label]``.

    The class term of "Conditional Image Synthesis with Auxiliary Classifier GANs", Odena et al.
    2016, https://arxiv.org/abs/1610.09585.

    Args:
      logits: ``[batch, classes]``, floating.
      labels: integers ``[batch]``, from 0 on.

    Returns:
      In nats, ``[batch]`` float32.

    Raises:
      AssertionError: a shape or dtype is another.
    """
    logits, labels = _classified(logits, labels)
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def accuracy(logits: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Whether the largest logit is that of the right class.

    Args:
      logits: ``[batch, classes]``, floating.
      labels: integers ``[batch]``, from 0 on.

    Returns:
      1 or 0, ``[batch]`` float32.

    Raises:
      AssertionError: a shape or dtype is another.
    """
    logits, labels = _classified(logits, labels)
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)


def _classified(logits: ArrayLike, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    chex.assert_rank(logits, 2)
    chex.assert_shape(labels, logits.shape[:1])
    chex.assert_type([logits, labels], [float, int])
    return logits.astype(jnp.float32), labels
