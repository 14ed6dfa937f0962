"""Equalized learning rates: scales, variances of fresh layers, and steps of Adam."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.layers.convolution import Conv
from gan_jax.layers.equalized import EqualizedConv, EqualizedDense, equalized_scale

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(5, 6)).astype(np.float32)
IMAGES = RNG.normal(size=(2, 6, 4, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
FIELDS = {"gain": 2**0.5, "learning_rate_multiplier": 0.1}


def test_the_scale_is_the_multiplier_times_the_gain_over_the_root_of_the_fan_in():
    assert equalized_scale((3, 3, 4, 64)) == pytest.approx(1 / 6)
    assert equalized_scale((16, 2), gain=3.0, learning_rate_multiplier=0.01) == pytest.approx(
        0.0075
    )


def test_a_dense_layer_uses_its_scaled_kernel_and_bias():
    kernel = KERNEL.reshape(-1, 4)[:6]
    y = EqualizedDense(4, **FIELDS).apply({"params": {"kernel": kernel, "bias": BIAS}}, VECTORS)
    expected = VECTORS @ (kernel * 0.1 * np.sqrt(2 / 6)) + 0.1 * BIAS
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    y = EqualizedDense(4, use_bias=False).apply({"params": {"kernel": kernel}}, VECTORS)
    np.testing.assert_allclose(y, VECTORS @ kernel / np.sqrt(6), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{}, {"strides": (2, 2)}, {"padding": "VALID"}, {"pool": True}, {"upsample": True}],
    ids=str,
)
def test_a_convolution_is_the_plain_one_of_its_scaled_kernel_and_bias(options):
    y = EqualizedConv(4, **FIELDS, **options).apply(
        {"params": {"kernel": KERNEL, "bias": BIAS}}, IMAGES
    )
    scaled = {"kernel": KERNEL * 0.1 * np.sqrt(2 / 27), "bias": 0.1 * BIAS}
    expected = Conv(4, **options).apply({"params": scaled}, IMAGES)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
@pytest.mark.parametrize(("layer", "shape"), [(EqualizedDense, ()), (EqualizedConv, (8, 8))])
def test_fresh_layers_have_outputs_of_the_gain_and_the_given_bias(layer, shape, multiplier):
    x = np.random.default_rng(1).normal(size=(32, *shape, 40)).astype(np.float32)
    module = layer(300, gain=2.0, learning_rate_multiplier=multiplier, initial_bias=1.0)
    y, variables = jax.jit(module.init_with_output)(jax.random.key(0), x)
    inner = y[:, 1:-1, 1:-1] if shape else y
    np.testing.assert_allclose([inner.mean(), inner.std()], [1.0, 2.0], rtol=0.03)
    stored = variables["params"]
    np.testing.assert_allclose(stored["kernel"].std() * multiplier, 1.0, rtol=0.03)
    np.testing.assert_allclose(stored["bias"] * multiplier, 1.0, rtol=1e-6)


def test_a_step_of_adam_changes_what_is_used_by_the_multiplier():
    # Adam's first step is the rate times the gradient's sign.
    descent = optax.sign_sgd(0.5)

    def steps(multiplier):
        layer = EqualizedDense(4, learning_rate_multiplier=multiplier)
        params = layer.init(jax.random.key(0), VECTORS)["params"]
        gradients = jax.grad(lambda p: jnp.sum(layer.apply({"params": p}, VECTORS)))(params)
        updates, _ = descent.update(gradients, descent.init(params))
        eye, zeros = np.eye(6, dtype="f"), np.zeros((1, 6), "f")
        moved = {"params": optax.apply_updates(params, updates)}
        before, after = (
            layer.apply(variables, jnp.concatenate([zeros, eye]))
            for variables in ({"params": params}, moved)
        )
        return after - before

    whole, tenth = steps(1.0), steps(0.1)
    # The bias by the rate; a row of the kernel moves by the rate over the root of the fan in.
    np.testing.assert_allclose(np.abs(whole[0]), 0.5, rtol=1e-4)
    np.testing.assert_allclose(np.abs(whole[1:] - whole[0]), 0.5 / 6**0.5, rtol=1e-4)
    np.testing.assert_allclose(tenth, 0.1 * whole, rtol=1e-3, atol=1e-6)


def test_bfloat16_computes_in_bfloat16_from_float32_parameters():
    layer = EqualizedConv(4, dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), IMAGES)
    assert y.dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype("float32")}


def test_the_parameters_are_those_of_the_plain_layers():
    for ours, plain in ((EqualizedDense(4), nn.Dense(4)), (EqualizedConv(4), Conv(4))):
        trees = [jax.eval_shape(m.init, jax.random.key(0), IMAGES) for m in (ours, plain)]
        assert trees[0] == trees[1]
