import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import (
    blur_binomial,
    downsample_binomial,
    mean_pool,
    pixel_shuffle,
    upsample_binomial,
    upsample_nearest,
)

RESAMPLINGS = (upsample_nearest, mean_pool, upsample_binomial, downsample_binomial)


def _images(*shape, dtype=np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (1, 2, 6, 1), (3, 8, 4, 5)])
def test_upsample_nearest_repeats_every_pixel(shape):
    x = _images(*shape)
    np.testing.assert_array_equal(upsample_nearest(x), x.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (1, 2, 6, 1), (3, 8, 4, 5)])
def test_mean_pool_is_the_mean_of_four_neighbours(shape):
    x = _images(*shape)
    corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(mean_pool(x), np.mean(corners, axis=0), atol=1e-6)


def test_mean_pool_undoes_upsample_nearest():
    x = _images(2, 4, 6, 3)
    np.testing.assert_allclose(mean_pool(upsample_nearest(x)), x, atol=1e-6)


def test_each_is_the_others_adjoint_up_to_the_factor_four():
    fine, coarse = _images(2, 8, 4, 3), _images(2, 4, 2, 3)
    (back,) = jax.vjp(mean_pool, fine)[1](coarse)
    np.testing.assert_allclose(back, upsample_nearest(coarse) / 4, atol=1e-6)


def _filtered(x, stride=1, spacing=1, pads=(1, 1), gain=1.0):
    """By XLA: zeros between the pixels, then the filter 1, 3, 3, 1 along both axes."""
    line = gain * np.array([1, 3, 3, 1], np.float32) / 8
    kernel = np.broadcast_to(np.outer(line, line)[..., None, None], (4, 4, 1, x.shape[-1]))
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (pads, pads),
        lhs_dilation=(spacing, spacing),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def test_binomial_resampling_is_a_filter_of_1_3_3_1():
    x = _images(2, 4, 6, 3)
    np.testing.assert_allclose(downsample_binomial(x), _filtered(x, stride=2), atol=1e-6)
    expected = _filtered(x, spacing=2, pads=(2, 2), gain=2.0)
    np.testing.assert_allclose(upsample_binomial(x), expected, atol=1e-6)


def test_blur_is_the_same_filter_and_downsampling_every_second_pixel_of_it():
    x = _images(2, 4, 6, 3)
    for pad in (0, 1, 2):
        expected = _filtered(x, pads=(pad, pad))
        np.testing.assert_allclose(blur_binomial(x, pad), expected, atol=1e-6)
    blurred = blur_binomial(x, 2)
    assert blurred.shape == (2, 5, 7, 3)
    np.testing.assert_allclose(blurred[:, 1::2, 1::2], downsample_binomial(x), atol=1e-6)


def test_binomial_resampling_is_its_own_adjoint_up_to_the_factor_four():
    fine, coarse = _images(2, 8, 4, 3), _images(2, 4, 2, 3)
    (back,) = jax.vjp(downsample_binomial, fine)[1](coarse)
    np.testing.assert_allclose(back, upsample_binomial(coarse) / 4, atol=1e-6)


@pytest.mark.parametrize("resample", RESAMPLINGS)
def test_commutes_with_a_1x1_convolution(resample):
    x = jnp.asarray(_images(2, 4, 4, 3))
    # With a bias, what is zero outside the image is not what the convolution makes of it.
    biased = resample in (upsample_nearest, mean_pool)
    conv = Conv(5, (1, 1), use_bias=biased, bias_init=jax.nn.initializers.normal())
    variables = conv.init(jax.random.key(0), x)
    after = conv.apply(variables, resample(x))
    before = resample(conv.apply(variables, x))
    np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("resample", RESAMPLINGS)
def test_dtype_is_kept(resample):
    assert resample(jnp.ones((1, 2, 2, 1), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(1, 3, 4, 1), (1, 4, 3, 1)])
def test_odd_sizes_are_refused_with_their_size(shape):
    with pytest.raises(ValueError, match=f"{shape[1]}x{shape[2]}.*must be even"):
        mean_pool(jnp.ones(shape))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_pixel_shuffle_equals_pytorch(factor):
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    x = _images(2, 3, 5, 2 * factor**2)
    shuffled = torch.nn.PixelShuffle(factor)(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(pixel_shuffle(x, factor), shuffled.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_puts_each_channel_at_its_pixel(factor):
    """Naively: pixel (factor * y + i, factor * x + j) of channel c."""
    x = _images(1, 2, 3, 2 * factor**2)
    y = np.asarray(pixel_shuffle(x, factor))
    assert y.shape == (1, 2 * factor, 3 * factor, 2)
    for row, column, channel in np.ndindex(y.shape[1:]):
        (up, i), (left, j) = divmod(row, factor), divmod(column, factor)
        source = (channel * factor + i) * factor + j
        assert y[0, row, column, channel] == x[0, up, left, source]


def test_pixel_shuffle_of_repeated_channels_is_upsampling():
    x = _images(2, 3, 4, 5)
    repeated = np.repeat(x, 4, axis=-1)
    np.testing.assert_array_equal(pixel_shuffle(repeated, 2), upsample_nearest(x))


@pytest.mark.parametrize(("channels", "factor"), [(6, 2), (4, 3), (4, 0), (4, -2)])
def test_pixel_shuffle_refuses_channels_that_make_no_squares(channels, factor):
    with pytest.raises(ValueError, match=f"{channels} channels into squares of {factor}x{factor}"):
        pixel_shuffle(jnp.ones((1, 2, 2, channels)), factor)
