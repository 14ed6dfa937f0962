"""Noise: moments, distribution, independence, clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gan_jax.data import degrade

BYTE = 2.0 / 255.0


def keys_of(batch, seed=0):
    return jax.random.split(jax.random.key(seed), batch)


def constant(intensity, batch=2, size=64, channels=3):
    return jnp.full((batch, size, size, channels), 2.0 * intensity - 1.0, jnp.float32)


def test_gaussian_noise_is_normal_with_the_sigma_in_bytes():
    made = degrade.make("gaussian", sigma=(25.0, 25.0), clip=False)
    noisy = jax.jit(made)(keys_of(4), constant(0.3, 4)).input
    noise = (np.asarray(noisy, np.float64) - (2 * 0.3 - 1)) / BYTE
    n = noise.size
    # Five standard errors of each estimator.
    assert abs(noise.mean()) < 5 * 25.0 / np.sqrt(n)
    assert abs(noise.std() / 25.0 - 1.0) < 5 / np.sqrt(2 * n)
    assert abs(stats.kurtosis(noise.ravel())) < 5 * np.sqrt(24 / n)
    for one, other in (
        (noise[..., 0], noise[..., 1]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[0], noise[1]),
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_the_sigma_of_each_image_is_drawn_from_its_range():
    made = degrade.make("gaussian", sigma=(5.0, 45.0), clip=False)
    noisy = np.asarray(jax.jit(made)(keys_of(100), constant(0.5, 100, 32)).input)
    sigmas = noisy.std((1, 2, 3)) / BYTE
    assert stats.kstest(sigmas, stats.uniform(5.0, 40.0).cdf).pvalue > 0.01


def test_noise_is_clipped_as_in_a_file_by_default():
    clean, keys = constant(1.0), keys_of(2)
    whole = np.asarray(jax.jit(degrade.make("gaussian", clip=False))(keys, clean).input)
    assert whole.max() > 1.05
    clipped = np.asarray(jax.jit(degrade.make("gaussian"))(keys, clean).input)
    np.testing.assert_array_equal(clipped, np.clip(whole, -1.0, 1.0))


def test_no_sigma_is_no_noise():
    clean = constant(0.7)
    np.testing.assert_array_equal(
        jax.jit(degrade.make("gaussian", sigma=(0.0, 0.0)))(keys_of(2), clean).input, clean
    )


@pytest.mark.parametrize(("intensity", "peak"), [(0.1, 20.0), (0.6, 200.0)])
def test_shot_noise_counts_photons(intensity, peak):
    made = degrade.make("poisson", peak=(peak, peak))
    noisy = np.asarray(jax.jit(made)(keys_of(2), constant(intensity, size=48)).input, np.float64)
    counts = (noisy + 1.0) / 2.0 * peak
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    mean, n = peak * intensity, counts.size
    assert abs(counts.mean() - mean) < 5 * np.sqrt(mean / n)
    # The variance of a Poisson variable's sample variance is about (2 mean^2 + mean) / n.
    assert abs(counts.var() - mean) < 5 * np.sqrt((2 * mean**2 + mean) / n)
    law = stats.poisson(mean)
    edges = law.ppf(np.linspace(0.1, 0.9, 9))
    expected = np.diff(law.cdf(edges)) * n
    found = np.histogram(np.round(counts), edges + 0.5)[0]
    keep = expected > 0
    assert np.sum((found[keep] - expected[keep]) ** 2 / expected[keep]) < 40


def test_black_has_no_photons_and_white_is_clipped():
    made = degrade.make("poisson", peak=(10.0, 10.0))
    assert set(np.unique(jax.jit(made)(keys_of(2), constant(0.0)).input)) == {-1.0}
    white = np.asarray(jax.jit(made)(keys_of(2), constant(1.0)).input)
    assert white.max() == 1.0
    assert (white == 1.0).mean() == pytest.approx(stats.poisson(10.0).sf(9), abs=0.02)


def test_many_photons_leave_the_image_as_it_is():
    clean = jax.random.uniform(jax.random.key(5), (2, 8, 8, 3), jnp.float32, -1.0, 1.0)
    noisy = jax.jit(degrade.make("poisson", peak=(1e6, 1e6)))(keys_of(2), clean).input
    np.testing.assert_allclose(noisy, clean, atol=0.01)
