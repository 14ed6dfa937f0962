"""The Laplacian pyramid: closed forms of its filters, and that nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.transform

from gan_jax.layers import pyramid


def _images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def test_upsample_is_three_quarters_of_the_nearest_pixel_and_a_quarter_of_the_next():
    row = np.array([0.0, 4.0, 8.0, 0.0], np.float32)
    doubled = np.array([0.0, 1.0, 3.0, 5.0, 7.0, 6.0, 2.0, 0.0], np.float32)
    across = pyramid.upsample(np.tile(row, (1, 3, 1))[..., None])
    np.testing.assert_array_equal(across[0, ..., 0], np.tile(doubled, (6, 1)))
    down = pyramid.upsample(np.tile(row[:, None], (1, 1, 3))[..., None])
    np.testing.assert_array_equal(down[0, ..., 0], np.tile(doubled[:, None], (1, 6)))


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (3, 5, 2, 1), (1, 1, 1, 1)])
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


def test_downsample_is_the_mean_of_squares():
    x = _images(2, 4, 6, 3)
    corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(pyramid.downsample(x), np.mean(corners, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((2, 4, 4, 3), 0), ((1, 16, 8, 1), 1), ((2, 24, 40, 2), 3)],
)
def test_a_pyramid_gives_its_images_back(shape, levels):
    x = _images(*shape)
    parts = jax.jit(pyramid.laplacian_pyramid, static_argnums=1)(x, levels)
    sizes = [(shape[1] >> k, shape[2] >> k) for k in range(levels, -1, -1)]
    first, *residuals = (part.shape[1:3] for part in parts)
    # The low-pass images, then the residuals of twice their size and so on.
    assert [first, *residuals] == [sizes[0], *sizes[1:]]
    np.testing.assert_allclose(jax.jit(pyramid.reconstruct)(parts), x, atol=1e-6)


def test_the_round_trip_is_exact_where_float32_is():
    # Whole numbers: all weights are sums of powers of two, so nothing is rounded.
    x = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    parts = pyramid.laplacian_pyramid(x, 2)
    np.testing.assert_array_equal(pyramid.reconstruct(parts), x)


def test_the_parts_are_those_of_the_definition():
    x = _images(1, 8, 8, 2)
    coarsest, middle, finest = pyramid.laplacian_pyramid(x, 2)
    half = pyramid.downsample(x)
    np.testing.assert_array_equal(coarsest, pyramid.downsample(half))
    np.testing.assert_array_equal(middle, half - pyramid.upsample(coarsest))
    np.testing.assert_array_equal(finest, x - pyramid.upsample(half))


def test_a_flat_image_is_all_low_pass():
    coarsest, *residuals = pyramid.laplacian_pyramid(jnp.full((1, 8, 8, 1), 0.25), 2)
    np.testing.assert_array_equal(coarsest, 0.25)
    for residual in residuals:
        np.testing.assert_array_equal(residual, 0.0)


def test_split_is_the_finest_level():
    x = _images(2, 8, 4, 3)
    residual, coarse = pyramid.split(x)
    low, finest = pyramid.laplacian_pyramid(x, 1)
    np.testing.assert_array_equal(residual, finest)
    np.testing.assert_array_equal(coarse, pyramid.upsample(low))
    np.testing.assert_allclose(residual + coarse, x, atol=1e-6)


def test_channels_do_not_mix():
    x = _images(1, 8, 8, 3)
    apart = [np.concatenate(pyramid.laplacian_pyramid(x[..., i : i + 1], 1)[1]) for i in range(3)]
    together = np.concatenate(pyramid.laplacian_pyramid(x, 1)[1])
    np.testing.assert_allclose(together, np.concatenate(apart, axis=-1), atol=1e-6)


def test_dtype_is_kept():
    x = jnp.ones((1, 4, 4, 1), jnp.bfloat16)
    for part in (*pyramid.laplacian_pyramid(x, 1), *pyramid.split(x), pyramid.upsample(x)):
        assert part.dtype == jnp.bfloat16


@pytest.mark.parametrize("size", [6, 10])
def test_sizes_that_cannot_be_halved_so_often_are_refused(size):
    with pytest.raises(ValueError, match=f"{size // 2}x8.*must be even"):
        pyramid.laplacian_pyramid(jnp.ones((1, size, 16, 1)), 2)
