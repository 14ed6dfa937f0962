"""Instance noise: the level's line, the noise's distribution, one draw per image, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.augment import instance_noise
from gan_jax.augment.instance_noise import InstanceNoise
from gan_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.2), (1, 0.198), (25, 0.15), (99, 0.002), (100, 0.0), (5000, 0.0)]
)
def test_level_falls_on_a_line_and_stays_at_zero(step, expected):
    noise = InstanceNoise(0.2, 100)
    for level in (noise.level(step), jax.jit(noise.level)(step)):
        assert (level.dtype, level.shape) == (jnp.float32, ())
        np.testing.assert_allclose(level, expected, rtol=1e-5, atol=1e-9)


def test_no_decay_is_a_constant():
    assert jax.jit(InstanceNoise(0.1).level)(10**6) == np.float32(0.1)


def test_steps_that_float32_cannot_count_are_told_apart():
    # Of 2^24 + 3 steps one is left; a float32 step would be rounded to 2^24 + 4.
    level = InstanceNoise(1.0, 2**24 + 3).level(jnp.int32(2**24 + 2))
    np.testing.assert_allclose(level, 1 / (2**24 + 3), rtol=1e-6)


def test_noise_is_normal_of_the_level():
    count = 2000
    images = jnp.full((count, 4, 4, 1), 0.5)
    keys = jax.random.split(jax.random.key(0), count)
    noise = np.asarray(instance_noise.add_noise(keys, images, jnp.float32(0.3))) - 0.5
    total = noise.size
    # Five standard errors each.
    assert abs(noise.mean()) < 5 * 0.3 / np.sqrt(total)
    np.testing.assert_allclose(noise.std(), 0.3, rtol=5 / np.sqrt(2 * total))
    np.testing.assert_allclose((noise**4).mean() / 0.3**4, 3.0, atol=5 * np.sqrt(96 / total))
    # One draw per entry and per image.
    flat = noise.reshape(count, -1) / 0.3
    np.testing.assert_allclose(flat.T @ flat / count, np.eye(16), atol=5 * np.sqrt(2 / count))
    assert np.abs(np.corrcoef(flat[:50]) - np.eye(50)).max() < 0.99


def test_an_image_is_drawn_from_its_own_key():
    keys = jax.random.split(jax.random.key(1), 4)
    images = jnp.zeros((4, 3))  # toy points, too
    whole = instance_noise.add_noise(keys, images, 1.0)
    alone = jax.jit(instance_noise.add_noise)(keys[2:3], images[2:3], 1.0)
    np.testing.assert_allclose(alone[0], whole[2], rtol=1e-6)


def test_no_level_changes_nothing_and_the_gradient_is_the_identity():
    keys = jax.random.split(jax.random.key(1), 2)
    images = jax.random.normal(jax.random.key(2), (2, 3, 3, 1))
    np.testing.assert_array_equal(instance_noise.add_noise(keys, images, 0.0), images)
    gradient = jax.grad(lambda x: jnp.sum(instance_noise.add_noise(keys, x, 0.5)))(images)
    np.testing.assert_array_equal(gradient, 1.0)


def test_dtype_is_kept_and_the_sum_is_float32():
    keys = jax.random.split(jax.random.key(1), 2)
    images = jnp.full((2, 50), 0.7, jnp.bfloat16)
    noisy = instance_noise.add_noise(keys, images, jnp.float32(0.1))
    exact = instance_noise.add_noise(keys, images.astype(jnp.float32), jnp.float32(0.1))
    assert noisy.dtype == jnp.bfloat16
    np.testing.assert_array_equal(noisy, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((-0.1, 0), r"augment\.noise\.deviation = -0\.1; accepted: a finite number >= 0"),
        ((float("nan"), 0), r"augment\.noise\.deviation = nan"),
        ((float("inf"), 0), r"augment\.noise\.deviation = inf"),
        ((0.1, -1), r"augment\.noise\.steps = -1; accepted: 0 or more"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        InstanceNoise(*fields)


def test_bytes_and_missing_keys_are_refused():
    keys = jax.random.split(jax.random.key(1), 2)
    with pytest.raises(ValueError, match="dtype uint8; accepted: a floating dtype"):
        instance_noise.add_noise(keys, jnp.zeros((2, 3), jnp.uint8), 0.1)
    with pytest.raises(ValueError, match=r"one key per image, shape \(3,\); got \(2,\)"):
        instance_noise.add_noise(keys, jnp.zeros((3, 3)), 0.1)
