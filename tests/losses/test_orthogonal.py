"""Orthogonal regularisation: by hand, its gradient in closed form, and what costs nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.losses.orthogonal import off_diagonal


def test_products_of_different_filters_by_hand():
    # The filters are the columns: (1, 3) and (2, 4), of the product 14, which counts twice.
    assert off_diagonal([[1.0, 2.0], [3.0, 4.0]]) == 2 * 14**2
    # Three filters of one input each: products 2, 3 and 6.
    assert off_diagonal([[1.0, 2.0, 3.0]]) == 2 * (4 + 9 + 36)
    # The lengths of orthogonal filters are free.
    assert off_diagonal(np.diag([1.0, 2.0, 3.0])) == 0.0


@pytest.mark.parametrize("shape", [(3, 2, 2, 5), (2, 7)])
def test_the_gradient_is_four_times_the_products_of_others(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    w = kernel.reshape(-1, shape[-1]).T
    expected = 4 * (w @ w.T * (1 - np.eye(len(w)))) @ w
    value, gradient = jax.value_and_grad(off_diagonal)(kernel)
    np.testing.assert_allclose(value, np.sum(np.square(w @ w.T * (1 - np.eye(len(w))))), rtol=1e-5)
    np.testing.assert_allclose(gradient, expected.T.reshape(shape), rtol=1e-4, atol=1e-3)


def test_a_bias_is_refused():
    with pytest.raises(ValueError, match=r"kernel of shape \(3,\); accepted: \[\.\.\., in, out\]"):
        off_diagonal(jnp.zeros(3))
