"""Class likelihoods and ambiguity: closed forms and PyTorch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.losses import classification


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    loss = classification.cross_entropy(jnp.full((3, 8), 5.0), jnp.array([0, 3, 7]))
    np.testing.assert_allclose(loss, math.log(8), rtol=1e-6)


@pytest.mark.slow
def test_values_and_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="compared with PyTorch")
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5)).astype(np.float32) * 10
    labels = rng.integers(0, 5, 6)
    theirs = torch.tensor(logits, requires_grad=True)
    reference = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), reduction="none")
    reference.sum().backward()
    ours = classification.cross_entropy(logits, labels)
    np.testing.assert_allclose(ours, reference.detach(), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(classification.cross_entropy(x, labels)))(logits)
    np.testing.assert_allclose(gradient, theirs.grad, rtol=1e-5, atol=1e-6)


def test_large_logits_neither_overflow_nor_lose_their_gradient():
    logits, labels = jnp.array([[200.0, -200.0], [-200.0, 200.0]]), jnp.array([1, 1])
    loss = classification.cross_entropy(logits, labels)
    np.testing.assert_allclose(loss, [400.0, 0.0], atol=1e-4)
    gradient = jax.grad(lambda x: jnp.sum(classification.cross_entropy(x, labels)))(logits)
    np.testing.assert_allclose(gradient, [[1.0, -1.0], [0.0, 0.0]], atol=1e-6)


def test_bfloat16_logits_are_judged_in_float32():
    logits = jnp.ones((2, 3), jnp.bfloat16)
    loss = classification.cross_entropy(logits, jnp.array([0, 1]))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, math.log(3), rtol=1e-6)


def test_accuracy_counts_right_answers():
    logits = jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    np.testing.assert_array_equal(
        classification.accuracy(logits, jnp.array([1, 1, 1])), [1.0, 0.0, 1.0]
    )


def test_ambiguity_is_least_where_all_classes_are_equally_likely():
    least = math.log(5) - 4 * math.log(1 - 1 / 5)
    uniform, favoured = jnp.full((1, 5), 3.0), jnp.array([[0.1, 0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(classification.ambiguity(uniform), [least], rtol=1e-6)
    assert classification.ambiguity(favoured)[0] > least + 1e-4
    gradient = jax.grad(lambda x: jnp.sum(classification.ambiguity(x)))(uniform)
    np.testing.assert_allclose(gradient, np.zeros((1, 5)), atol=1e-6)


@pytest.mark.slow
def test_ambiguity_is_pytorchs_binary_cross_entropy_of_each_class():
    torch = pytest.importorskip("torch", reason="compared with PyTorch")
    logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32) * 3
    theirs = torch.tensor(logits, requires_grad=True)
    posterior = torch.softmax(theirs, -1)
    target = torch.full_like(posterior, 1 / 4)
    reference = torch.nn.functional.binary_cross_entropy(posterior, target, reduction="none")
    reference.sum().backward()
    np.testing.assert_allclose(
        classification.ambiguity(logits), reference.detach().sum(-1), rtol=1e-4
    )
    gradient = jax.grad(lambda x: jnp.sum(classification.ambiguity(x)))(logits)
    np.testing.assert_allclose(gradient, theirs.grad, rtol=1e-3, atol=1e-5)


def test_ambiguity_of_a_certain_class_is_finite_and_has_a_gradient():
    logits = jnp.array([[80.0, -20.0, 0.0]])
    # log p = (0, -100, -80), log(1 - p) = (-80, 0, 0).
    np.testing.assert_allclose(
        classification.ambiguity(logits), [(100 + 80) / 3 + 2 / 3 * 80], rtol=1e-6
    )
    gradient = jax.grad(lambda x: jnp.sum(classification.ambiguity(x)))(logits)
    np.testing.assert_allclose(gradient, [[4 / 3, -1 / 3, -1.0]], rtol=1e-5)
