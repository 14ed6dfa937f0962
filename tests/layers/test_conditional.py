"""Conditional batch normalization: closed forms, what it shares with the plain one, devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.layers.conditional import ConditionalBatchNorm, LinearBatchNorm
from gan_jax.layers.normalization import BatchNorm, with_moments
from tests.devices import sharded

CLASSES, CHANNELS = 5, 3
LABELS = jnp.array([4, 0, 0, 2, 4, 1, 3, 3], jnp.int32)


def activations(*shape, seed=1):
    return np.random.default_rng(seed).normal(2.0, 3.0, size=shape).astype(np.float32)


def variables(seed=2):
    rng = np.random.default_rng(seed)
    tables = {
        name: rng.normal(size=(CLASSES, CHANNELS)).astype(np.float32) for name in ("scale", "bias")
    }
    statistics = {
        name: rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32) for name in ("mean", "var")
    }
    return {"params": tables, "batch_stats": statistics}


@pytest.mark.parametrize("shape", [(8, CHANNELS), (8, 4, 5, CHANNELS)])
@pytest.mark.parametrize("train", [True, False])
def test_each_example_has_the_scale_and_bias_of_its_class(shape, train):
    x, state = activations(*shape), variables()
    y = ConditionalBatchNorm(CLASSES).apply(state, x, LABELS, train)
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    if not train:
        mean, var = state["batch_stats"]["mean"], state["batch_stats"]["var"]
    for example, label in enumerate(np.asarray(LABELS)):
        scale, bias = (state["params"][name][label] for name in ("scale", "bias"))
        expected = (1.0 + scale) * (x[example] - mean) / np.sqrt(var + 1e-5) + bias
        np.testing.assert_allclose(y[example], expected, rtol=1e-4, atol=1e-4)


def test_an_untrained_one_is_plain_batch_norm_to_the_bit():
    """Output and running statistics; the scale is 1 + 0, not 0."""
    x = activations(8, 4, 4, CHANNELS)
    ours = ConditionalBatchNorm(CLASSES, momentum=0.8, epsilon=1e-3)
    plain = BatchNorm(momentum=0.8, epsilon=1e-3)
    collections = ["batch_stats", "moments"]
    state = ours.init(jax.random.key(0), x, LABELS, train=True)
    assert jax.tree.map(jnp.shape, state["params"]) == {
        "scale": (CLASSES, CHANNELS),
        "bias": (CLASSES, CHANNELS),
    }
    got = ours.apply(state, x, LABELS, True, mutable=collections)
    plain_state = plain.init(jax.random.key(0), x, train=True)
    wanted = plain.apply(plain_state, x, True, mutable=collections)
    assert np.asarray(got[0]).std() > 0.9
    assert set(got[1]) == set(collections)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_moments_become_the_statistics_that_evaluation_uses():
    x, state = activations(8, 4, 4, CHANNELS), variables()
    layer = ConditionalBatchNorm(CLASSES)
    trained, update = layer.apply(state, x, LABELS, True, mutable=["moments"])
    replaced = with_moments({"layer": state["batch_stats"]}, {"layer": update["moments"]})["layer"]
    evaluated = layer.apply({**state, "batch_stats": replaced}, x, LABELS, False)
    np.testing.assert_allclose(evaluated, trained, rtol=1e-5, atol=1e-6)
    assert np.abs(evaluated - layer.apply(state, x, LABELS, False)).max() > 0.1


def test_a_class_without_an_example_has_no_gradient_and_the_others_have_one():
    x, state, labels = activations(4, 6, CHANNELS), variables(), jnp.array([1, 1, 3, 3])

    def loss(params):
        y = ConditionalBatchNorm(CLASSES).apply({**state, "params": params}, x, labels, True)
        return jnp.sum(jnp.sin(y))

    for table in jax.tree.leaves(jax.grad(loss)(state["params"])):
        np.testing.assert_array_equal(table[jnp.array([0, 2, 4])], 0.0)
        assert np.abs(table[jnp.array([1, 3])]).min() > 1e-3


def test_bfloat16_activations_have_float32_statistics_and_tables():
    x = jnp.asarray(activations(8, 64, CHANNELS) + 98.0, jnp.bfloat16)
    layer = ConditionalBatchNorm(CLASSES, dtype=jnp.bfloat16)
    state = layer.init(jax.random.key(0), x, LABELS, train=True)
    y, update = layer.apply(state, x, LABELS, True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((state, update))} == {jnp.dtype(np.float32)}
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(update["batch_stats"]["mean"], 0.1 * exact.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(y, np.float32).std((0, 1)), 1.0, rtol=1e-2)


def test_a_label_beyond_the_table_is_not_taken_for_the_last_class():
    x, state = activations(2, CHANNELS), variables()
    y = ConditionalBatchNorm(CLASSES).apply(state, x, jnp.array([CLASSES, 0]), False)
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


@pytest.mark.parametrize(
    "labels", [jnp.zeros(7, int), jnp.zeros((8, 1), int), jnp.zeros((), int), jnp.zeros(8)]
)
def test_labels_of_another_shape_or_dtype_are_refused(labels):
    with pytest.raises(ValueError, match=r"accepted: integers of shape \(8,\)"):
        ConditionalBatchNorm(CLASSES).apply(variables(), activations(8, CHANNELS), labels, True)


@pytest.mark.slow
def test_eight_devices_equal_one():
    """Each device has other classes, and activations of another mean and spread."""
    shards = np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1)
    x = (activations(8, 2, 6, CHANNELS) * shards + shards).reshape(16, 6, CHANNELS)
    labels = jnp.arange(16, dtype=jnp.int32) * CLASSES // 16
    state = variables()

    def step(params, stats, x, labels, axis_name):
        def loss(params):
            layer = ConditionalBatchNorm(CLASSES, axis_name=axis_name)
            y, update = layer.apply(
                {"params": params, "batch_stats": stats}, x, labels, True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.sin(y) * x), (y, update["batch_stats"])

        gradient, (y, stats) = jax.grad(loss, has_aux=True)(params)
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
        return gradient, stats, y

    several = sharded(
        partial(step, axis_name="data"),
        (P(), P(), P("data"), P("data")),
        (P(), P(), P("data")),
    )
    arguments = (state["params"], state["batch_stats"], x, labels)
    wanted = step(*arguments, axis_name=None)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted)) > 1e-3
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5),
        several(*arguments),
        wanted,
    )


# --- By vectors. ----------------------------------------------------------------------------------


def linear():
    """Return a layer, activations, vectors, variables, and the normalized kernels."""
    x = activations(8, 4, 5, CHANNELS)
    vectors = np.random.default_rng(3).normal(size=(8, 2)).astype(np.float32)
    state = jax.jit(LinearBatchNorm().init, static_argnames="train")(
        jax.random.key(0), x, vectors, train=True
    )
    state["params"] = jax.tree.map(lambda w: 3.0 * w, state["params"])
    # Orthogonal at the start, of any length: what is normalized has the spectral norm 1.
    kernels = {name: w["kernel"] / 3.0 for name, w in state["params"].items()}
    return LinearBatchNorm(), x, vectors, state, kernels


def test_scale_and_bias_are_linear_in_each_examples_vector():
    layer, x, vectors, state, kernels = linear()
    y = layer.apply(state, x, vectors, True, mutable=["batch_stats"])[0]
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    scale, bias = (vectors @ np.asarray(kernels[name]) for name in ("scale", "bias"))
    expected = (1.0 + scale[:, None, None]) * (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y, expected + bias[:, None, None], rtol=1e-4, atol=1e-4)


def test_a_vector_of_zeros_is_plain_batch_norm():
    layer, x, vectors, state, _ = linear()
    collections = ["batch_stats", "moments"]
    got = layer.apply(state, x, 0.0 * vectors, True, mutable=collections)
    plain = BatchNorm()
    wanted = plain.apply(plain.init(jax.random.key(0), x, True), x, True, mutable=collections)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
