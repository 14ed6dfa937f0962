from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from gan_jax.layers.normalization import BatchNorm, LayerNorm


def _activations(*shape, spread=3.0):
    return np.random.default_rng(1).normal(2.0, spread, size=shape).astype(np.float32)


def _variables(channels):
    rng = np.random.default_rng(2)
    draw = partial(rng.uniform, 0.5, 1.5, size=channels)
    f32 = {name: draw().astype(np.float32) for name in ("scale", "bias", "mean", "var")}
    return {
        "params": {"scale": f32["scale"], "bias": f32["bias"]},
        "batch_stats": {"mean": f32["mean"], "var": f32["var"]},
    }


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 5, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_equals_flax(shape, train):
    x, variables = _activations(*shape), _variables(3)
    ours, our_update = BatchNorm().apply(variables, x, train, mutable=["batch_stats"])
    reference = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
    theirs, their_update = reference.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            our_update["batch_stats"][name], their_update["batch_stats"][name], rtol=1e-6
        )


def test_running_statistics_move_a_tenth_of_the_way():
    x = _activations(64, 2)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0.0)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1.0)
    _, update = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(update["batch_stats"]["mean"], 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(update["batch_stats"]["var"], 0.9 + 0.1 * x.var(0), rtol=1e-5)


def test_training_without_a_mutable_collection_leaves_the_statistics():
    x, variables = _activations(8, 3), _variables(3)
    with_update, _ = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_array_equal(BatchNorm().apply(variables, x, True), with_update)


def test_bfloat16_activations_have_float32_statistics():
    # 4,097 numbers near 100: bfloat16 has a spacing of 0.5 there, and a bfloat16 sum stops growing.
    x = _activations(4097, 1, spread=1.0) + 98.0
    variables = BatchNorm(dtype=jnp.bfloat16).init(jax.random.key(0), x, train=True)
    rounded = jnp.asarray(x, jnp.bfloat16)
    y, update = BatchNorm(dtype=jnp.bfloat16).apply(
        variables, rounded, True, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, update))} == {jnp.dtype(np.float32)}
    exact = np.asarray(rounded, np.float64)
    np.testing.assert_allclose(update["batch_stats"]["mean"], 0.1 * exact.mean(), rtol=1e-5)
    np.testing.assert_allclose(update["batch_stats"]["var"], 0.9 + 0.1 * exact.var(), rtol=2e-3)
    np.testing.assert_allclose(np.asarray(y, np.float32).std(), 1.0, rtol=1e-2)


def test_constant_channel_has_finite_gradient():
    x, variables = jnp.ones((4, 3)), _variables(3)
    gradient = jax.grad(lambda x: jnp.sum(BatchNorm().apply(variables, x, True) ** 2))(x)
    assert np.isfinite(gradient).all()


def test_eight_devices_equal_one():
    """Forward, running statistics, gradient after pmean; shards differ in mean and spread."""
    shards = np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1, 1)
    x = (_activations(8, 2, 3, 3, 4) * shards + shards).reshape(16, 3, 3, 4)
    variables = _variables(4)

    def step(params, stats, x, axis_name):
        def loss(params):
            module = BatchNorm(axis_name=axis_name)
            y, update = module.apply(
                {"params": params, "batch_stats": stats}, x, True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.sin(y) * x), (y, update["batch_stats"])

        gradient, (y, stats) = jax.grad(loss, has_aux=True)(params)
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
        return gradient, stats, y

    def loss_of_input(x, axis_name):
        y = BatchNorm(axis_name=axis_name).apply(variables, x, True)
        return jnp.mean(jnp.sin(y) * x)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    over_devices = partial(jax.shard_map, mesh=mesh, check_vma=False)
    sharded_step = over_devices(
        partial(step, axis_name="data"),
        in_specs=(P(), P(), P("data")),
        out_specs=(P(), P(), P("data")),
    )
    sharded_input_gradient = over_devices(
        jax.grad(partial(loss_of_input, axis_name="data")), in_specs=P("data"), out_specs=P("data")
    )
    single = step(variables["params"], variables["batch_stats"], x, axis_name=None)
    several = jax.jit(sharded_step)(variables["params"], variables["batch_stats"], x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5), several, single)
    # The mean over one device's shard is 8 times that over the whole batch.
    np.testing.assert_allclose(
        jax.jit(sharded_input_gradient)(x) / 8,
        jax.grad(partial(loss_of_input, axis_name=None))(x),
        atol=1e-5,
    )


def test_unsynchronized_devices_differ():
    """Guards the test above: without the axis, each device normalizes by its own shard."""
    x = np.concatenate([np.zeros((2, 1)), np.ones((2, 1))]).astype(np.float32)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    apply = jax.shard_map(
        lambda x: BatchNorm().apply(variables, x, True),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=P("data"),
        check_vma=False,
    )
    np.testing.assert_array_equal(apply(x), 0.0)


def test_layer_norm_is_per_example_with_scale_and_bias_per_channel():
    x = _activations(4, 5, 5, 3)
    variables = {"params": _variables(3)["params"]}
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]
    flat = x.reshape(4, -1)
    mean, std = flat.mean(1).reshape(4, 1, 1, 1), flat.std(1).reshape(4, 1, 1, 1)
    y = LayerNorm().apply(variables, x)
    np.testing.assert_allclose(y, (x - mean) / std * scale + bias, atol=1e-4)
    np.testing.assert_allclose(LayerNorm().apply(variables, x[1:2]), y[1:2], atol=1e-6)


def test_layer_norm_keeps_digits_of_a_large_mean():
    x = _activations(2, 64, 3, spread=1e-2) + 1000.0
    y = LayerNorm().apply(LayerNorm().init(jax.random.key(0), x), x)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1.0, atol=0.1)


def test_layer_norm_of_a_constant_image_has_finite_gradient():
    variables = {"params": _variables(3)["params"]}
    gradient = jax.grad(lambda x: jnp.sum(LayerNorm().apply(variables, x) ** 2))(
        jnp.ones((2, 4, 3))
    )
    assert np.isfinite(gradient).all()
