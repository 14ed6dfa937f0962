"""The moving average: half-life in images, ramp-up, and start."""

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.training.ema import EMA


def test_half_of_the_start_is_left_after_one_half_life_whatever_the_batch():
    for images in (10, 50, 100):
        ema = EMA(half_life=1000.0)
        average = jnp.float32(1.0)
        for step in range(1000 // images):
            average = ema.update(average, jnp.float32(0.0), ema.decay(jnp.int32(step), images))
        np.testing.assert_allclose(float(average), 0.5, rtol=1e-5)


def test_ramp_limits_the_half_life_to_a_share_of_the_images_so_far():
    ema = EMA(half_life=1000.0, ramp_up=0.1)
    for step, half_life in ((0, 10.0), (4, 50.0), (99, 1000.0), (500, 1000.0)):
        np.testing.assert_allclose(
            float(ema.decay(jnp.int32(step), 100)), 0.5 ** (100 / half_life), rtol=1e-5
        )


def test_before_its_start_the_average_is_the_raw_value():
    ema = EMA(half_life=1000.0, start=3)
    assert float(ema.decay(jnp.int32(2), 10)) == 0.0
    assert float(ema.decay(jnp.int32(3), 10)) > 0.9
    moved = EMA().update({"a": jnp.float32(7.0)}, {"a": jnp.float32(3.1)}, jnp.float32(0.0))
    assert float(moved["a"]) == np.float32(3.1)


def test_counters_are_taken_over():
    moved = EMA().update(jnp.int32(1), jnp.int32(5), jnp.float32(0.9))
    assert int(moved) == 5
    assert moved.dtype == jnp.int32


@pytest.mark.parametrize("bad", [{"half_life": -1.0}, {"ramp_up": 0.0}, {"start": -1}])
def test_bad_settings_are_named(bad):
    (field,) = bad
    with pytest.raises(errors.ConfigError, match=f"ema.{field} = "):
        EMA(**bad)
