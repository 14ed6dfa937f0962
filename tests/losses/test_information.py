"""The likelihood of continuous codes: closed form and PyTorch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.losses import information


def test_a_code_that_is_met_costs_the_entropy_of_the_unit_gaussian_alone():
    code = jnp.array([[0.5, -1.0, 0.0]])
    loss = information.gaussian_code(code, code)
    np.testing.assert_allclose(loss, 1.5 * math.log(2 * math.pi), rtol=1e-6)


def test_values_are_those_of_pytorchs_normal():
    torch = pytest.importorskip("torch", reason="compared with PyTorch")
    rng = np.random.default_rng(0)
    mean, code = rng.normal(size=(2, 4, 3)).astype(np.float32)
    normal = torch.distributions.Normal(torch.tensor(mean), 1.0)
    reference = -normal.log_prob(torch.tensor(code)).sum(1)
    np.testing.assert_allclose(information.gaussian_code(mean, code), reference, rtol=1e-5)


def test_the_gradient_is_the_distance():
    mean, code = jnp.array([[0.5, -2.0]]), jnp.array([[0.0, 1.0]])
    gradient = jax.grad(lambda m: jnp.sum(information.gaussian_code(m, code)))(mean)
    np.testing.assert_allclose(gradient, [[0.5, -3.0]], rtol=1e-6)
