"""Samples from a trained state: a pure function of (weights, seed, index)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import device
from gan_jax.games import draws
from gan_jax.games.game import Game
from gan_jax.training.state import TrainState

Sampler = Callable[..., jax.Array]


def make_sampler(game: Game) -> Sampler:
    """Return the jitted ``sampler(variables, keys, labels) -> data``.

    ``variables`` are the networks' by name, ``keys`` ``[n]`` give a latent each, ``labels`` are
    int32 ``[n]`` or ``None``.
    Images come as uint8 ``[n, height, width, channels]``, toy points as float32 ``[n, 2]``.
    """

    @jax.jit
    def sampler(
        variables: Mapping[str, Any], keys: jax.Array, labels: jax.Array | None = None
    ) -> jax.Array:
        z = draws.latents(keys, game.latent_dim)
        data = game.sample(variables, z, labels)
        return device.to_uint8(data) if len(game.shape) == 3 else data

    return sampler


def latent_keys(seed: int, first: int, count: int) -> jax.Array:
    """Return the keys of ``count`` samples from number ``first`` on, each by its number alone."""
    key = draws.named(jax.random.key(seed), "sample")
    index = jnp.arange(count, dtype=jnp.uint32) + jnp.uint32(first)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def variables_of(state: TrainState, *, raw: bool = False) -> dict[str, Any]:
    """Return the networks' variables: moving averages where there are some, unless ``raw``."""
    return {
        name: network.variables if raw else network.averaged
        for name, network in state.networks.items()
    }


def sample(
    game: Game,
    state: TrainState,
    *,
    num: int,
    seed: int,
    label: int | None = None,
    raw: bool = False,
    batch_size: int = 64,
) -> np.ndarray:
    """Return ``num`` samples on the host.

    Args:
      game: what was trained.
      state: a trained state.
      num: how many; the first ones are the same for any larger ``num``.
      seed: of the latents.
      label: the class asked for, where the game has classes.
      raw: use the raw weights, not their moving average.
      batch_size: made at a time.

    Returns:
      uint8 ``[num, height, width, channels]``, or float32 ``[num, 2]`` for toy mixtures.
    """
    sampler = make_sampler(game)
    variables = variables_of(state, raw=raw)
    labels = None if label is None else jnp.full((batch_size,), label, jnp.int32)
    batches = []
    for first in range(0, num, batch_size):
        # The last batch is made whole as well, so that one shape is compiled.
        data = sampler(variables, latent_keys(seed, first, batch_size), labels)
        batches.append(np.asarray(data)[: num - first])
    return np.concatenate(batches)
