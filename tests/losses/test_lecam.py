"""LeCam: closed form, which anchor belongs to whom, gradients, moving averages, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from gan_jax.errors import ConfigError
from gan_jax.losses import lecam
from tests.devices import sharded

REAL = jnp.array([3.0, -1.0, 0.0])
FAKE = jnp.array([-2.0, 1.0, 0.5])


def test_scores_are_compared_with_the_other_kinds_anchor():
    value = jax.jit(lecam.lecam)(REAL, FAKE, jnp.float32(1.0), jnp.float32(-2.0))
    # (D(x) + 2)^2 + (D(G(z)) - 1)^2; with the anchors exchanged the first were 4 + 0.
    np.testing.assert_allclose(value, [25.0 + 9.0, 1.0 + 0.0, 4.0 + 0.25])
    assert value.dtype == jnp.float32
    patches = lecam.lecam(jnp.stack([REAL, REAL + 1.0], 1), jnp.stack([FAKE, FAKE], 1), 1.0, -2.0)
    np.testing.assert_allclose(patches, [30.5 + 9.0, 2.5, 6.5 + 0.25])


def test_it_is_least_where_scores_equal_the_other_anchor():
    value = lecam.lecam(jnp.full(3, -2.0), jnp.full(3, 1.0), 1.0, -2.0)
    np.testing.assert_array_equal(value, 0.0)


def test_gradients_flow_into_scores_and_not_into_anchors():
    gradients = jax.grad(lambda *a: lecam.lecam(*a).sum(), (0, 1, 2, 3))(REAL, FAKE, 1.0, -2.0)
    np.testing.assert_allclose(gradients[0], 2.0 * (REAL + 2.0))
    np.testing.assert_allclose(gradients[1], 2.0 * (FAKE - 1.0))
    assert gradients[2:] == (0.0, 0.0)
    check_grads(
        lambda real, fake: lecam.lecam(real, fake, 1.0, -2.0),
        (REAL, FAKE),
        2,
        atol=1e-2,
        rtol=1e-2,
        eps=1e-2,
    )


def test_constant_scores_pull_the_anchors_geometrically():
    anchors = lecam.init()
    assert [(a.dtype, a.shape, float(a)) for a in anchors] == [(jnp.float32, (), 0.0)] * 2
    update = jax.jit(functools.partial(lecam.update_anchors, decay=0.9))
    for _ in range(10):
        anchors = update(anchors, jnp.full((2, 3), 2.0), jnp.full((2, 3), -1.0, jnp.float32))
    expected = 1.0 - 0.9**10
    np.testing.assert_allclose(anchors.real, 2.0 * expected, rtol=1e-5)
    np.testing.assert_allclose(anchors.fake, -expected, rtol=1e-5)


def test_anchors_are_averages_of_what_was_scored():
    anchors = lecam.Anchors(jnp.float32(1.0), jnp.float32(-1.0))
    new = lecam.update_anchors(anchors, REAL.astype(jnp.bfloat16), FAKE, 0.75)
    np.testing.assert_allclose(new.real, 0.75 * 1.0 + 0.25 * 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(new.fake, 0.75 * -1.0 + 0.25 * -0.5 / 3, rtol=1e-6)
    at_once = lecam.update_anchors(anchors, REAL, FAKE, 0.0)
    np.testing.assert_allclose([at_once.real, at_once.fake], [2 / 3, -0.5 / 3], rtol=1e-6)


def test_no_gradient_flows_through_an_update():
    def total(real, anchor):
        anchors = lecam.Anchors(anchor, jnp.float32(0.0))
        return sum(lecam.update_anchors(anchors, real, FAKE, 0.9))

    to_scores, to_anchor = jax.grad(total, (0, 1))(REAL, jnp.float32(1.0))
    np.testing.assert_array_equal(to_scores, 0.0)
    assert to_anchor == 0.0


def test_eight_devices_are_one():
    real, fake = jax.random.normal(jax.random.key(0), (2, 16, 3))
    real = real * jnp.arange(16.0)[:, None]  # the shards' means differ
    anchors = lecam.Anchors(jnp.float32(0.4), jnp.float32(-0.3))
    weight = jnp.float32(1.5)

    def compute(weight, real, fake, axis_name):
        def loss(weight):
            new = lecam.update_anchors(anchors, weight * real, weight * fake, 0.9, axis_name)
            return jnp.mean(lecam.lecam(weight * real, weight * fake, *new)), new

        result = jax.value_and_grad(loss, has_aux=True)(weight)
        if axis_name is None:
            return result
        (value, new), gradient = result
        # The anchors are global already: no average here.
        return (jax.lax.pmean(value, axis_name), new), jax.lax.pmean(gradient, axis_name)

    split = sharded(functools.partial(compute, axis_name="data"), (P(), P("data"), P("data")))
    many, one = split(weight, real, fake), compute(weight, real, fake, None)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), many, one)
    assert abs(float(one[1])) > 1.0


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), None])
def test_bad_decay_names_the_field(decay):
    with pytest.raises(ConfigError, match=r"terms\.lecam\.decay = .*accepted: .*\[0, 1\)"):
        lecam.update_anchors(lecam.init(), REAL, FAKE, decay)


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match=r"real scores .*\(3,\) and fake scores \(3, 1\)"):
        lecam.lecam(REAL, FAKE[:, None], 0.0, 0.0)
    with pytest.raises(ValueError, match=r"real scores .*\(3,\) and fake scores \(2,\)"):
        lecam.update_anchors(lecam.init(), REAL, FAKE[:2], 0.9)
    with pytest.raises(ValueError, match=r"fake anchor has shape \(3,\); accepted: a scalar"):
        lecam.lecam(REAL, FAKE, 0.0, FAKE)
