"""JAX's default random numbers, Threefry-2x32, as one expression: for programs of many draws.

"Parallel Random Numbers: As Easy as 1, 2, 3", Salmon et al. 2011. On CPU, JAX writes the hash as a
loop, a dozen small computations for every parameter that is drawn. Without the loop XLA fuses a
draw into one: the program of a first state is half as large, and is read from the cache in half the
time. The numbers are the same.
"""

import math
from collections.abc import Sequence

import jax
import jax.extend.random
import jax.numpy as jnp
from jax import lax

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def unrolled(key: jax.Array) -> jax.Array:
    """Return a key of JAX's default generator as one whose draws have no loop on CPU.

    Draws from both are the same; on other backends the key itself is returned. It is for use inside
    a program: keys of it cannot be mixed with others.

    Args:
      key: a scalar, typed, of the generator ``"threefry2x32"``.
    """
    if jax.default_backend() != "cpu":
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_UNROLLED)


@jax.jit
def _hash(key: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the hashes of counters under a key, uint32 ``[2]``: 20 rounds."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    first, second = first + schedule[0], second + schedule[1]
    for i in range(5):
        for by in _ROTATIONS[i % 2]:
            first = first + second
            rotated = lax.shift_left(second, jnp.uint32(by))
            rotated |= lax.shift_right_logical(second, jnp.uint32(32 - by))
            second = first ^ rotated
        first = first + schedule[(i + 1) % 3]
        second = second + schedule[(i + 2) % 3] + jnp.uint32(i + 1)
    return first, second


def _counted(key: jax.Array, shape: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Return the hashes of the positions in an array of fewer than 2^32 elements."""
    positions = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _hash(key, jnp.zeros_like(positions), positions)


def _random_bits(key: jax.Array, bit_width: int, shape: Sequence[int]) -> jax.Array:
    if bit_width > 32:
        raise ValueError(f"{bit_width} random bits; accepted: 8, 16 or 32")
    first, second = _counted(key, shape)
    return (first ^ second).astype(f"uint{bit_width}")


def _split(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    return jnp.stack(_counted(key, shape), axis=-1)


def _fold_in(key: jax.Array, data: jax.Array | int) -> jax.Array:
    return jnp.stack(_hash(key, jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32)))


def _seed(seed: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))


_UNROLLED = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="unrolled",
)
