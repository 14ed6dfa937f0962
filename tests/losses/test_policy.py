"""Policy gradients: returns by hand, and a gradient that is exact in the mean over all actions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.losses import policy


def test_returns_are_discounted_sums_of_what_follows():
    rewards = jnp.array([[1.0, -2.0, 4.0], [0.0, 0.5, 0.0]])
    expected = [[1 - 2 / 2 + 4 / 4, -2 + 4 / 2, 4], [0.25, 0.5, 0.0]]
    np.testing.assert_allclose(policy.returns(rewards, 0.5), expected)
    np.testing.assert_allclose(policy.returns(rewards, 0.0), rewards)
    np.testing.assert_allclose(policy.returns(rewards, 1.0)[0], [3.0, 2.0, 4.0])


def test_rewards_are_those_of_scratchgan():
    scores = np.array([[-100.0, -1.0, 0.0, 2.0, 100.0]], np.float32)
    expected = 2.0 / (1.0 + np.exp(-scores.astype(np.float64))) - 1.0
    np.testing.assert_allclose(policy.rewards(scores), expected, rtol=1e-6, atol=1e-7)


def test_the_mean_gradient_is_that_of_the_expected_return():
    """For every baseline that does not depend on the token; only its variance differs."""
    texts = np.array(list(itertools.product(range(3), repeat=2)))
    rewards = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    # The first reward depends on the first token alone.
    rewards[:, 0] = rewards[texts[:, 0] * 3, 0]
    logits = np.array([[0.3, -1.0, 0.5], [0.1, 0.8, -0.4]], np.float32)

    def logs(logits):
        return jnp.take_along_axis(jax.nn.log_softmax(logits)[None], texts[..., None], axis=2)[
            ..., 0
        ]

    def expected(logits):
        return jnp.sum(jnp.exp(logs(logits).sum(axis=1)) * rewards.sum(axis=1))

    probability = np.exp(logs(logits).sum(axis=1))
    returns = policy.returns(rewards, 1.0)
    for values in ((0.0, 0.0), (0.7, 0.2)):

        def surrogate(logits, values=values):
            baseline = np.tile(np.array(values, np.float32), (9, 1))
            return jnp.sum(probability * policy.reinforce(logs(logits), returns, baseline))

        found = jax.grad(surrogate)(logits)
        np.testing.assert_allclose(found, -jax.grad(expected)(logits), rtol=1e-4, atol=1e-5)


def test_no_gradient_flows_into_returns_and_baseline():
    logs, values = jnp.full((2, 3), -1.0), jnp.ones((2, 3))
    slopes = jax.grad(lambda r, b: jnp.sum(policy.reinforce(logs, r, b)), argnums=(0, 1))
    for slope in slopes(values, 0.5 * values):
        np.testing.assert_array_equal(slope, 0.0)
    assert policy.reinforce(logs, values, 0.5 * values).tolist() == pytest.approx([1.5, 1.5])
