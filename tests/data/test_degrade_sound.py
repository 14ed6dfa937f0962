"""Noise in sound: its level, its spectrum, its keys, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gan_jax.data import degrade
from gan_jax.errors import ConfigError

KEYS = jax.random.split(jax.random.key(3), 64)
CLEAN = 0.1 * jax.random.normal(jax.random.key(1), (64, 512, 2))


def ratios(noisy, clean=CLEAN):
    """Return the signal-to-noise ratio of each example, in dB."""
    noise = np.asarray(noisy, float) - np.asarray(clean, float)
    return 10 * np.log10(np.mean(np.asarray(clean) ** 2, (1, 2)) / np.mean(noise**2, (1, 2)))


def test_every_example_has_the_ratio_that_is_asked_for():
    made = degrade.make("noise", snr=(5.0, 5.0), clip=False)
    found = jax.jit(made)(KEYS, CLEAN)
    assert found.known is None
    np.testing.assert_allclose(ratios(found.input), 5.0, atol=1e-3)


def test_ratios_are_uniform_in_their_range():
    made = degrade.make("noise", snr=(-5.0, 15.0), clip=False)
    found = ratios(jax.jit(made)(KEYS, CLEAN).input)
    assert stats.kstest(found, stats.uniform(-5.0, 20.0).cdf).pvalue > 0.01


def test_noise_is_white_and_differs_by_channel_and_key():
    made = degrade.make("noise", clip=False)
    noise = np.asarray(jax.jit(made)(KEYS, CLEAN).input - CLEAN)
    noise = noise / noise.std(axis=(1, 2), keepdims=True)
    assert stats.kstest(noise.ravel()[::7], "norm").pvalue > 0.01
    power = np.abs(np.fft.rfft(noise, axis=1)[:, 1:-1] ** 2).mean(axis=(0, 2))
    low, high = power[:127].mean(), power[127:].mean()
    assert abs(low / high - 1.0) < 0.05
    between = np.corrcoef(np.concatenate([noise[0].T, noise[1].T]))
    assert np.abs(between - np.eye(4)).max() < 0.2


def test_an_example_depends_on_its_own_key_alone():
    made = jax.jit(degrade.make("noise"))
    whole = made(KEYS[:4], CLEAN[:4]).input
    np.testing.assert_allclose(made(KEYS[2:4], CLEAN[2:4]).input, whole[2:], atol=1e-6)


def test_silence_stays_silent_and_noise_is_clipped_as_in_a_file():
    made = jax.jit(degrade.make("noise", snr=(0.0, 0.0)))
    np.testing.assert_array_equal(made(KEYS, jnp.zeros_like(CLEAN)).input, 0.0)
    loud = made(KEYS, 9.0 * CLEAN).input
    assert float(loud.max()) == 1.0
    assert float(loud.min()) == -1.0


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match=r"degrade\.noise\.snr = \(9\.0, 1\.0\); accepted"):
        degrade.make("noise", snr=(9.0, 1.0))
    with pytest.raises(ConfigError, match=r"degrade\.noise\.clip = 1; accepted"):
        degrade.make("noise", clip=1)
    with pytest.raises(ValueError, match=r"clean audios.*accepted: float32 \[batch, samples, ch"):
        degrade.make("noise")(KEYS, CLEAN[..., None])
