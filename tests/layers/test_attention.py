"""Self-attention against plain NumPy, and what its users rely on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.spectral import power_iteration, spectral_normalize

CHANNELS = 16
WIDTHS = {"query": 2, "key": 2, "value": 8, "output": 16}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def prepared(spectral=False, gamma=0.7, shape=(2, 4, 6, CHANNELS), **fields):
    layer, x = SelfAttention(spectral=spectral, **fields), jnp.asarray(normal(*shape))
    variables = jax.jit(layer.init, static_argnums=2)(jax.random.key(0), x, True)
    variables["params"]["gamma"] = jnp.asarray(gamma, jnp.float32)
    return layer, variables, x


@functools.partial(jax.jit, static_argnums=(0, 3))
def attend(layer, variables, x, train=True):
    """Return the output, and the vectors of spectral normalization."""
    y, state = layer.apply(variables, x, train, mutable=["spectral"])
    return y, state.get("spectral")


def kernels(variables):
    names = ("query", "key", "value", "output")
    return {name: np.asarray(variables["params"][name]["kernel"][0, 0]) for name in names}


def attention(x, kernels, gamma):
    """One image after the other and one pixel after the other, in float64."""
    height, width = x.shape[1:3]
    result = np.array(x, np.float64)
    for image in range(len(x)):
        pixels = np.asarray(x[image], np.float64)

        def pooled(kernel, pixels=pixels):
            mapped = pixels @ kernel
            blocks = [mapped[i::2, j::2] for i in (0, 1) for j in (0, 1)]
            return np.max(blocks, axis=0).reshape(-1, kernel.shape[1])

        keys, values = pooled(kernels["key"]), pooled(kernels["value"])
        for row in range(height):
            for column in range(width):
                logits = keys @ (pixels[row, column] @ kernels["query"])
                mixed = scipy.special.softmax(logits) @ values
                result[image, row, column] += gamma * (mixed @ kernels["output"])
    return result


@pytest.mark.slow
@pytest.mark.parametrize("spectral", [False, True])
def test_equals_a_plain_loop_over_pixels(spectral):
    layer, variables, x = prepared(spectral)
    used = kernels(variables)
    if spectral:
        used = {
            name: np.asarray(spectral_normalize(jnp.asarray(kernel), vector)[0])
            for name, kernel in used.items()
            for vector in [variables["spectral"][name]["u"]]
        }
    y, _ = attend(layer, variables, x, False)
    np.testing.assert_allclose(y, attention(x, used, 0.7), rtol=1e-4, atol=1e-5)
    assert np.abs(y - x).max() > 0.1


def test_equals_pytorchs_attention_of_unscaled_products():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    layer, variables, x = prepared()
    mix = normal(*x.shape, seed=3)

    def loss(params, x):
        y = layer.apply({"params": params}, x, True)
        return jnp.sum(mix * jnp.sin(y)), y

    compiled = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (by_params, by_input), y = compiled(variables["params"], x)

    def tensor(array):
        return torch.from_numpy(np.array(array)).requires_grad_()

    weights = {name: tensor(kernel) for name, kernel in kernels(variables).items()}
    gamma, image = tensor(variables["params"]["gamma"]), tensor(x)

    def pooled(name):
        mapped = (image @ weights[name]).permute(0, 3, 1, 2)
        return torch.nn.functional.max_pool2d(mapped, 2).flatten(2).transpose(1, 2)

    query = (image @ weights["query"]).flatten(1, 2)
    mixed = torch.nn.functional.scaled_dot_product_attention(
        query, pooled("key"), pooled("value"), scale=1.0
    )
    expected = image + gamma * (mixed @ weights["output"]).reshape(image.shape)
    (torch.from_numpy(mix) * expected.sin()).sum().backward()
    np.testing.assert_allclose(y, expected.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_input, image.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_params["gamma"], gamma.grad, rtol=1e-4)
    for name, weight in weights.items():
        np.testing.assert_allclose(
            by_params[name]["kernel"][0, 0], weight.grad, rtol=1e-3, atol=1e-4, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("spectral", [False, True])
def test_an_untrained_layer_is_the_identity_that_can_learn(spectral):
    layer, x = SelfAttention(spectral=spectral), jnp.asarray(normal(2, 4, 4, CHANNELS))
    variables = jax.jit(layer.init, static_argnums=2)(jax.random.key(0), x, True)
    np.testing.assert_array_equal(attend(layer, variables, x)[0], x)
    widths = {n: p["kernel"].shape[-1] for n, p in variables["params"].items() if n != "gamma"}
    assert widths == WIDTHS
    assert variables["params"]["gamma"].shape == ()

    def loss(params):
        y = layer.apply({**variables, "params": params}, x, True)
        return jnp.sum(normal(*x.shape, seed=4) * y)

    assert abs(jax.jit(jax.grad(loss))(variables["params"])["gamma"]) > 1e-2


@pytest.mark.slow
def test_the_vectors_of_spectral_normalization_move_in_train_mode_only():
    layer, variables, x = prepared(spectral=True)
    vectors = variables["spectral"]
    assert sorted(vectors) == sorted(WIDTHS)
    _, still = attend(layer, variables, x, False)
    jax.tree.map(np.testing.assert_array_equal, still, vectors)
    _, moved = attend(layer, variables, x)
    for name in WIDTHS:
        iterate = jax.jit(power_iteration)
        expected = iterate(variables["params"][name]["kernel"], vectors[name]["u"])
        np.testing.assert_allclose(moved[name]["u"], expected, rtol=1e-5, atol=1e-6)
    assert "spectral" not in prepared(spectral=False)[1]


def test_moving_by_two_pixels_round_the_edges_moves_the_output():
    """Attention knows no positions, but for the pooled squares."""
    layer, variables, x = prepared()
    y, _ = attend(layer, variables, x)
    moved, _ = attend(layer, variables, np.roll(x, (2, -2), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(y, (2, -2), (1, 2)), rtol=1e-4, atol=1e-5)


def test_examples_are_independent():
    layer, variables, x = prepared()
    y, _ = attend(layer, variables, x)
    np.testing.assert_allclose(attend(layer, variables, x[1:])[0], y[1:], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("spectral", [False, True])
def test_bfloat16_with_float32_parameters_and_its_gradient(spectral):
    layer, variables, x = prepared(spectral, dtype=jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    exact, _ = attend(layer.clone(dtype=None), variables, x)
    assert exact.dtype == jnp.float32
    y, _ = attend(layer, variables, x.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=0.03, atol=0.03)

    def loss(params, layer):
        y = layer.apply({**variables, "params": params}, x, True)
        return jnp.mean(jnp.square(y.astype(jnp.float32)))

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    rough, fine = (
        gradient(variables["params"], layer.clone(dtype=dtype))
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    for name in WIDTHS:
        a, b = rough[name]["kernel"], fine[name]["kernel"]
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=0.05 * np.abs(b).max(), err_msg=name)


def test_logits_and_softmax_are_float32_whatever_the_computation():
    """Logits of 36 and 36.1875, which bfloat16 would round to 36.25, for values of 0 and 1."""
    square = np.array([[6.0, 6.0, 0.0]]), np.array([[6.0 + 1 / 32, 6.0, 1.0]])
    x = jnp.asarray(np.tile(np.repeat(square, 2, axis=0).reshape(1, 1, 4, 3), (1, 2, 1, 1)))
    columns = dict(zip(("key", "query", "value"), np.eye(3, dtype=np.float32), strict=True))
    params = {name: {"kernel": column.reshape(1, 1, 3, 1)} for name, column in columns.items()}
    params["output"] = {"kernel": np.ones((1, 1, 1, 3), np.float32)}
    params["gamma"] = np.ones((), np.float32)
    y, _ = attend(SelfAttention(), {"params": params}, x.astype(jnp.bfloat16))
    weight = scipy.special.expit(6.0 / 32)
    np.testing.assert_allclose(y[0, :, :2, 2].astype(jnp.float32), weight, rtol=2**-7)


def test_few_channels_are_enough():
    layer, variables, x = prepared(shape=(1, 2, 2, 1))
    assert {kernel.shape for kernel in kernels(variables).values()} == {(1, 1)}
    expected = attention(x, kernels(variables), 0.7)
    np.testing.assert_allclose(attend(layer, variables, x)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 4, 8), (1, 4, 7, 8)])
def test_odd_sizes_are_refused(shape):
    with pytest.raises(ValueError, match=f"{shape[1]}x{shape[2]} pixels; accepted: an even"):
        SelfAttention().init(jax.random.key(0), jnp.ones(shape), True)
