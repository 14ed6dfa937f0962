"""Top-k: who is kept, ties, the mean of the weights, the schedule, gradients, devices, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.losses import top_k
from tests.devices import sharded

SCORES = jnp.array([0.3, -1.0, 2.0, 0.3, 5.0, 0.3])


def kept_by(weights):
    return np.flatnonzero(np.asarray(weights)).tolist()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [4]), (2, [2, 4]), (3, [0, 2, 4]), (4, [0, 2, 3, 4]), (5, [0, 2, 3, 4, 5])],
)
def test_the_highest_scores_are_kept_and_ties_go_to_the_first(count, expected):
    for given in (count, jnp.int32(count)):
        weights = jax.jit(top_k.top_k_weights)(SCORES, given)
        assert kept_by(weights) == expected
        np.testing.assert_allclose(weights[4], 6 / count)
        np.testing.assert_allclose(np.mean(weights), 1.0, rtol=1e-6)
        assert weights.dtype == jnp.float32


@pytest.mark.parametrize(("count", "kept"), [(0, 1), (-3, 1), (6, 6), (99, 6)])
def test_at_least_one_and_at_most_all_are_kept(count, kept):
    weights = top_k.top_k_weights(SCORES, count)
    assert len(kept_by(weights)) == kept
    np.testing.assert_allclose(np.mean(weights), 1.0, rtol=1e-6)


def test_all_equal_scores_keep_exactly_count():
    weights = top_k.top_k_weights(jnp.zeros(8).at[::2].set(-0.0), 3)
    assert kept_by(weights) == [0, 1, 2]


def test_infinite_scores_are_ranked_and_nan_is_last():
    scores = jnp.array([jnp.nan, -jnp.inf, 1.0, jnp.inf])
    assert kept_by(top_k.top_k_weights(scores, 1)) == [3]
    assert kept_by(top_k.top_k_weights(scores, 3)) == [1, 2, 3]


def test_patches_are_averaged():
    patches = jnp.array([[9.0, -9.0], [1.0, 1.0], [3.0, -2.0]])
    assert kept_by(top_k.top_k_weights(patches, 1)) == [1]
    assert top_k.top_k_weights(patches[..., None], 2).shape == (3,)


def test_the_weighted_mean_is_the_mean_over_those_kept_and_learns_from_them_only():
    def loss(scores):
        return jnp.mean(top_k.top_k_weights(scores, 2) * -scores)

    value, gradient = jax.value_and_grad(loss)(SCORES)
    np.testing.assert_allclose(value, -3.5, rtol=1e-6)
    np.testing.assert_allclose(gradient, [0, 0, -0.5, 0, -0.5, 0], rtol=1e-6)


def test_no_gradient_flows_into_the_weights():
    gradient = jax.grad(lambda scores: jnp.sum(top_k.top_k_weights(scores, 2) ** 2))(SCORES)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5, 11, 16])
def test_eight_devices_are_one(count):
    # Rounded, so that scores tie across devices.
    scores = jnp.round(2.0 * jax.random.normal(jax.random.key(0), (16, 3)).mean(1))
    assert len(np.unique(scores)) < 8
    weight = jnp.float32(1.5)

    def compute(weight, scores, count, axis_name):
        def loss(weight):
            fakes = jnp.tanh(weight * scores)
            weights = top_k.top_k_weights(fakes, count, axis_name=axis_name)
            return jnp.mean(weights * -fakes), weights

        (value, weights), gradient = jax.value_and_grad(loss, has_aux=True)(weight)
        if axis_name is not None:
            value, gradient = jax.lax.pmean((value, gradient), axis_name)
        return value, gradient, weights

    split = sharded(
        functools.partial(compute, axis_name="data"), (P(), P("data"), P()), (P(), P(), P("data"))
    )
    many = split(weight, scores, jnp.int32(count))
    one = compute(weight, scores, count, None)
    np.testing.assert_array_equal(many[2], one[2])
    np.testing.assert_allclose(many[:2], one[:2], rtol=1e-5, atol=1e-7)
    assert len(kept_by(one[2])) == count


@pytest.mark.parametrize(
    ("step", "expected"),
    # 64 * 0.99^n: 63.36, 62.73, 62.10 ...; 0.99^69 = 0.4998 is below the lowest share.
    [(0, 64), (99, 64), (100, 63), (200, 63), (300, 62), (6700, 33), (6900, 32), (10**6, 32)],
)
def test_fewer_are_kept_as_training_goes_on(step, expected):
    schedule = functools.partial(top_k.kept, batch_size=64, decay=0.99, decay_steps=100, share=0.5)
    for count in (schedule(step), jax.jit(schedule)(jnp.int32(step))):
        assert (count.dtype, count.shape) == (jnp.int32, ())
        assert count == expected


def test_all_are_kept_when_it_is_off_and_one_always():
    assert top_k.kept(10**6, 48, 0.99, 1, 1.0) == 48
    assert top_k.kept(10**6, 48, 1.0, 1, 0.5) == 48
    assert top_k.kept(10**6, 4, 0.5, 1, 0.01) == 1
    # 0.7 is no binary fraction, but 7 of 10 are meant.
    assert top_k.kept(10**6, 10, 0.9, 1, 0.7) == 7


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("top_k", (0.99, 10, 0.0)),
        ("top_k", (0.99, 10, 1.5)),
        ("top_k", (0.99, 10, None)),
        ("top_k_decay", (0.0, 10, 0.5)),
        ("top_k_decay", (float("nan"), 10, 0.5)),
        ("top_k_steps", (0.99, 0, 0.5)),
        ("top_k_steps", (0.99, 2.0, 0.5)),
    ],
)
def test_bad_settings_name_the_field(field, settings):
    with pytest.raises(ConfigError, match=rf"fakes\.{field} = .*; accepted: "):
        top_k.kept(0, 8, *settings)


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="fake scores have dtype int32"):
        top_k.top_k_weights(jnp.arange(3), 1)
    with pytest.raises(ValueError, match=r"fake scores have shape \(\)"):
        top_k.top_k_weights(1.0, 1)
