import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.layers.dropout import check_rate, dropout, layer_keys


def _keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def _x(*shape):
    return np.random.default_rng(0).uniform(1.0, 2.0, size=shape).astype(np.float32)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_numbers_are_dropped_at_the_rate_and_the_others_divided_by_what_is_kept(rate):
    x = _x(4, 50, 50, 10)
    y = np.asarray(dropout(x, _keys(4), rate))
    kept = y != 0
    np.testing.assert_allclose(y[kept], (x / (1.0 - rate))[kept], rtol=1e-6)
    # Five standard errors of a share of 100,000 numbers.
    np.testing.assert_allclose(np.mean(~kept), rate, atol=5 * np.sqrt(rate * (1 - rate) / 1e5))
    assert 0.9 < np.mean(y) / np.mean(x) < 1.1


def test_without_keys_or_rate_nothing_is_dropped():
    x = _x(3, 4, 4, 2)
    np.testing.assert_array_equal(dropout(x, None, 0.5), x)
    np.testing.assert_array_equal(dropout(x, _keys(3), 0.0), x)


def test_an_example_depends_on_its_own_key_alone():
    x, keys = _x(4, 6, 6, 3), _keys(4)
    whole = np.asarray(dropout(x, keys, 0.5))
    np.testing.assert_array_equal(dropout(x[2:], keys[2:], 0.5), whole[2:])
    changed = jnp.concatenate([keys[:1], _keys(3, seed=1)])
    other = np.asarray(dropout(x, changed, 0.5))
    np.testing.assert_array_equal(other[0], whole[0])
    assert all(np.any(other[i] != whole[i]) for i in (1, 2, 3))


def test_examples_of_one_batch_have_different_masks():
    y = np.asarray(dropout(np.ones((2, 8, 8, 4), np.float32), _keys(2), 0.5))
    assert 0.3 < np.mean(y[0] != y[1]) < 0.7


def test_layers_have_keys_of_their_own():
    keys = _keys(3)
    first, second = layer_keys(keys, 0), layer_keys(keys, 1)
    drawn = {int(jax.random.bits(key)) for group in (keys, first, second) for key in group}
    assert len(drawn) == 9
    np.testing.assert_array_equal(
        jax.random.key_data(layer_keys(keys[1:], 1)), jax.random.key_data(second[1:])
    )
    assert layer_keys(None, 0) is None


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_is_kept(dtype):
    assert dropout(jnp.ones((2, 3), dtype), _keys(2), 0.5).dtype == dtype


def test_gradient_passes_through_what_stays():
    x, keys = _x(2, 5), _keys(2)
    slopes = jax.grad(lambda x: jnp.sum(dropout(x, keys, 0.75)))(x)
    expected = np.where(np.asarray(dropout(x, keys, 0.75)) != 0, 4.0, 0.0)
    np.testing.assert_array_equal(slopes, expected)
    assert 0 < np.count_nonzero(expected) < 10


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1, True, "0.5", None, float("nan")])
def test_a_rate_that_cannot_work_is_refused(rate):
    with pytest.raises(ConfigError, match=r"generator\.dropout = .* accepted: from 0 to below 1"):
        check_rate("generator.dropout", rate)


def test_there_is_a_key_per_example():
    with pytest.raises(ValueError, match=r"keys of shape \(2,\).*accepted: \(3,\)"):
        dropout(_x(3, 4), _keys(2), 0.5)
