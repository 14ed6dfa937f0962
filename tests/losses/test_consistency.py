"""Consistency: closed form, gradients into both scores, dtype, shapes that would broadcast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_jax.losses.consistency import consistency

PLAIN = jnp.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]])
AUGMENTED = jnp.array([[1.0, 4.0], [1.0, -0.5], [0.0, 0.0]])


@pytest.mark.parametrize("function", [consistency, jax.jit(consistency)])
def test_squared_difference_is_averaged_over_patches(function):
    np.testing.assert_allclose(function(PLAIN[:, 0], AUGMENTED[:, 0]), [0.0, 16.0, 0.0])
    np.testing.assert_allclose(function(PLAIN, AUGMENTED), [2.0, 8.5, 0.0])
    np.testing.assert_allclose(function(AUGMENTED, PLAIN), function(PLAIN, AUGMENTED))
    np.testing.assert_allclose(function(PLAIN + 7.0, AUGMENTED + 7.0), [2.0, 8.5, 0.0])


def test_both_scores_are_pulled_together():
    gradients = jax.grad(lambda *scores: consistency(*scores).sum(), (0, 1))(
        PLAIN[:, 0], AUGMENTED[:, 0]
    )
    np.testing.assert_allclose(gradients[0], [0.0, -8.0, 0.0])
    np.testing.assert_allclose(gradients[1], [0.0, 8.0, 0.0])
    check_grads(consistency, (PLAIN, AUGMENTED), 2, atol=1e-2, rtol=1e-2, eps=1e-2)


def test_bfloat16_scores_are_compared_in_float32():
    plain, augmented = jnp.bfloat16([100.5]), jnp.bfloat16([1.0078125])
    value = consistency(plain, augmented)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, (100.5 - 1.0078125) ** 2, rtol=1e-6)


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match=r"plain scores .*\(3,\) and augmented scores \(3, 1\)"):
        consistency(PLAIN[:, 0], AUGMENTED[:, :1])
    with pytest.raises(ValueError, match="plain scores have dtype int32"):
        consistency(jnp.arange(3), AUGMENTED[:, 0])
    with pytest.raises(ValueError, match=r"plain scores have shape \(\)"):
        consistency(1.0, 2.0)
