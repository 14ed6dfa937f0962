from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.layers.normalization import (
    NORMALIZATIONS,
    BatchNorm,
    LocalResponseNorm,
    PixelNorm,
    make_norm,
)
from tests.devices import sharded


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


class _Network(nn.Module):
    """Calls a normalization by its name, as networks do."""

    normalization: str
    options: dict

    @nn.compact
    def __call__(self, x, train):
        return make_norm(self.normalization, **{"groups": 2, **self.options})(x, train)


def _named(normalization, x, **options):
    network = _Network(normalization, options)
    return network, jax.jit(partial(network.init, train=False))(jax.random.key(0), x)


def _applied(normalization, params, x, **options):
    """Normalize with a given scale and bias."""
    network = _Network(normalization, {"name": "norm", **options})
    apply = jax.jit(network.apply, static_argnums=2)
    return apply({"params": {"norm": params}}, x, True)


@partial(jax.jit, static_argnums=(0, 3))
def _updated(module, variables, x, train=None):
    """Return the output and the new statistics."""
    arguments = () if train is None else (train,)
    return module.apply(variables, x, *arguments, mutable=["batch_stats"])


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 5, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_equals_flax(shape, train):
    x, variables = _activations(*shape), _variables(3)
    reference = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
    ours, our_update = _updated(BatchNorm(), variables, x, train)
    theirs, their_update = _updated(reference, variables, x)
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

    sharded_step = sharded(
        partial(step, axis_name="data"), (P(), P(), P("data")), (P(), P(), P("data"))
    )
    sharded_input_gradient = sharded(
        jax.grad(partial(loss_of_input, axis_name="data")), P("data"), P("data")
    )
    alone = jax.jit(partial(step, axis_name=None))
    single = alone(variables["params"], variables["batch_stats"], x)
    several = sharded_step(variables["params"], variables["batch_stats"], x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5), several, single)
    # The mean over one device's shard is 8 times that over the whole batch.
    np.testing.assert_allclose(
        sharded_input_gradient(x) / 8,
        jax.jit(jax.grad(partial(loss_of_input, axis_name=None)))(x),
        atol=1e-5,
    )


@pytest.mark.slow
def test_unsynchronized_devices_differ():
    """Guards the test above: without the axis, each device normalizes by its own shard."""
    x = np.concatenate([np.zeros((2, 1)), np.ones((2, 1))]).astype(np.float32)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    apply = sharded(lambda x: BatchNorm().apply(variables, x, True), P("data"), P("data"), count=2)
    np.testing.assert_array_equal(apply(x), 0.0)


def test_layer_norm_is_per_example_with_scale_and_bias_per_channel():
    x = _activations(4, 5, 5, 3)
    params = _variables(3)["params"]
    flat = x.reshape(4, -1)
    mean, std = flat.mean(1).reshape(4, 1, 1, 1), flat.std(1).reshape(4, 1, 1, 1)
    y = _applied("layer", params, x)
    np.testing.assert_allclose(y, (x - mean) / std * params["scale"] + params["bias"], atol=1e-4)


def test_layer_norm_keeps_digits_of_a_large_mean():
    x = _activations(2, 64, 3, spread=1e-2) + 1000.0
    y = _applied("layer", _variables(3)["params"] | {"scale": np.ones(3, np.float32)}, x)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1.0, atol=0.1)


def test_layer_norm_of_a_constant_image_has_finite_gradient():
    params = _variables(3)["params"]
    gradient = jax.grad(lambda x: jnp.sum(_applied("layer", params, x) ** 2))(jnp.ones((2, 4, 3)))
    assert np.isfinite(gradient).all()


# What examples are normalized by alone: closed forms.


def test_instance_norm_is_per_example_and_channel():
    x = _activations(4, 5, 6, 3)
    params = _variables(3)["params"]
    mean, std = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    y = _applied("instance", params, x)
    expected = (x - mean) / std * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_group_norm_lies_between_layer_norm_and_instance_norm():
    x = _activations(2, 4, 4, 6)
    params = _variables(6)["params"]
    one, all_alone = (_applied("group", params, x, groups=groups) for groups in (1, 6))
    np.testing.assert_allclose(one, _applied("layer", params, x), atol=1e-5)
    np.testing.assert_allclose(all_alone, _applied("instance", params, x), atol=1e-5)


def test_a_group_is_of_neighbouring_channels():
    x = _activations(3, 6)
    params = {"scale": np.ones(6, np.float32), "bias": np.zeros(6, np.float32)}
    y = _applied("group", params, x)
    pairs = x.reshape(3, 2, 3)
    expected = (pairs - pairs.mean(2, keepdims=True)) / pairs.std(2, keepdims=True)
    np.testing.assert_allclose(y, expected.reshape(3, 6), atol=1e-4)


def test_pixel_norm_by_hand():
    """The mean square of (3, 4) is 12.5; a zero vector stays zero."""
    x = np.array([[[3.0, 4.0], [0.0, 0.0]], [[-30.0, 40.0], [1e-8, 0.0]]], np.float32)
    y = PixelNorm().apply({}, x)
    three, four = 3.0 / 12.5**0.5, 4.0 / 12.5**0.5
    np.testing.assert_allclose(y[:, 0], [[three, four], [-three, four]], rtol=1e-6)
    np.testing.assert_array_equal(y[0, 1], 0.0)
    assert np.abs(y[1, 1]).max() < 1e-3  # not blown up to length one
    assert not PixelNorm().init(jax.random.key(0), x)


def test_local_response_norm_by_hand():
    """Size 3, alpha 3, so that its weight is 1: 1 + the squares of a channel and its neighbours."""
    x = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    y = LocalResponseNorm(size=3, alpha=3.0, beta=0.5).apply({}, x)
    np.testing.assert_allclose(y, x / np.sqrt([[6.0, 15.0, 30.0, 26.0]]), rtol=1e-6)
    # Of an even size, the larger half lies before the channel.
    y = LocalResponseNorm(size=2, alpha=2.0, beta=1.0, k=2.0).apply({}, x)
    np.testing.assert_allclose(y, x / [[3.0, 7.0, 15.0, 27.0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 1, 1, 4), (2, 4)])
def test_instance_norm_of_a_single_pixel_is_refused(shape):
    with pytest.raises(ValueError, match=r"fewer than two numbers.*all would become 0"):
        _named("instance", jnp.ones(shape))


def test_group_norm_refuses_groups_that_do_not_fit():
    for groups in (4, 0, 7):
        with pytest.raises(ConfigError, match=f"groups = {groups} for 6 channels.*divisor of 6"):
            _named("group", jnp.ones((2, 6)), groups=groups)
    with pytest.raises(ValueError, match="fewer than two numbers"):
        _named("group", jnp.ones((2, 6)), groups=6)


@pytest.mark.parametrize("fields", [{"size": 0}, {"alpha": -1.0}, {"k": 0.0}])
def test_local_response_norm_refuses_a_bad_setting(fields):
    ((field, value),) = fields.items()
    with pytest.raises(ConfigError, match=f"{field} = {value} cannot work; accepted: "):
        LocalResponseNorm(**fields).apply({}, jnp.ones((2, 6)))


# Against PyTorch: outputs, and gradients by input, scale and bias.


def _torch_batch_norm(functional, x, scale, bias):
    return functional.batch_norm(x, None, None, scale, bias, training=True)


PARITY = {
    "batch": (lambda: lambda v, x: BatchNorm().apply(v, x, True), _torch_batch_norm),
    "instance": (
        lambda: lambda v, x: _applied("instance", v["params"], x),
        lambda functional, x, scale, bias: functional.instance_norm(x, weight=scale, bias=bias),
    ),
    "group": (
        lambda: lambda v, x: _applied("group", v["params"], x, groups=3),
        lambda functional, x, scale, bias: functional.group_norm(x, 3, scale, bias),
    ),
    "local response": (
        lambda: LocalResponseNorm().apply,
        lambda functional, x, scale, bias: functional.local_response_norm(x, 5),
    ),
    "local response, even": (
        lambda: LocalResponseNorm(size=4, alpha=2.0, beta=0.6, k=1.5).apply,
        lambda functional, x, scale, bias: functional.local_response_norm(x, 4, 2.0, 0.6, 1.5),
    ),
}


@pytest.mark.parametrize("name", PARITY)
@pytest.mark.parametrize("shape", [(4, 5, 7, 6)])
def test_values_and_gradients_are_those_of_pytorch(name, shape):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    ours, theirs = PARITY[name]
    x, variables = _activations(*shape), _variables(6)
    variables["params"]["scale"][0] *= -1.0
    mix = np.random.default_rng(3).normal(size=shape).astype(np.float32)

    def loss(params, x):
        stats = {"batch_stats": variables["batch_stats"]} if name == "batch" else {}
        y = ours()({"params": params, **stats}, x)
        return jnp.sum(mix * jnp.sin(y)), y

    (by_params, by_input), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)

    def tensor(array):
        return torch.from_numpy(np.array(array)).requires_grad_()

    moved = tensor(np.moveaxis(x, -1, 1))
    scale, bias = (tensor(variables["params"][name]) for name in ("scale", "bias"))
    expected = theirs(torch.nn.functional, moved, scale, bias)
    (torch.from_numpy(np.moveaxis(mix, -1, 1).copy()) * expected.sin()).sum().backward()

    def in_our_layout(t):
        return np.moveaxis(t.detach().numpy(), 1, -1)

    np.testing.assert_allclose(y, in_our_layout(expected), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_input, in_our_layout(moved.grad), rtol=1e-4, atol=1e-5)
    if not name.startswith("local"):
        np.testing.assert_allclose(by_params["scale"], scale.grad, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(by_params["bias"], bias.grad, rtol=1e-4, atol=1e-4)


def test_running_statistics_are_those_of_pytorch_but_for_the_unbiased_variance():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    x, variables = _activations(4, 5, 7, 6), _variables(6)
    mean, var = (torch.from_numpy(variables["batch_stats"][n].copy()) for n in ("mean", "var"))
    torch.nn.functional.batch_norm(
        torch.from_numpy(np.moveaxis(x, -1, 1)), mean, var, None, None, True
    )
    _, update = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(update["batch_stats"]["mean"], mean, rtol=1e-5)
    # PyTorch keeps the variance over n - 1, and Flax, as we, over n.
    excess = 0.1 * x.var((0, 1, 2)) / (4 * 5 * 7 - 1)
    np.testing.assert_allclose(update["batch_stats"]["var"], var.numpy() - excess, rtol=1e-5)


# What all normalizations that a network can choose have in common.


@pytest.mark.parametrize("normalization", ["batch", "instance", "layer", "group"])
def test_make_norm_passes_name_and_scale_initializer_on(normalization):
    x = _activations(4, 3, 3, 6)
    twos = nn.initializers.constant(2.0)
    _, variables = _named(normalization, x, name="norm_1", scale_init=twos)
    ((name, params),) = variables["params"].items()
    assert name == "norm_1"
    np.testing.assert_array_equal(params["scale"], 2.0)
    np.testing.assert_array_equal(params["bias"], 0.0)


def test_two_layers_by_name_have_parameters_of_their_own():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            return make_norm("layer")(make_norm("layer")(x, True), True)

    params = Two().init(jax.random.key(0), jnp.ones((2, 3)))["params"]
    assert sorted(params) == ["LayerNorm_0", "LayerNorm_1"]


def test_an_unknown_normalization_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"normalization = 'instnace' is unknown.*instance") as e:
        make_norm("instnace")
    assert all(name in str(e.value) for name in NORMALIZATIONS)


@pytest.mark.parametrize("normalization", [n for n in NORMALIZATIONS if n not in ("none", "batch")])
def test_examples_are_independent(normalization):
    x = _activations(4, 3, 3, 6)
    network, variables = _named(normalization, x)
    apply = jax.jit(network.apply, static_argnums=2)
    y = apply(variables, x, True)
    np.testing.assert_allclose(apply(variables, x[2:3], True), y[2:3], atol=1e-6)
    np.testing.assert_array_equal(apply(variables, x, False), y)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_bfloat16_is_rounded_only_at_the_end(normalization):
    x = jnp.asarray(_activations(2, 33, 33, 6, spread=1.0) + 98.0, jnp.bfloat16)
    network, variables = _named(normalization, x, dtype=jnp.bfloat16)
    y = jax.jit(network.apply, static_argnums=2)(variables, x, True)
    assert y.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    full = network.clone(options={"dtype": jnp.float32})
    exact = jax.jit(full.apply, static_argnums=2)(variables, x.astype(jnp.float32), True)
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)
    kept = partial(network.clone(options={}).apply, train=True)
    assert jax.eval_shape(kept, variables, x).dtype == jnp.bfloat16


def test_eight_devices_equal_one_by_name():
    shards = np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1, 1)
    x = (_activations(8, 2, 3, 3, 4) * shards + shards).reshape(16, 3, 3, 4)
    network, variables = _named("batch", x, axis_name="data")
    several = sharded(lambda x: network.apply(variables, x, True), P("data"), P("data"))
    alone = jax.jit(network.clone(options={}).apply, static_argnums=2)
    np.testing.assert_allclose(several(x), alone(variables, x, True), atol=1e-5)
