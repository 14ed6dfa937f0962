"""Layers over the minibatch: plain loops, what they distinguish, devices, settings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.layers.minibatch import MinibatchDiscrimination, MinibatchStddev
from tests.devices import sharded


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Minibatch discrimination.


def test_discrimination_is_the_papers_double_sum():
    x, kernel = normal(5, 4), 0.3 * normal(4, 6, seed=1)
    y = MinibatchDiscrimination(3, 2).apply({"params": {"kernel": kernel}}, x)
    assert y.shape == (5, 7)
    np.testing.assert_array_equal(y[:, :4], x)
    tensor = kernel.reshape(4, 3, 2).astype(np.float64)
    views = [np.einsum("a,abc->bc", row, tensor) for row in x]
    expected = [
        [sum(np.exp(-np.abs(mine[b] - other[b]).sum()) for other in views) for b in range(3)]
        for mine in views
    ]
    np.testing.assert_allclose(y[:, 4:], expected, rtol=1e-5)


def test_alike_examples_are_told_by_the_batch_size_and_a_lone_one_by_one():
    layer = MinibatchDiscrimination(3, 2)
    alike = jnp.asarray(np.tile(normal(1, 4), (6, 1)))
    variables = layer.init(jax.random.key(0), alike)
    np.testing.assert_allclose(layer.apply(variables, alike)[:, 4:], 6.0, rtol=1e-6)
    np.testing.assert_allclose(layer.apply(variables, alike[:1])[:, 4:], 1.0, rtol=1e-6)
    apart = jnp.asarray(1000.0 * normal(6, 4))
    np.testing.assert_allclose(layer.apply(variables, apart)[:, 4:], 1.0, rtol=1e-4)


def test_discrimination_follows_a_permutation_of_the_examples():
    layer, x = MinibatchDiscrimination(3, 2), normal(6, 4)
    variables = layer.init(jax.random.key(0), x)
    order = np.random.default_rng(2).permutation(6)
    np.testing.assert_allclose(
        layer.apply(variables, x[order]), layer.apply(variables, x)[order], rtol=1e-5
    )


def test_images_are_refused_by_discrimination():
    with pytest.raises(ValueError, match=r"\(2, 4, 4, 3\); accepted: \[batch, features\]"):
        MinibatchDiscrimination(3, 2).init(jax.random.key(0), jnp.ones((2, 4, 4, 3)))


def test_discrimination_in_bfloat16_compares_in_float32():
    """Features near 100 that differ by 0.5: bfloat16 views would be rounded to steps of 0.5."""
    x = jnp.asarray(100.0 + 0.5 * np.arange(4).reshape(4, 1), jnp.bfloat16)
    layer = MinibatchDiscrimination(1, 1, dtype=jnp.bfloat16)
    variables = {"params": {"kernel": jnp.full((1, 1), 1.1, jnp.float32)}}
    y = layer.apply(variables, x)
    assert y.dtype == jnp.bfloat16
    views = 1.1 * np.asarray(x, np.float64)
    expected = np.exp(-np.abs(views - views.T)).sum(1)
    np.testing.assert_allclose(y[:, 1].astype(jnp.float32), expected, rtol=2**-8)
    assert layer.init(jax.random.key(0), x)["params"]["kernel"].dtype == jnp.float32


def test_discrimination_on_eight_devices_equals_one():
    """Values, and gradients by the kernel and by its input, after the usual pmean."""
    x = normal(16, 4) * np.linspace(0.1, 2.0, 16, dtype=np.float32)[:, None]
    params = {"kernel": 0.3 * normal(4, 6, seed=1), "before": normal(4, 4, seed=2)}

    def step(params, x, axis_name):
        def loss(params):
            layer = MinibatchDiscrimination(3, 2, axis_name=axis_name)
            features = jnp.tanh(x @ params["before"])
            y = layer.apply({"params": {"kernel": params["kernel"]}}, features)
            return jnp.mean(jnp.square(jnp.sin(y))), y

        gradient, y = jax.grad(loss, has_aux=True)(params)
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
        return gradient, y

    several = sharded(partial(step, axis_name="data"), (P(), P("data")), (P(), P("data")))
    wanted = jax.jit(partial(step, axis_name=None))(params, x)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted)) > 1e-3
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), several(params, x), wanted
    )
    unsynchronized = sharded(partial(step, axis_name=None), (P(), P("data")), (P(), P("data")))
    assert np.abs(unsynchronized(params, x)[1] - wanted[1]).max() > 0.1


# Standard deviation over groups.


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stddev_is_a_plain_loop_over_groups_of_consecutive_examples(channels):
    x = normal(8, 3, 5, 6) * np.linspace(0.1, 3.0, 8, dtype=np.float32).reshape(8, 1, 1, 1)
    y = MinibatchStddev(4, channels).apply({}, x)
    assert y.shape == (8, 3, 5, 6 + channels)
    np.testing.assert_array_equal(y[..., :6], x)
    share = 6 // channels
    for start in (0, 4):
        group = x[start : start + 4].astype(np.float64)
        for c in range(channels):
            expected = group[..., c * share : (c + 1) * share].std(0).mean()
            np.testing.assert_allclose(y[start : start + 4, ..., 6 + c], expected, rtol=1e-5)


def test_stddev_of_vectors():
    x = normal(4, 6)
    y = MinibatchStddev(2).apply({}, x)
    expected = np.repeat([x[:2].std(0).mean(), x[2:].std(0).mean()], 2)
    np.testing.assert_allclose(y[:, 6], expected, rtol=1e-5)


def test_alike_examples_have_no_deviation_and_a_finite_gradient():
    x = jnp.asarray(np.tile(normal(1, 2, 2, 3), (4, 1, 1, 1)))

    def statistic(x):
        return jnp.sum(MinibatchStddev(4).apply({}, x)[..., 3:])

    np.testing.assert_allclose(statistic(x) / 16, 1e-4, rtol=1e-2)  # the root of epsilon
    gradient = jax.jit(jax.grad(statistic))(x)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-2)


def test_stddev_in_bfloat16_is_computed_in_float32():
    """A sum of 256 in bfloat16 swallows every further 1."""
    x = jnp.asarray(100.0 + normal(512, 8), jnp.bfloat16)
    y = MinibatchStddev(512, dtype=jnp.bfloat16).apply({}, x)
    assert y.dtype == jnp.bfloat16
    expected = np.asarray(x, np.float64).std(0).mean()
    np.testing.assert_allclose(y[:, 8].astype(jnp.float32), expected, rtol=2**-8)


def test_stddev_on_four_devices_equals_one():
    """Each device has whole groups."""
    x = normal(16, 3, 3, 2) * np.linspace(0.1, 3.0, 16, dtype=np.float32).reshape(16, 1, 1, 1)
    apply = partial(MinibatchStddev(4).apply, {})
    several = sharded(apply, P("data"), P("data"), count=4)
    np.testing.assert_allclose(several(x), jax.jit(apply)(x), rtol=1e-6)


@pytest.mark.parametrize(("batch", "group"), [(6, 4), (2, 4), (4, 0)])
def test_a_batch_that_is_no_multiple_of_the_group_is_refused(batch, group):
    with pytest.raises(ValueError, match=f"batch of {batch} .*group_size = {group}; accepted: "):
        MinibatchStddev(group).apply({}, jnp.ones((batch, 3)))


def test_a_share_of_a_device_that_is_no_multiple_of_the_group_is_refused():
    several = sharded(partial(MinibatchStddev(4).apply, {}), P("data"), P("data"))
    with pytest.raises(ValueError, match=r"batch of 2 examples \(on each device\)"):
        several(jnp.ones((16, 3)))


@pytest.mark.parametrize("channels", [0, 4])
def test_channels_that_do_not_divide_the_features_are_refused(channels):
    with pytest.raises(ValueError, match=f"num_channels = {channels} for 6 features"):
        MinibatchStddev(2, channels).apply({}, jnp.ones((4, 6)))


def test_a_network_can_be_initialized_with_any_number_of_examples():
    y, variables = MinibatchStddev(4).init_with_output(jax.random.key(0), jnp.ones((1, 2, 2, 3)))
    assert (y.shape, variables) == ((1, 2, 2, 4), {})
