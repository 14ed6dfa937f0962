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


def ambiguity(logits: ArrayLike) -> jax.Array:
    """Cross-entropies of each class against all others, with a uniform target.

    ``-sum_k [1/K log p_k + (1 - 1/K) log(1 - p_k)]`` of the posterior ``p = softmax(logits)`` over
    K classes; least where all classes are equally likely. The style ambiguity of "CAN: Creative
    Adversarial Networks", Elgammal et al. 2017, https://arxiv.org/abs/1706.07068.

    Args:
      logits: ``[batch, classes]``, floating, of two classes or more.

    Returns:
      In nats, ``[batch]`` float32.

    Raises:
      AssertionError: a shape or dtype is another.
    """
    logits = jnp.asarray(logits)
    chex.assert_rank(logits, 2)
    chex.assert_type(logits, float)
    logits = logits.astype(jnp.float32)
    classes = logits.shape[-1]
    assert classes > 1, "one class is never ambiguous"
    log_p = jax.nn.log_softmax(logits)
    # 1 - p loses all digits where p is near 1, which holds for one class at most: there it is the
    # sum of the others.
    likeliest = jax.nn.one_hot(jnp.argmax(logits, axis=-1), classes, dtype=bool)
    others = jax.nn.logsumexp(log_p, axis=-1, where=~likeliest)
    p = jnp.where(likeliest, 0.0, jnp.exp(log_p))
    log_rest = jnp.where(likeliest, others[:, None], jnp.log1p(-p))
    return -jnp.sum(log_p / classes + (1 - 1 / classes) * log_rest, axis=-1)


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
