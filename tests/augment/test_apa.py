"""APA: which real data generated ones stand for, how often, and the probability's bound."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.augment.apa import APA
from gan_jax.errors import ConfigError
from tests.configs import variants

SHAPES = [(2,), (4, 4, 1), (16, 3)]


def memory(apa, strength):
    return apa.init()._replace(strength=jnp.float32(strength))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_real_data_are_replaced_whole_with_the_probability_of_the_strength(shape, strength):
    keys = jax.random.split(jax.random.key(0), 4000)
    real, fake = jnp.ones((4000, *shape)), -jnp.ones((4000, *shape))
    apa = APA(limit=1.0)
    made = np.asarray(jax.jit(apa.replaced)(keys, real, fake, memory(apa, strength)))
    means = made.reshape(4000, -1).mean(1)
    assert set(np.unique(means)) <= {-1.0, 1.0}
    np.testing.assert_allclose((means < 0).mean(), strength, atol=0.03)


def test_each_is_replaced_by_its_own():
    keys = jax.random.split(jax.random.key(1), 50)
    real = jnp.arange(50.0)[:, None]
    apa = APA(limit=1.0)
    made = apa.replaced(keys, real, real + 0.5, memory(apa, 0.5))[:, 0]
    chex.assert_trees_all_equal(jnp.floor(made), real[:, 0])
    assert 0 < np.sum(np.asarray(made) % 1 > 0) < 50


def test_the_probability_follows_the_scores_up_to_its_limit():
    apa = APA(limit=0.25, ramp=100.0, interval=1)
    state, strengths = apa.init(), []
    for scores in [np.ones(10)] * 4 + [-np.ones(10)] * 4:
        state = apa.update(state, jnp.asarray(scores), jnp.zeros(10), None)
        strengths.append(float(state.strength))
    np.testing.assert_allclose(strengths, [0.1, 0.2, 0.25, 0.25, 0.15, 0.05, 0, 0], atol=1e-6)
    assert set(apa.metrics(state)) == {"apa_strength", "apa_sign"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit": 1.5}, r"augment\.apa\.limit = 1\.5; accepted: 0 to 1"),
        ({"limit": 0.5, "strength": 0.6}, r"strength = 0\.6; accepted: 0 to 0\.5, the limit"),
        ({"limit": 1.0, "ramp": 0.0}, r"augment\.apa\.ramp = 0\.0; accepted: above 0"),
    ],
)
def test_fields_that_cannot_work(fields, message):
    with pytest.raises(ConfigError, match=message):
        APA(**fields)


def test_any_kind_is_accepted_but_only_losses_with_a_sign():
    assert not APA().enabled
    APA(limit=1.0).check(variants.load("gan", "digits"), "audio")
    with pytest.raises(ConfigError, match=r"augment\.apa\.target = 0\.6 needs a loss"):
        APA(limit=1.0).check(variants.load("wgan_gp", "digits"), "image")
