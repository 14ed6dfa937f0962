"""A small state to save."""

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="module")
def small() -> dict[str, jax.Array]:
    return {"a": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(3), "step": jnp.asarray(5)}
