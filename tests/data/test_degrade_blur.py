"""Blur against SciPy's convolutions, with its kernels in closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from gan_jax.data import degrade
from gan_jax.data.degrade import blur

motion_kernel = jax.jit(blur.motion_kernel, static_argnums=2)


def keys_of(batch, seed=0):
    return jax.random.split(jax.random.key(seed), batch)


def images_of(batch=2, height=20, width=27, channels=3):
    return jax.random.uniform(
        jax.random.key(1), (batch, height, width, channels), jnp.float32, -1.0, 1.0
    )


@pytest.mark.parametrize("sigma", [0.4, 2.5])
def test_gaussian_blur_is_scipys_with_mirrored_edges(sigma):
    clean = images_of()
    made = degrade.make("blur", sigma=(sigma, sigma))
    expected = ndimage.gaussian_filter(
        np.asarray(clean, np.float64),
        (0, sigma, sigma, 0),
        mode="mirror",
        radius=(0, made.radius, made.radius, 0),
    )
    np.testing.assert_allclose(jax.jit(made)(keys_of(2), clean).input, expected, atol=2e-6)


def test_kernels_one_after_the_other_as_in_scipy():
    rng = np.random.default_rng(0)
    kernels = [rng.uniform(size=(size, size)).astype(np.float32) for size in (3, 7)]
    image = np.asarray(images_of(1)[0])
    padded = np.pad(image.astype(np.float64), ((4, 4), (4, 4), (0, 0)), mode="reflect")
    for kernel in kernels:
        padded = ndimage.convolve(padded, kernel[:, :, None].astype(np.float64), mode="constant")
    found = jax.jit(blur.convolve)(image, kernels)
    np.testing.assert_allclose(found, padded[4:-4, 4:-4], atol=2e-5)


def test_a_gaussian_kernel_without_width_changes_nothing():
    np.testing.assert_array_equal(
        jax.jit(blur.gaussian_kernel, static_argnums=1)(jnp.float32(0.0), 2),
        np.pad([[1.0]], 2).astype(np.float32),
    )


@pytest.mark.parametrize("length", [0.0, 0.5, 7.3])
@pytest.mark.parametrize("angle", [0.0, math.pi / 4, 2.0])
def test_motion_spreads_a_point_evenly_along_a_line(length, angle):
    radius = max(math.ceil(length / 2), 1)
    kernel = np.asarray(motion_kernel(np.float32(length), np.float32(angle), radius))
    places = np.arange(-radius, radius + 1)
    # Many points by bilinear interpolation, in float64.
    expected = np.zeros_like(kernel, np.float64)
    for t in (np.arange(4000) + 0.5) / 4000 - 0.5:
        row, column = length * t * math.sin(angle), length * t * math.cos(angle)
        expected += np.outer(
            np.maximum(0, 1 - np.abs(places - row)), np.maximum(0, 1 - np.abs(places - column))
        )
    np.testing.assert_allclose(kernel, expected / 4000, atol=1.5e-3)
    np.testing.assert_allclose(kernel.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    if length == 0.0:
        np.testing.assert_allclose(kernel, np.pad([[1.0]], radius), atol=1e-7)


def test_a_level_line_of_three_pixels_in_closed_form():
    # Integrals over [-1.5, 1.5] of the tent about each pixel, divided by 3.
    row = np.array([0.125, 0.875, 1.0, 0.875, 0.125]) / 3.0
    kernel = np.asarray(motion_kernel(np.float32(3.0), np.float32(0.0), 2))
    np.testing.assert_allclose(kernel[2], row, atol=1e-3)
    np.testing.assert_array_equal(np.delete(kernel, 2, axis=0), 0.0)


def axes_of(batch, length):
    """Variances of what becomes of a point along both axes, and the angle of the longer."""
    point = jnp.full((batch, 33, 33, 1), -1.0, jnp.float32).at[:, 16, 16].set(1.0)
    made = degrade.make("blur", sigma=(0.0, 0.0), motion=(length, length))
    spread = (
        np.asarray(jax.jit(made)(keys_of(batch), point).input, np.float64)[..., 0] + 1.0
    ) / 2.0
    np.testing.assert_allclose(spread.sum((1, 2)), 1.0, rtol=1e-4)
    y, x = np.mgrid[-16:17, -16:17]
    xx, yy, xy = (np.sum(spread * p, (1, 2)) for p in (x * x, y * y, x * y))
    angles = np.mod(0.5 * np.arctan2(2 * xy, xx - yy), np.pi)
    total, difference = xx + yy, np.hypot(2 * xy, xx - yy)
    return (total + difference) / 2, (total - difference) / 2, angles


def test_motion_goes_in_all_directions_alike_and_as_far_as_it_should():
    longer, shorter, angles = axes_of(200, 12.0)
    assert stats.kstest(angles, stats.uniform(0.0, np.pi).cdf).pvalue > 0.01
    # A line's variance is a twelfth of its squared length; bilinear shares add up to a quarter.
    assert np.all((longer > 12.0) & (longer < 12.3))
    assert np.all(shorter < 0.26)


def test_sigma_and_length_of_each_image_are_drawn_from_their_ranges():
    point = jnp.full((100, 33, 33, 1), -1.0, jnp.float32).at[:, 16, 16].set(1.0)
    y, x = np.mgrid[-16:17, -16:17]

    def variances(**options):
        spread = (
            np.asarray(jax.jit(degrade.make("blur", **options))(keys_of(100), point).input) + 1
        ) / 2
        return np.sum(spread[..., 0] * (x * x + y * y), (1, 2))

    sigmas = np.sqrt(variances(sigma=(1.0, 3.0)) / 2)
    assert stats.kstest(sigmas, stats.uniform(1.0, 2.0).cdf).pvalue > 0.01
    lengths = np.sqrt(12.0 * (variances(sigma=(0.0, 0.0), motion=(4.0, 20.0)) - 1 / 3))
    assert stats.kstest(lengths, stats.uniform(4.0, 16.0).cdf).pvalue > 0.01


def test_nothing_asked_for_is_nothing_done():
    clean = images_of()
    made = degrade.make("blur", sigma=(0.0, 0.0))
    assert made.radius == 0
    np.testing.assert_array_equal(jax.jit(made)(keys_of(2), clean).input, clean)


def test_noise_comes_after_the_blur():
    clean = jnp.zeros((2, 64, 64, 3), jnp.float32)
    noisy = np.asarray(jax.jit(degrade.make("blur", noise=(10.0, 10.0)))(keys_of(2), clean).input)
    n = noisy.size
    assert abs(noisy.std() / (10.0 * 2 / 255) - 1.0) < 5 / np.sqrt(2 * n)
    assert abs(np.corrcoef(noisy[:, 1:].ravel(), noisy[:, :-1].ravel())[0, 1]) < 5 / np.sqrt(n)
