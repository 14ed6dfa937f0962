"""Draws of an unrolled key beside those of JAX's default generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.training.threefry import unrolled

KEYS = pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])

DRAWS = {
    "bits8": lambda key: jax.random.bits(key, (5, 3), jnp.uint8),
    "bits16": lambda key: jax.random.bits(key, (7,), jnp.uint16),
    "bits32": lambda key: jax.random.bits(key, (3, 1, 5)),
    "scalar": lambda key: jax.random.uniform(key),
    "none": lambda key: jax.random.uniform(key, (0, 3)),
    "normal": lambda key: jax.random.normal(key, (6, 4)),
    "bfloat16": lambda key: jax.random.normal(key, (6, 4), jnp.bfloat16),
    "truncated": lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (9,)),
    "permutation": lambda key: jax.random.permutation(key, 50),
    "split": lambda key: jax.random.normal(jax.random.split(key, 3)[2], (4,)),
    "split2": lambda key: jax.random.normal(jax.random.split(key, (2, 3))[1, 2], (4,)),
    "folded": lambda key: jax.random.normal(jax.random.fold_in(key, 2**32 - 5), (4,)),
    "mapped": lambda key: jax.vmap(lambda i: jax.random.bits(jax.random.fold_in(key, i), (2,)))(
        jnp.arange(4)
    ),
}


@KEYS
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_those_of_jax(draw, seed):
    key = jax.random.key(seed)
    np.testing.assert_array_equal(draw(unrolled(key)), draw(key))


def test_first_parameters_are_those_of_jax():
    layers = nn.Sequential([nn.Dense(5), nn.Dense(3, kernel_init=nn.initializers.orthogonal())])
    key, x = jax.random.key(3), jnp.ones((1, 4))
    expected, found = (jax.jit(layers.init)(k, x) for k in (key, unrolled(key)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), expected, found
    )


def test_a_program_of_draws_has_no_loop_on_cpu():
    program = jax.jit(lambda key: jax.random.normal(unrolled(key), (8,)))
    text = program.lower(jax.random.key(0)).as_text()
    assert "while" not in text
    assert (
        "while"
        in jax.jit(lambda key: jax.random.normal(key, (8,)))
        .lower(jax.random.key(0))
        .compile()
        .as_text()
    )


def test_more_bits_than_a_hash_has_are_refused():
    with (
        pytest.raises(ValueError, match="64 random bits; accepted: 8, 16 or 32"),
        jax.enable_x64(True),
    ):
        jax.random.bits(unrolled(jax.random.key(0)), (2,), jnp.uint64)
