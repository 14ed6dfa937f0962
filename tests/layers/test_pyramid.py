"""The Laplacian pyramid: closed forms of its filters, and that nothing is lost."""

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.transform

from gan_jax.layers import pyramid
from gan_jax.layers.resample import mean_pool


def _images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def test_upsample_is_three_quarters_of_the_nearest_pixel_and_a_quarter_of_the_next():
    row = np.array([0.0, 4.0, 8.0, 0.0], np.float32)
    doubled = np.array([0.0, 1.0, 3.0, 5.0, 7.0, 6.0, 2.0, 0.0], np.float32)
    across = pyramid.upsample(np.tile(row, (1, 3, 1))[..., None])
    np.testing.assert_array_equal(across[0, ..., 0], np.tile(doubled, (6, 1)))
    down = pyramid.upsample(np.tile(row[:, None], (1, 1, 3))[..., None])
    np.testing.assert_array_equal(down[0, ..., 0], np.tile(doubled[:, None], (1, 6)))


@pytest.mark.parametrize("shape", [(3, 5, 2, 1), (1, 1, 1, 1)])
def test_upsample_is_the_linear_interpolation_of_skimage(shape):
    x = _images(*shape)
    size = (2 * shape[1], 2 * shape[2])
    expected = [
        skimage.transform.resize(one, size, order=1, mode="edge", anti_aliasing=False) for one in x
    ]
    np.testing.assert_allclose(pyramid.upsample(x), expected, atol=1e-6)


def test_upsample_keeps_the_mean_and_so_residuals_have_none():
    x = _images(2, 8, 8, 3)
    up = np.asarray(pyramid.upsample(x))
    np.testing.assert_allclose(up.mean((1, 2)), x.mean((1, 2)), atol=1e-6)
    residual, _ = pyramid.split(x)
    assert np.abs(residual).max() > 0.5
    np.testing.assert_allclose(np.mean(residual, axis=(1, 2)), 0.0, atol=1e-6)


def test_split_is_exact_where_float32_is():
    # Whole numbers: all weights are sums of powers of two, so nothing is rounded.
    x = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    residual, coarse = pyramid.split(x)
    np.testing.assert_array_equal(residual + coarse, x)
    np.testing.assert_array_equal(coarse, pyramid.upsample(mean_pool(x)))


def test_dtype_is_kept():
    for part in pyramid.split(jnp.ones((1, 4, 4, 1), jnp.bfloat16)):
        assert part.dtype == jnp.bfloat16
