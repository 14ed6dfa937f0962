"""Top-k training: the generator learns only from those of its images that score highest.

"Top-k Training of GANs: Improving GAN Performance by Throwing Away Bad Samples", Sinha et al. 2020,
https://arxiv.org/abs/2002.06224.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError
from gan_jax.losses import guards


def top_k_weights(
    fake_scores: ArrayLike, count: jax.Array | int, *, axis_name: str | None = None
) -> jax.Array:
    """Return weights that keep the highest scores of the global batch, and drop the others.

    "Top-k Training of GANs", Sinha et al. 2020, https://arxiv.org/abs/2002.06224. Multiplied by
    these, the mean over the batch of the generator's losses is the mean over the images kept. Of
    equal scores the one that comes first in the global batch is kept, so that always exactly
    ``count`` are; a score that is not a number ranks last.

    Args:
      fake_scores: of generated images, higher for what looks more real, ``[batch]`` or
        ``[batch, ...]``, floating; patches are averaged.
      count: images to keep of the global batch, an integer scalar, traced or not; clipped to
        between 1 and all.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      float32 ``[batch]``, without gradient: ``global batch / count`` where an image is kept, else
      0; their mean over the global batch is 1.

    Raises:
      ValueError: the scores are not floating or have no batch dimension.
    """
    mine = guards.mean_over_patches(lax.stop_gradient(guards.as_scores("fake", fake_scores)))
    scores = mine if axis_name is None else lax.all_gather(mine, axis_name, tiled=True)
    total, share = scores.shape[0], mine.shape[0]
    count = jnp.clip(jnp.asarray(count), 1, total)
    # The k-th score as a threshold would keep all that tie with it; ranks are without ties.
    order = jnp.argsort(-scores, stable=True)
    places = jnp.arange(total, dtype=jnp.int32)
    ranks = jnp.zeros(total, jnp.int32).at[order].set(places, unique_indices=True)
    weights = jnp.where(ranks < count, total / count.astype(jnp.float32), 0.0)
    if axis_name is None:
        return weights
    return lax.dynamic_slice_in_dim(weights, lax.axis_index(axis_name) * share, share)


def kept(
    step: jax.Array | int, batch_size: int, decay: float, decay_steps: int, share: float
) -> jax.Array:
    """Return how many images of a batch the generator learns from at a step.

    ``batch_size * max(share, decay ** (step // decay_steps))``, to the nearest integer: all at
    first, then fewer as the discriminator becomes a better judge (Sinha et al. 2020,
    https://arxiv.org/abs/2002.06224; such as by 0.99 an epoch, and never below a half).

    Args:
      step: train steps done, an integer scalar, traced or not.
      batch_size: of the global batch.
      decay: factor of each lowering, in (0, 1].
      decay_steps: train steps between lowerings.
      share: of the batch, never fewer, in (0, 1]; 1: always all.

    Returns:
      int32 scalar, at least 1.

    Raises:
      ConfigError: ``decay``, ``decay_steps`` or ``share`` is out of its range.
    """
    check_schedule(decay, decay_steps, share)
    lowered = (jnp.asarray(step) // decay_steps).astype(jnp.float32)
    fraction = jnp.maximum(jnp.float32(share), jnp.float32(decay) ** lowered)
    return jnp.maximum(jnp.round(batch_size * fraction).astype(jnp.int32), 1)


def check_schedule(decay: Any, decay_steps: Any, share: Any) -> None:
    """Check the settings of `kept`.

    Raises:
      ConfigError: a field of ``fakes`` is out of its range.
    """
    for name, value in (("top_k", share), ("top_k_decay", decay)):
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and 0 < value <= 1):
            raise ConfigError(f"fakes.{name} = {value!r}; accepted: a number in (0, 1].")
    is_integer = isinstance(decay_steps, numbers.Integral) and not isinstance(decay_steps, bool)
    if not (is_integer and decay_steps >= 1):
        raise ConfigError(f"fakes.top_k_steps = {decay_steps!r}; accepted: an integer >= 1.")
