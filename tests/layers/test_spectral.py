"""Spectral normalization against singular values, PyTorch, and what a step may do to its state."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers import spectral as spectral_layers
from gan_jax.layers.convolution import Conv
from gan_jax.layers.spectral import (
    SpectralConv,
    SpectralDense,
    SpectralEmbed,
)

# Compiled whole: one by one, their operations take ten times as long to compile.
power_iteration = jax.jit(spectral_layers.power_iteration)
spectral_normalize = jax.jit(spectral_layers.spectral_normalize)

KERNELS = [(3, 3, 4, 7), (1, 1, 2, 9), (5, 1)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x)


def singular_values(kernel):
    kernel = np.asarray(kernel, np.float64)
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)


@jax.jit
def iterated(kernel, u, steps):
    return jax.lax.fori_loop(0, steps, lambda _, u: power_iteration(kernel, u), jnp.asarray(u))


@pytest.mark.parametrize("shape", KERNELS)
def test_sigma_is_the_largest_singular_value_approached_from_below(shape):
    kernel, u = normal(*shape), normal(shape[-1], seed=1)
    largest = singular_values(kernel)[0]
    sigmas = []
    for steps in (0, 1, 2, 5, 300):
        normalized, sigma = spectral_normalize(kernel, iterated(kernel, u, steps))
        np.testing.assert_allclose(normalized, kernel / sigma, rtol=1e-6)
        sigmas.append(float(sigma))
    np.testing.assert_allclose(sigmas[-1], largest, rtol=1e-5)
    np.testing.assert_allclose(singular_values(normalized)[0], 1.0, rtol=1e-5)
    assert np.all(np.diff(sigmas) >= -1e-6 * largest)
    if min(shape[-1], kernel.size // shape[-1]) > 1:
        assert sigmas[0] < 0.99 * largest, "sigma was known before any iteration"


def test_one_iteration_by_hand():
    """W = diag(3, 1), u = (1, 1) / sqrt(2): W W^T u is along (9, 1), |W^T u|^2 = (9 + 1) / 2."""
    kernel, u = jnp.diag(jnp.array([3.0, 1.0])), jnp.full(2, 0.5**0.5)
    np.testing.assert_allclose(spectral_normalize(kernel, u)[1], 5.0**0.5, rtol=1e-6)
    new = power_iteration(kernel, u)
    np.testing.assert_allclose(new, np.array([9.0, 1.0]) / 82.0**0.5, rtol=1e-6)
    np.testing.assert_allclose(spectral_normalize(kernel, new)[1], (730 / 82) ** 0.5, rtol=1e-6)


def test_length_and_sign_of_the_vector_change_nothing():
    """A moving average of unit vectors, or the mean over devices, is shorter than 1."""
    kernel, u = normal(3, 3, 4, 5), normal(5, seed=1)
    for factor in (0.3, -1.0, 1e-15):
        for ours, theirs in zip(
            (*spectral_normalize(kernel, u), power_iteration(kernel, u)),
            (
                *spectral_normalize(kernel, np.float32(factor) * u),
                np.sign(factor, dtype=np.float32) * power_iteration(kernel, np.float32(factor) * u),
            ),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_sigma_has_the_derivative_u_v_and_no_second_one():
    """As the paper differentiates it (its equation 9): the singular vectors are constants."""
    kernel, u = normal(6, 4), unit(normal(4, seed=1))
    sigma = lambda kernel: spectral_normalize(kernel, u)[1]  # noqa: E731
    v = unit(kernel @ u)
    np.testing.assert_allclose(
        jax.jit(jax.grad(sigma))(kernel), np.outer(v, u), rtol=1e-5, atol=1e-6
    )
    slope = lambda kernel: jnp.sum(jnp.sin(jax.grad(sigma)(kernel)))  # noqa: E731
    np.testing.assert_array_equal(jax.jit(jax.grad(slope))(kernel), 0.0)
    np.testing.assert_array_equal(
        jax.grad(lambda u: spectral_normalize(kernel, u)[0].sum())(u), 0.0
    )


def test_gradient_is_orthogonal_to_the_kernel():
    """The normalized kernel does not depend on the kernel's length."""
    kernel, u, weights = normal(3, 3, 4, 5), normal(5, seed=1), normal(3, 3, 4, 5, seed=2)
    gradient = jax.grad(lambda k: jnp.sum(weights * spectral_normalize(k, u)[0]))(kernel)
    assert np.linalg.norm(gradient) > 1.0
    assert abs(np.vdot(gradient, kernel)) < 1e-4 * np.linalg.norm(gradient) * np.linalg.norm(kernel)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_the_kernels_magnitude_does_not_hurt_the_vectors(scale):
    kernel, u = normal(6, 5), normal(5, seed=1)
    scaled = kernel * np.float32(scale)
    np.testing.assert_allclose(power_iteration(scaled, u), power_iteration(kernel, u), rtol=1e-4)
    np.testing.assert_allclose(
        spectral_normalize(scaled, u)[1], scale * spectral_normalize(kernel, u)[1], rtol=1e-4
    )


@pytest.mark.parametrize("scale", [1e-25, None, 1e25])
def test_a_kernel_whose_squares_are_no_numbers_keeps_its_vector(scale):
    """It is not normalized, but becomes so again when its norm is one of training."""
    kernel, u = normal(6, 5), unit(normal(5, seed=1))
    if scale is None:  # The squares of W v overflow, and those of W^T u do not.
        v = kernel @ u
        scale = 2.0**64 / np.sqrt(np.linalg.norm(v) * np.linalg.norm(unit(v) @ kernel))
    scaled = kernel * np.float32(scale)
    np.testing.assert_allclose(power_iteration(scaled, u), u, rtol=1e-6)
    normalized, _ = spectral_normalize(scaled, u)
    gradient = jax.grad(lambda k: jnp.sum(spectral_normalize(k, u)[0]))(scaled)
    assert np.isfinite(normalized).all()
    assert np.isfinite(gradient).all()


def test_a_zero_kernel_is_finite_and_keeps_its_vector():
    """Were the vector lost, a kernel that leaves zero would never be normalized again."""
    zero, u, weights = np.zeros((3, 3, 2, 4), np.float32), unit(normal(4)), normal(3, 3, 2, 4)
    np.testing.assert_allclose(power_iteration(zero, u), u, rtol=1e-6)
    normalized, sigma = spectral_normalize(zero, u)
    np.testing.assert_array_equal(normalized, 0.0)
    assert float(sigma) == 0.0

    def first(kernel):
        return jax.grad(lambda k: jnp.sum(weights * spectral_normalize(k, u)[0] ** 2))(kernel)

    for gradient in (
        jax.grad(lambda k: jnp.sum(weights * spectral_normalize(k, u)[0]))(zero),
        first(zero),
        jax.grad(lambda k: jnp.sum(jnp.square(first(k) + weights)))(zero),
    ):
        assert np.isfinite(gradient).all()
        assert np.isfinite(np.sum(np.square(gradient)))


def test_nan_in_a_kernel_is_not_hidden():
    kernel, u = np.full((3, 2), np.nan, np.float32), normal(2)
    assert np.isnan(spectral_normalize(kernel, u)[0]).all()


@pytest.mark.parametrize("shape", [(), (4,), (5, 1), (6,)])
def test_a_vector_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"accepted: \(5,\)"):
        spectral_normalize(normal(4, 5), normal(*shape))


# Every layer, its plain counterpart, and an input. The kernels' widths differ on every axis.
IMAGES = normal(2, 8, 8, 3)
LAYERS = {
    "dense": (SpectralDense, nn.Dense, {"features": 5}, normal(4, 6)),
    "conv": (SpectralConv, Conv, {"features": 5}, IMAGES),
    "strided": (
        SpectralConv,
        Conv,
        {"features": 5, "kernel_size": (4, 4), "strides": (2, 2)},
        IMAGES,
    ),
    "pooled": (SpectralConv, Conv, {"features": 5, "pool": True}, IMAGES),
    "upsampled": (SpectralConv, Conv, {"features": 5, "upsample": True}, IMAGES),
}


# Whole calls are compiled: one by one, their operations would take longer.
@partial(jax.jit, static_argnums=(0, 3))
def apply(layer, variables, x, mutable=False):
    return layer.apply(variables, x, mutable=mutable)


@cache
def prepared(name):
    """Return a layer, its plain one, variables with a bias and a random vector, and an input."""
    spectral, plain, fields, x = LAYERS[name]
    layer = spectral(**fields)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    if fields.get("use_bias", True):
        variables["params"]["bias"] = jnp.asarray(normal(5, seed=3))
    variables["spectral"]["u"] = jnp.asarray(unit(normal(5, seed=4)))
    return layer, plain(**fields), variables, x


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_plain_one_with_its_kernel_normalized(name):
    layer, plain, variables, x = prepared(name)
    params, u = variables["params"], variables["spectral"]["u"]
    for stored, moved in ((u, False), (power_iteration(params["kernel"], u), True)):
        kernel = spectral_normalize(params["kernel"], stored)[0]
        expected = apply(plain, {"params": {**params, "kernel": kernel}}, x)
        mutable = ("spectral",) if moved else ()
        ours, update = apply(layer, variables, x, mutable)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
        if moved:
            np.testing.assert_allclose(update["spectral"]["u"], stored, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_start_as_the_plain_ones_do(name):
    layer, plain, _, x = prepared(name)
    ours = jax.jit(layer.init)(jax.random.key(5), x)["params"]
    theirs = jax.jit(plain.init)(jax.random.key(5), x)["params"]
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_a_new_layer_is_normalized_to_a_few_per_cent(name):
    spectral, _, fields, x = LAYERS[name]
    for train in (True, False):
        variables = jax.jit(spectral(**fields, train=train).init)(jax.random.key(1), x)
        kernel, u = variables["params"]["kernel"], variables["spectral"]["u"]
        assert u.dtype == jnp.float32
        np.testing.assert_allclose(np.linalg.norm(u), 1.0, rtol=1e-6)
        sigma = spectral_normalize(kernel, u)[1]
        np.testing.assert_allclose(sigma, singular_values(kernel)[0], rtol=0.05)


def assert_close(a, b, dtype):
    """Assert equality up to rounding: differently compiled programs add up in another order."""
    tolerance = 2e-2 if dtype == jnp.bfloat16 else 1e-6
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "dtype"), [("dense", jnp.float32), ("conv", jnp.bfloat16)])
def test_the_vector_moves_in_train_mode_where_it_may(name, dtype):
    layer, _, variables, x = prepared(name)
    layer = layer.clone(dtype=dtype)
    u, kernel = variables["spectral"]["u"], variables["params"]["kernel"]
    y, update = apply(layer, variables, x, ("spectral",))
    assert y.dtype == dtype
    np.testing.assert_allclose(update["spectral"]["u"], power_iteration(kernel, u), rtol=1e-6)
    assert np.max(np.abs(update["spectral"]["u"] - u)) > 0.05

    still = layer.clone(train=False)
    for module in (layer, still):
        # Applied again with the vector that came back, the layer is the same function.
        assert_close(apply(module, {**variables, **update}, x), y, dtype)
    evaluated, untouched = apply(still, variables, x, ("spectral",))
    np.testing.assert_array_equal(untouched["spectral"]["u"], u)
    assert_close(apply(layer, variables, x), evaluated, dtype)
    assert np.max(np.abs(evaluated.astype(jnp.float32) - y.astype(jnp.float32))) > 0.01


def test_the_norm_is_estimated_in_float32_whatever_the_dtypes():
    """Summed in bfloat16, 4,096 equal numbers would come to 256 of them."""
    kernel = jnp.full((4096, 2), 1.0, jnp.bfloat16)
    x = jnp.ones((1, 4096), jnp.bfloat16)
    layer = SpectralDense(2, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, use_bias=False)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.bfloat16
    assert variables["spectral"]["u"].dtype == jnp.float32
    variables = {**variables, "params": {"kernel": kernel}}
    _, update = apply(layer, variables, x, ("spectral",))
    u = update["spectral"]["u"]
    assert u.dtype == jnp.float32
    np.testing.assert_allclose(np.abs(u), 0.5**0.5, rtol=1e-6)
    normalized, sigma = spectral_normalize(kernel, u)
    assert normalized.dtype == jnp.bfloat16
    np.testing.assert_allclose(sigma, 8192.0**0.5, rtol=1e-6)


def test_a_converged_dense_layer_lengthens_no_vector():
    layer = SpectralDense(7, use_bias=False)
    x = normal(1000, 6)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    variables["spectral"]["u"] = iterated(kernel, variables["spectral"]["u"], 300)
    lengthened = np.linalg.norm(apply(layer, variables, x), axis=1) / np.linalg.norm(x, axis=1)
    assert lengthened.max() <= 1.0 + 1e-5
    assert lengthened.max() > 0.8  # and is not merely small
    _, _, right = np.linalg.svd(np.asarray(kernel).T)
    np.testing.assert_allclose(np.linalg.norm(apply(layer, variables, right[:1])), 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_the_input_gradient_is_finite_and_as_without_the_layer(name):
    """The kernel's gradient of a penalty on the slope, against plain layers and plain algebra."""
    layer, plain, variables, x = prepared(name)
    params, u = variables["params"], variables["spectral"]["u"]
    mix = normal(*layer.apply(variables, x).shape, seed=6)

    def penalty(apply, x):
        slope = jax.grad(lambda x: jnp.sum(mix * jnp.tanh(apply(x))))(x)
        return jnp.sum(jnp.square(slope))

    def ours(params):
        return penalty(lambda x: layer.apply({"params": params, "spectral": {"u": u}}, x), x)

    def expected(params):
        rows = params["kernel"].reshape(-1, u.shape[0])
        v = jax.lax.stop_gradient(rows @ u)
        kernel = params["kernel"] / (v / jnp.linalg.norm(v) @ rows @ u)
        return penalty(lambda x: plain.apply({"params": {**params, "kernel": kernel}}, x), x)

    got, wanted = jax.jit(jax.grad(ours))(params), jax.jit(jax.grad(expected))(params)
    for name in params:
        assert np.abs(got[name]).max() > 1e-3, name
        scale = float(np.abs(wanted[name]).max())
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_layers_of_zeros_have_finite_gradients_of_gradients(name):
    layer, _, variables, x = prepared(name)
    zeros = jax.tree.map(jnp.zeros_like, variables["params"])

    def penalty(params):
        state = {"params": params, "spectral": variables["spectral"]}
        slope = jax.grad(lambda x: jnp.sum(jnp.sin(1.0 + layer.apply(state, x))))(x)
        return jnp.mean(jnp.square(jnp.sqrt(jnp.sum(jnp.square(slope)) + 1e-12) - 1.0))

    for gradient in jax.tree.leaves(jax.jit(jax.grad(penalty))(zeros)):
        assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_embed_gives_rows_of_the_normalized_table():
    layer = SpectralEmbed(7, 4)
    labels = jnp.array([[3, 0], [6, 3]])
    variables = jax.jit(layer.init)(jax.random.key(0), labels)
    table, u = variables["params"]["embedding"], variables["spectral"]["u"]
    reference = nn.Embed(7, 4).init(jax.random.key(0), labels)["params"]["embedding"]
    np.testing.assert_array_equal(table, reference)
    rows, update = apply(layer, variables, labels, ("spectral",))
    assert (rows.shape, rows.dtype) == ((2, 2, 4), jnp.float32)
    u = power_iteration(table, u)
    np.testing.assert_allclose(update["spectral"]["u"], u, rtol=1e-6)
    expected = table / singular_values(table)[0].astype(np.float32)
    converged = {**variables, "spectral": {"u": iterated(table, u, 300)}}
    np.testing.assert_allclose(apply(layer, converged, labels), expected[labels], atol=1e-3)

    def first(params):
        state = {"params": params, "spectral": {"u": u}}
        return jax.grad(lambda p: jnp.sum(layer.apply({**state, "params": p}, labels) ** 2))(params)

    for params in (variables["params"], {"embedding": jnp.zeros_like(table)}):
        squared = lambda p: jnp.sum(first(p)["embedding"] ** 2)  # noqa: E731
        second = jax.jit(jax.grad(squared))(params)["embedding"]
        assert np.isfinite(second).all()


def torch_layer(torch, name, params):
    """Return PyTorch's counterpart with its spectral norm, and its kernel in our layout."""
    kernel = np.asarray(params["kernel"])
    if name == "dense":
        layer, weight = torch.nn.Linear(6, 5), kernel.T
    else:
        layer = torch.nn.Conv2d(3, 5, 4, 2, padding=1)
        weight = kernel.transpose(3, 2, 0, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))
    return torch.nn.utils.parametrizations.spectral_norm(layer)


def in_our_layout(name, weight):
    if name == "dense":
        return weight.T
    return weight.transpose(2, 3, 1, 0)


@pytest.mark.parametrize("name", ["dense", "strided"])
def test_outputs_vectors_and_gradients_are_those_of_pytorch(name):
    """Step by step from the same vector; PyTorch keeps v beside u, so it starts from ours."""
    torch = pytest.importorskip("torch")
    layer, _, variables, x = prepared(name)
    theirs = torch_layer(torch, name, variables["params"]).train()
    state = theirs.parametrizations.weight[0]
    u = torch.from_numpy(np.array(variables["spectral"]["u"]))
    original = theirs.parametrizations.weight.original
    state._u.copy_(u)
    state._v.copy_(torch.nn.functional.normalize(original.detach().flatten(1).T @ u, dim=0))
    image = x.ndim == 4
    t = torch.from_numpy(x.transpose(0, 3, 1, 2) if image else x)

    def loss(params, spectral):
        y, update = layer.apply({"params": params, "spectral": spectral}, x, mutable=["spectral"])
        return jnp.sum(jnp.sin(y)), (y, update["spectral"])

    step = jax.jit(jax.grad(loss, has_aux=True))

    spectral = variables["spectral"]
    for _ in range(4):
        y = theirs(t)
        theirs.zero_grad()
        y.sin().sum().backward()
        expected = y.detach().numpy()
        expected = expected.transpose(0, 2, 3, 1) if image else expected
        gradient, (ours, spectral) = step(variables["params"], spectral)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(spectral["u"], state._u.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            gradient["kernel"],
            in_our_layout(name, original.grad.numpy()),
            rtol=1e-4,
            atol=1e-4,
        )
    with torch.no_grad():
        expected = theirs.eval()(t).numpy()
    expected = expected.transpose(0, 2, 3, 1) if image else expected
    evaluated = apply(layer.clone(train=False), {**variables, "spectral": spectral}, x)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-4, atol=1e-5)
