"""Policy gradients of sequences (Williams 1992; for text SeqGAN, Yu et al. 2016, 1609.05473)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def rewards(scores: jax.Array) -> jax.Array:
    """Return the reward of every token, ``2 sigmoid(score) - 1``, in [-1, 1].

    As in ScratchGAN (d'Autume et al. 2019, https://arxiv.org/abs/1905.09922): a discriminator that
    scores a text from left to right rewards each token, and no text is completed at random.

    Args:
      scores: float32 ``[batch, length]``, the logits of being real.
    """
    return jnp.tanh(0.5 * scores)


def returns(rewards: jax.Array, discount: float) -> jax.Array:
    """Return the discounted sum of the rewards from every token on.

    ``R_t = r_t + discount * r_(t+1) + discount^2 * r_(t+2) + ...``

    Args:
      rewards: float32 ``[batch, length]``.
      discount: from 0, the token's own reward alone, to 1, the sum of all.
    """
    length = rewards.shape[1]
    ahead = np.arange(length)[:, None] - np.arange(length)
    powers = np.where(ahead >= 0, float(discount) ** np.maximum(ahead, 0), 0.0)
    return rewards @ jnp.asarray(powers, rewards.dtype)


def reinforce(log_probabilities: jax.Array, returns: jax.Array, baseline: jax.Array) -> jax.Array:
    """Return losses whose mean gradient is that of the negative expected return.

    Args:
      log_probabilities: of every token that was drawn, float32 ``[batch, length]``.
      returns: of every token, likewise; no gradient flows into them.
      baseline: an estimate of the return that does not depend on the token, likewise.

    Returns:
      float32 ``[batch]``, the sums over tokens.
    """
    advantage = lax.stop_gradient(returns - baseline)
    return -jnp.sum(advantage * log_probabilities, axis=1)
