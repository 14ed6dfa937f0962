"""Path lengths: linear generators in closed form, their running mean, and where they are 0."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.losses.path_length import moved_mean, path_lengths

RNG = np.random.default_rng(0)
# Images of 2x3 pixels and 2 channels, of 4 layers with styles of 5 numbers.
MATRIX = RNG.normal(size=(4, 5, 2, 3, 2)).astype(np.float32)
STYLES = RNG.normal(size=(3, 4, 5)).astype(np.float32)
NOISE = RNG.normal(size=(3, 2, 3, 2)).astype(np.float32)


def linear(scale):
    return lambda styles: scale * jnp.einsum("bls,lshwc->bhwc", styles, MATRIX)


def test_of_a_linear_generator_they_are_those_of_the_transposed_matrix():
    projected = np.einsum("lshwc,bhwc->bls", MATRIX, NOISE) / np.sqrt(2 * 3)
    expected = np.sqrt(np.square(projected).sum(2).mean(1))
    found = jax.jit(lambda: path_lengths(linear(1.0), STYLES, NOISE))()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # They are proportional to the generator, and so is their gradient constant.
    found, slope = jax.value_and_grad(lambda k: path_lengths(linear(k), STYLES, NOISE).sum())(3.0)
    np.testing.assert_allclose(found, 3 * expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(slope, expected.sum(), rtol=1e-5)


def test_an_image_that_does_not_depend_on_styles_has_a_gradient_of_zero():
    found, slope = jax.value_and_grad(lambda k: path_lengths(linear(k), STYLES, NOISE).sum())(0.0)
    assert (found, slope) == (0.0, 0.0)


def test_the_mean_moves_by_a_share_and_has_no_gradient():
    lengths = jnp.array([1.0, 5.0])
    np.testing.assert_allclose(moved_mean(jnp.float32(2.0), lengths, 0.75), 2.25)
    slope = jax.grad(lambda lengths: moved_mean(jnp.float32(2.0), lengths, 0.75))(lengths)
    np.testing.assert_array_equal(slope, 0.0)
