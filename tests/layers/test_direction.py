"""SAN's last layer: a dense layer's values, and which output trains what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.layers.direction import DirectionDense

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6)).astype(np.float32)
KERNEL = RNG.normal(size=(6, 1)).astype(np.float32)
PARAMS = {"kernel": KERNEL, "bias": np.array([0.7], np.float32)}
NORM = np.linalg.norm(KERNEL)
OMEGA = KERNEL / NORM


def gradients(output, **fields):
    """Return the sum of an output's sines over the batch, and its gradients."""

    def total(params, x):
        return jnp.sum(jnp.sin(DirectionDense(**fields).apply({"params": params}, x)[output]))

    return jax.jit(jax.grad(total, (0, 1)))(PARAMS, X)


def test_both_outputs_are_those_of_a_dense_layer():
    layer = DirectionDense()
    fresh = nn.Dense(1).init(jax.random.key(0), X)["params"]
    np.testing.assert_array_equal(
        layer.init(jax.random.key(0), X)["params"]["kernel"], fresh["kernel"]
    )
    score, direction = layer.apply({"params": PARAMS}, X)
    assert score.shape == direction.shape == (5, 1)
    np.testing.assert_allclose(score, X @ KERNEL + 0.7, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(direction, X @ KERNEL, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [0.1, 40.0])
def test_with_spectral_normalization_the_direction_has_norm_one(factor):
    params = {"kernel": factor * KERNEL, "bias": np.zeros(1, np.float32)}
    score, direction = DirectionDense(unit=True).apply({"params": params}, np.eye(6, dtype="f"))
    np.testing.assert_allclose(np.linalg.norm(score), 1.0, rtol=1e-6)
    np.testing.assert_allclose(direction, OMEGA, rtol=1e-5)


def test_the_score_trains_features_norm_and_bias_but_not_the_direction():
    params, x = gradients(0)
    slope = np.cos(X @ KERNEL + 0.7)
    np.testing.assert_allclose(x, slope * KERNEL.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(params["bias"], slope.sum(0), rtol=1e-4)
    radial = np.sum(slope * (X @ OMEGA)) * OMEGA
    np.testing.assert_allclose(params["kernel"], radial, rtol=1e-4, atol=1e-6)
    params, _ = gradients(0, unit=True)
    np.testing.assert_array_equal(params["kernel"], 0.0)


@pytest.mark.parametrize("unit", [False, True])
def test_the_direction_trains_itself_alone(unit):
    params, x = gradients(1, unit=unit)
    np.testing.assert_array_equal(x, 0.0)
    np.testing.assert_array_equal(params["bias"], 0.0)
    norm = 1.0 if unit else NORM
    turned = np.sum(np.cos(norm * X @ OMEGA) * norm * X, 0)[:, None] / NORM
    tangential = turned - OMEGA * (OMEGA.T @ turned)
    np.testing.assert_allclose(params["kernel"], tangential, rtol=1e-4, atol=1e-5)
    assert np.abs(tangential).max() > 0.1
