"""Modulated convolution: kernels of each example, unit variance, twice the resolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan_jax.layers.modulated import ModulatedConv, modulated_convolve
from gan_jax.layers.resample import upsample_binomial

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
RNG = np.random.default_rng(0)
X, W, STYLES = (
    RNG.normal(size=shape).astype(np.float32) for shape in ((3, 6, 4, 5), (3, 3, 5, 2), (3, 5))
)


def convolved(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=DIMENSIONS)


def explicit(x, demodulate):
    """Convolve each image with a kernel of its own."""
    kernels = W * STYLES[:, None, None, :, None]
    if demodulate:
        kernels = kernels / np.sqrt(np.square(kernels).sum((1, 2, 3), keepdims=True) + 1e-8)
    return jnp.concatenate([convolved(x[i : i + 1], w) for i, w in enumerate(kernels)])


@pytest.mark.parametrize("demodulate", [True, False])
def test_each_image_is_convolved_with_its_own_kernel(demodulate):
    found = modulated_convolve(X, W, STYLES, demodulate=demodulate)
    np.testing.assert_allclose(found, explicit(X, demodulate), rtol=1e-4, atol=1e-5)
    found = modulated_convolve(X, W, STYLES, demodulate=demodulate, upsample=True)
    assert found.shape == (3, 12, 8, 2)
    expected = explicit(upsample_binomial(X), demodulate)
    # At the border, zeros are outside the smaller image in one case and the larger in the other.
    inside = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-4, atol=1e-5)


def test_a_fresh_layer_keeps_the_variance_whatever_the_styles():
    x = np.random.default_rng(1).normal(size=(64, 8, 8, 32)).astype(np.float32)
    vectors = np.random.default_rng(2).normal(size=(64, 8)).astype(np.float32)
    layer = ModulatedConv(16)
    variables = layer.init(jax.random.key(0), x, vectors)
    np.testing.assert_array_equal(variables["params"]["affine"]["bias"], 1.0)
    styles = 1 + vectors @ variables["params"]["affine"]["kernel"] / np.sqrt(8)
    assert np.std(styles) > 0.8
    inside = np.asarray(layer.apply(variables, x, vectors))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inside.var((0, 1, 2)), 1.0, atol=0.1)
    np.testing.assert_allclose(inside.var((1, 2, 3)).mean(), 1.0, atol=0.05)
    # Without demodulation a style of 2 doubles the output.
    linear = ModulatedConv(16, demodulate=False)
    scaled = {"kernel": jnp.zeros((8, 32)), "bias": jnp.full(32, 2.0)}
    params = {**variables["params"], "affine": scaled}
    doubled = np.asarray(linear.apply({"params": params}, x, vectors))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(doubled.var(), 4.0, atol=0.3)


def test_the_length_of_a_style_is_of_no_effect():
    found = modulated_convolve(X, W, 100 * STYLES)
    np.testing.assert_allclose(found, modulated_convolve(X, W, STYLES), rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_the_lengths_in_float32():
    found = modulated_convolve(jnp.asarray(X, jnp.bfloat16), W, STYLES)
    assert found.dtype == jnp.bfloat16
    error = np.asarray(found, np.float32) - explicit(X, True)
    assert np.sqrt(np.mean(np.square(error))) < 0.02
