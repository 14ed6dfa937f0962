"""The autoencoder's terms: closed forms, torch.distributions, gradients, edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_jax.losses.variational import gaussian_kl, gaussian_reconstruction, reparameterize


def gaussian(batch=6, size=5, seed=0):
    """Return means and logarithms of variances, from e^-4 to e^4."""
    keys = jax.random.split(jax.random.key(seed), 2)
    mean = 2.0 * jax.random.normal(keys[0], (batch, size))
    return mean, jax.random.uniform(keys[1], (batch, size), minval=-4.0, maxval=4.0)


def test_the_standard_normal_has_no_divergence_from_itself():
    zero = jnp.zeros((3, 4))
    np.testing.assert_array_equal(gaussian_kl(zero, zero), 0.0)
    gradients = jax.grad(lambda m, lv: gaussian_kl(m, lv).sum(), (0, 1))(zero, zero)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("function", [gaussian_kl, jax.jit(gaussian_kl)])
def test_divergence_in_closed_form_is_a_sum_over_entries(function):
    # A shift by m costs m^2 / 2; the variance v costs (v - log v - 1) / 2.
    mean = jnp.array([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    log_variance = jnp.log(jnp.array([[1.0, 1.0, 1.0], [4.0, 0.25, 1.0]]))
    value = function(mean, log_variance)
    assert (value.dtype, value.shape) == (jnp.float32, (2,))
    expected = [(1 + 9) / 2, (4 - np.log(4) - 1 + 0.25 + np.log(4) - 1) / 2]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.slow
def test_divergence_equals_pytorchs():
    torch = pytest.importorskip("torch")
    mean, log_variance = gaussian()
    tensors = [torch.tensor(np.asarray(x), requires_grad=True) for x in (mean, log_variance)]
    posterior = torch.distributions.Normal(tensors[0], (0.5 * tensors[1]).exp())
    theirs = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    theirs = theirs.sum(1)
    np.testing.assert_allclose(gaussian_kl(mean, log_variance), theirs.detach(), rtol=1e-5)
    gradients = torch.autograd.grad(theirs.sum(), tensors)
    ours = jax.grad(lambda m, lv: gaussian_kl(m, lv).sum(), (0, 1))(mean, log_variance)
    for one, other in zip(ours, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_divergence_is_never_negative_and_keeps_its_digits_near_the_prior():
    log_variance = jnp.array([[1e-7], [-1e-5], [1e-3], [-1e-2]])
    value = gaussian_kl(jnp.zeros((4, 1)), log_variance)
    assert np.all(value >= 0.0)
    exact = np.asarray(log_variance, np.float64)[:, 0]
    exact = 0.5 * (np.expm1(exact) - exact)
    np.testing.assert_allclose(value[2:], exact[2:], rtol=1e-3)


def test_divergence_is_finite_for_a_posterior_that_is_nearly_a_point():
    value, gradient = jax.value_and_grad(lambda lv: gaussian_kl(jnp.zeros((1, 1)), lv).sum())(
        jnp.full((1, 1), -200.0)
    )
    np.testing.assert_allclose(value, 99.5)
    np.testing.assert_allclose(gradient, -0.5)


def test_latents_are_those_of_pytorchs_normal():
    torch = pytest.importorskip("torch")
    mean, log_variance = gaussian()
    noise = jax.random.normal(jax.random.key(3), mean.shape)
    z = reparameterize(mean, log_variance, noise)
    tensors = [torch.tensor(np.asarray(x)) for x in (mean, log_variance, noise)]
    scale = (0.5 * tensors[1]).exp()
    np.testing.assert_allclose(z, tensors[0] + scale * tensors[2], rtol=1e-5, atol=1e-6)
    # The noise is where its cumulative distribution says that the latent is in the posterior.
    cumulative = torch.distributions.Normal(tensors[0], scale).cdf(torch.tensor(np.asarray(z)))
    standard = torch.distributions.Normal(0.0, 1.0).cdf(tensors[2])
    np.testing.assert_allclose(cumulative, standard, atol=1e-5)


def test_latents_have_the_posteriors_moments():
    mean, log_variance = jnp.array([1.5, -2.0]), jnp.log(jnp.array([0.25, 4.0]))
    noise = jax.random.normal(jax.random.key(0), (100_000, 2))
    shape = noise.shape
    z = reparameterize(jnp.broadcast_to(mean, shape), jnp.broadcast_to(log_variance, shape), noise)
    # Standard errors are 0.006 at most.
    np.testing.assert_allclose(z.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(z.std(0), [0.5, 2.0], rtol=0.02)


@pytest.mark.parametrize("function", [gaussian_reconstruction, jax.jit(gaussian_reconstruction)])
def test_reconstruction_is_half_the_squared_distance(function):
    made = jnp.arange(12.0).reshape(2, 3, 2)
    value = function(made, made.at[1, 0, 0].add(4.0).at[1, 2, 1].add(-3.0))
    assert (value.dtype, value.shape) == (jnp.float32, (2,))
    np.testing.assert_array_equal(value, [0.0, 12.5])
    # A layer's shape does not matter, its number of entries does.
    flat = made.reshape(2, 6)
    np.testing.assert_array_equal(function(flat, flat + 1.0), [3.0, 3.0])
    np.testing.assert_array_equal(function(jnp.tile(flat, 3), jnp.tile(flat, 3) + 1.0), [9.0, 9.0])


def test_reconstruction_is_pytorchs_log_likelihood_but_for_the_constant():
    torch = pytest.importorskip("torch")
    keys = jax.random.split(jax.random.key(0), 2)
    made, target = (jax.random.normal(key, (4, 3, 3, 2)) for key in keys)
    normal = torch.distributions.Normal(torch.tensor(np.asarray(made)), 1.0)
    theirs = -normal.log_prob(torch.tensor(np.asarray(target))).sum((1, 2, 3))
    constant = 18 * 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(gaussian_reconstruction(made, target) + constant, theirs, rtol=1e-5)


def test_gradients_of_latents_are_those_of_differences():
    mean, log_variance = gaussian(2, 3)
    noise = jax.random.normal(jax.random.key(1), mean.shape)
    values = (mean, 0.5 * log_variance, noise)
    check_grads(jax.jit(reparameterize), values, order=2, atol=2e-2, rtol=2e-2, eps=1e-2)


def test_bfloat16_is_added_up_in_float32():
    # 1,000 ones: a bfloat16 sum would stop at 256.
    ones, zeros = jnp.ones((1, 1000), jnp.bfloat16), jnp.zeros((1, 1000), jnp.bfloat16)
    for value in (gaussian_kl(ones, zeros), gaussian_reconstruction(ones, zeros)):
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, 500.0)
    assert reparameterize(ones, zeros, ones).dtype == jnp.float32
