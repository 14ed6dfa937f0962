"""Log-likelihoods of classes, as losses."""

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
      ValueError: shapes or dtypes do not fit.
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
      ValueError: shapes or dtypes do not fit.
    """
    logits, labels = _classified(logits, labels)
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)


def _classified(logits: ArrayLike, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if logits.ndim != 2 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"logits are {logits.dtype}{list(logits.shape)}; accepted: floating [batch, classes]."
        )
    if labels.shape != logits.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels are {labels.dtype}{list(labels.shape)} for logits {list(logits.shape)}; "
            f"accepted: integers {list(logits.shape[:1])}."
        )
    return logits.astype(jnp.float32), labels
