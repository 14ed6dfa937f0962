"""Feature matching: closed form, scale, gradient to the fakes only, devices, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from gan_jax.losses.feature_matching import feature_distance, feature_matching
from tests.devices import sharded

REAL = jnp.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
FAKE = jnp.array([[0.0, 1.0, 1.0], [0.0, 3.0, -1.0]])


@pytest.mark.parametrize("function", [feature_matching, jax.jit(feature_matching)])
def test_squared_distance_of_the_means_is_averaged_over_entries(function):
    value = function(REAL, FAKE)
    assert (value.dtype, value.shape) == (jnp.float32, ())
    np.testing.assert_allclose(value, (4.0 + 1.0 + 0.0) / 3)
    # The shape of a layer does not matter, nor does its size.
    np.testing.assert_allclose(function(REAL.reshape(2, 1, 3), FAKE.reshape(2, 1, 3)), 5 / 3)
    np.testing.assert_allclose(function(jnp.tile(REAL, (1, 9)), jnp.tile(FAKE, (1, 9))), 5 / 3)


def test_only_the_means_matter():
    np.testing.assert_allclose(feature_matching(REAL, REAL[::-1]), 0.0)
    np.testing.assert_allclose(feature_matching(REAL[:1], jnp.tile(REAL[:1], (4, 1))), 0.0)


@pytest.mark.slow
def test_gradient_flows_to_the_fakes_only():
    to_real, to_fake = jax.grad(feature_matching, (0, 1))(REAL, FAKE)
    np.testing.assert_array_equal(to_real, 0.0)
    # 2 / 3 (difference of the means) / 2 images, the same for each.
    np.testing.assert_allclose(to_fake, np.tile([[-2 / 3, 1 / 3, 0.0]], (2, 1)), atol=1e-6)
    check_grads(
        functools.partial(feature_matching, REAL), (FAKE,), 2, atol=1e-2, rtol=1e-2, eps=1e-2
    )


def test_bfloat16_features_are_averaged_in_float32():
    # 1,000 ones and a two: a bfloat16 sum would stop at 256.
    fake = jnp.ones((1001, 1), jnp.bfloat16).at[0].set(2.0)
    value = feature_matching(jnp.zeros((1001, 1), jnp.bfloat16), fake)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, (1002 / 1001) ** 2, rtol=1e-6)


@pytest.mark.slow
def test_eight_devices_are_one():
    keys = jax.random.split(jax.random.key(0), 3)
    z, real = jax.random.normal(keys[0], (16, 4)), jax.random.normal(keys[1], (16, 5)) + 1.0
    z = z * (1.0 + jnp.arange(16.0))[:, None]  # the shards differ
    weights = 0.3 * jax.random.normal(keys[2], (4, 5))

    def compute(weights, z, real, axis_name):
        def loss(weights):
            return feature_matching(real, jnp.tanh(z @ weights), axis_name=axis_name)

        value, gradient = jax.value_and_grad(loss)(weights)
        # The value needs no average: it is the same on every device.
        return value, gradient if axis_name is None else jax.lax.pmean(gradient, axis_name)

    split = sharded(functools.partial(compute, axis_name="data"), (P(), P("data"), P("data")))
    many, one = split(weights, z, real), compute(weights, z, real, None)
    assert float(jnp.abs(one[1]).max()) > 1e-2
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), many, one)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and fake features \(2, 1\).*equal shapes"):
        feature_matching(REAL, FAKE[:, :1])
    with pytest.raises(ValueError, match=r"real features have shape \(2,\)"):
        feature_matching(REAL[:, 0], FAKE[:, 0])
    with pytest.raises(ValueError, match="fake features have dtype int32"):
        feature_matching(REAL, FAKE.astype(jnp.int32))


def test_the_distance_of_features_is_that_of_each_example_summed_over_layers():
    layers = [(REAL, FAKE), (REAL[:, :2].reshape(2, 1, 2), jnp.zeros((2, 1, 2)))]
    value = jax.jit(feature_distance)(*zip(*layers, strict=True))
    assert (value.dtype, value.shape) == (jnp.float32, (2,))
    np.testing.assert_allclose(value, [3 / 3 + 3 / 2, 7 / 3 + 3 / 2], rtol=1e-6)
    to_real, to_fake = jax.grad(lambda r, f: feature_distance([r], [f]).sum(), (0, 1))(REAL, FAKE)
    np.testing.assert_array_equal(to_real, 0.0)
    np.testing.assert_allclose(to_fake, np.sign(FAKE - REAL) / 3)
    with pytest.raises(ValueError, match="equal"):
        feature_distance([REAL], [FAKE[:, :2]])
    with pytest.raises(ValueError, match="shorter"):
        feature_distance([REAL], [])
