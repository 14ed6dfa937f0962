"""SeqGAN's discriminator: a score per token from those before it, and a value without the token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import make
from gan_jax.networks.seqgan import VALUE

SHAPE = (5, 4)


@functools.cache
def network():
    module = make("token_discriminator", "seqgan", shape=SHAPE, features=6)
    x = np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype(np.float32)
    return module, module.init(jax.random.key(0), x), x


def judged(variables, x):
    module, _, _ = network()
    verdict = module.apply(variables, x, method="judge")
    return verdict.scores, verdict.heads[VALUE]


def test_scores_see_the_tokens_so_far_and_values_those_before():
    _, variables, x = network()
    scores, values = judged(variables, x)
    assert scores.shape == values.shape == (3, 5)
    assert scores.dtype == values.dtype == jnp.float32
    slopes = jax.jit(jax.jacobian(lambda x: judged(variables, x[None])))(x[0])
    for slope, before in zip(slopes, (0, 1), strict=True):
        # [of the batch, place of the output, place of the token, token]
        reached = np.abs(slope[0]).max(axis=-1) > 0
        expected = np.tril(np.ones((5, 5), bool), -before)
        # The value's states are constants.
        np.testing.assert_array_equal(reached, expected if before == 0 else np.zeros((5, 5), bool))
    moved = x.copy()
    moved[:, 2] += 1.0
    changed = np.abs(np.asarray(judged(variables, moved)[1]) - values).max(axis=0) > 0
    assert changed.tolist() == [False, False, False, True, True]


def test_the_value_trains_its_own_layer_alone():
    _, variables, x = network()
    slopes = jax.jit(jax.grad(lambda v: jnp.sum(judged(v, x)[1])))(variables)["params"]
    moved = {name for name, own in slopes.items() if any(s.any() for s in jax.tree.leaves(own))}
    assert moved == {VALUE}


def test_what_is_no_text_is_refused():
    with pytest.raises(ConfigError, match=r"discriminator\.name = 'seqgan' is a network for text"):
        make("token_discriminator", "seqgan", shape=(8, 8, 1))
    with pytest.raises(ConfigError, match=r"discriminator\.seqgan\.features = 0"):
        make("token_discriminator", "seqgan", shape=SHAPE, features=0)
