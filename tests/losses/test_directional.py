"""The penalty along a random direction: closed forms, and against forward mode."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from gan_jax.errors import ConfigError
from gan_jax.losses import penalties

SHAPE = (2, 3, 2)
SIZE = 12
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=SHAPE).astype(np.float32)
IMAGES = RNG.normal(size=(5, *SHAPE)).astype(np.float32)
DIRECTIONS = RNG.normal(size=(5, *SHAPE)).astype(np.float32)


def scaled(directions):
    """Return directions of the length sqrt(d)."""
    norms = np.linalg.norm(directions.reshape(len(directions), -1), axis=1)
    return directions * (np.sqrt(SIZE) / norms)[:, None, None, None]


def linear(images):
    return jnp.tensordot(images, WEIGHTS, 3) + 7.0


class DirectionalTest(chex.TestCase):
    """`penalties.directional`, compiled and not."""

    def directional(self, critic, images, directions, step):
        return self.variant(
            lambda images, directions: penalties.directional(critic, images, directions, step=step)
        )(images, directions)

    @chex.variants(with_jit=True, without_jit=True)
    def test_the_mean_over_an_orthonormal_basis_is_exactly_r1(self):
        basis = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0].astype(np.float32)
        image = np.broadcast_to(IMAGES[0], (SIZE, *SHAPE))
        values = self.directional(linear, image, basis.reshape(SIZE, *SHAPE), 0.5)
        expected = penalties.r1(linear, image)
        np.testing.assert_allclose(values.mean(), expected[0], rtol=1e-4)
        np.testing.assert_allclose(expected[0], 0.5 * np.sum(WEIGHTS**2), rtol=1e-5)

    @chex.variants(with_jit=True)
    @parameterized.parameters(0.01, 0.5)
    def test_a_quadratic_critic_has_its_exact_derivative(self, step):
        def critic(images):
            return jnp.sum(WEIGHTS * images**2, (1, 2, 3)) / 2

        slope = np.sum(WEIGHTS * IMAGES * scaled(DIRECTIONS), (1, 2, 3))
        values = self.directional(critic, IMAGES, DIRECTIONS, step)
        np.testing.assert_allclose(values, slope**2 / 2, rtol=2e-3, atol=1e-4)

    @chex.variants(with_jit=True)
    @parameterized.parameters(0.1, 1.0)
    def test_the_error_of_a_cubic_critic_is_of_second_order(self, step):
        def critic(images):
            return jnp.sum(images**3, (1, 2, 3)) / 3

        v = scaled(DIRECTIONS)
        slope = np.sum(IMAGES**2 * v + step**2 * v**3 / 3, (1, 2, 3))
        values = self.directional(critic, IMAGES, DIRECTIONS, step)
        chex.assert_shape(values, (5,))
        np.testing.assert_allclose(values, slope**2 / 2, rtol=1e-3, atol=1e-4)

    @chex.variants(with_jit=True)
    def test_neither_the_length_of_a_direction_nor_its_sign_matters(self):
        values = self.directional(linear, IMAGES, DIRECTIONS, 0.1)
        others = self.directional(linear, IMAGES, -9.0 * DIRECTIONS, 0.1)
        np.testing.assert_allclose(values, others, rtol=1e-3)
        assert np.ptp(values) > 0.1


def test_the_parameters_gradient_is_that_of_forward_mode():
    kernel = RNG.normal(size=(SIZE, 4)).astype(np.float32)

    def score(kernel, images):
        return jnp.tanh(0.3 * images.reshape(5, -1) @ kernel).sum(1)

    def exact(kernel):
        _, slope = jax.jvp(lambda x: score(kernel, x), (IMAGES,), (scaled(DIRECTIONS),))
        return jnp.mean(slope**2 / 2)

    def estimate(kernel):
        critic = lambda images: score(kernel, images)  # noqa: E731
        return jnp.mean(penalties.directional(critic, IMAGES, DIRECTIONS, step=0.01))

    value, gradient = jax.jit(jax.value_and_grad(estimate))(kernel)
    expected, wanted = jax.jit(jax.value_and_grad(exact))(kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-2, atol=2e-3 * np.abs(wanted).max())


def test_draws_estimate_each_penalty_at_its_own_images():
    def critic(images):
        return jnp.sum(images**2, (1, 2, 3)) / 2  # the gradient is the image

    count = 4000
    # Their gradients are parallel, so that one direction for both would show in the deviation.
    real, fake = (factor * np.broadcast_to(IMAGES[0], (count, *SHAPE)) for factor in (1.0, 1.5))
    r1, r2 = penalties.r1(critic, real[:1])[0], penalties.r2(critic, fake[:1])[0]
    keys = jax.random.split(jax.random.key(0), count)
    values = {}
    for name, expected in (("r1", r1), ("r2", r2), ("r1_r2", r1 + r2)):
        exact, estimate = penalties.make(name), penalties.make(name, step=0.1)
        np.testing.assert_allclose(exact(critic, real[:1], fake[:1], ()), [expected], rtol=1e-5)
        draws = jax.jit(jax.vmap(lambda key, draw=estimate.draw: draw(key, SHAPE)))(keys)
        chex.assert_shape(draws, (count, 2 if name == "r1_r2" else 1, *SHAPE))
        values[name] = np.asarray(estimate(critic, real, fake, draws))
        # The standard deviation of a value is below sqrt(2) times the mean.
        error = np.sqrt(2.0 / count) * expected
        np.testing.assert_allclose(values[name].mean(), expected, atol=4 * error)
    assert values["r1"].std() > values["r1"].mean()
    # The directions at real images and at fakes are independent.
    spread = np.hypot(values["r1"].std(), values["r2"].std())
    np.testing.assert_allclose(values["r1_r2"].std(), spread, rtol=0.1)


def test_mistakes_are_refused():
    for step in (0.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"penalty\.r2\.step = .*; accepted: a"):
            penalties.make("r2", step=step)
    with pytest.raises(ValueError, match=r"and directions .*; accepted: equal shapes"):
        penalties.directional(linear, IMAGES, DIRECTIONS[:1], step=0.1)
