"""PSNR, SSIM, MS-SSIM: parity with scikit-image and with a float64 reference; edges; gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import similarity

PAPER = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def ms_ssim(*pair, **options):
    """Two scales, which small images have."""
    return similarity.ms_ssim(*pair, weights=(0.3, 0.5), **options)


FUNCTIONS = (similarity.psnr, similarity.ssim, ms_ssim)


def patches(n=2, height=67, width=90, channels=3, seed=0):
    """Flat patches with edges between them, in uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, -(-height // 16), -(-width // 16), channels))
    return coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width].astype(np.uint8)


def noisy(images, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, images.shape)
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def black_and_white():
    """Far from the mean everywhere, and flat but for the last level: E[x^2] - E[x]^2 at its worst.

    In float32, that formula is wrong by 2e-5 and more in the mean SSIM of this pair.
    """
    images = np.zeros((1, 96, 96, 1), np.uint8)
    images[:, :, 48:] = 255
    flips = np.random.default_rng(0).integers(0, 2, images.shape)
    return images, np.abs(images.astype(int) - flips).astype(np.uint8)


PAIRS = {
    "noise of 2": lambda: (patches(), noisy(patches(), 2.0)),
    "noise of 30": lambda: (patches(), noisy(patches(), 30.0)),
    "unrelated": lambda: (patches(), patches(seed=5)),
    "black and white": black_and_white,
    "flat": lambda: (np.full((1, 40, 40, 1), 230, np.uint8), np.full((1, 40, 40, 1), 25, np.uint8)),
    "several blocks": lambda: (patches(1, 150, 200, 1), noisy(patches(1, 150, 200, 1), 9.0)),
    "one window": lambda: (patches(3, 11, 11), noisy(patches(3, 11, 11), 20.0)),
}


def reference_ssim(x, y, **options):
    options = {"channel_axis": -1, "data_range": 255.0, **options}
    pairs = zip(x.astype(np.float64), y.astype(np.float64), strict=True)
    return np.array([structural_similarity(a, b, **options) for a, b in pairs])


@pytest.mark.parametrize("pair", PAIRS)
def test_ssim_is_scikit_images(pair):
    x, y = PAIRS[pair]()
    got = similarity.ssim(x, y)
    assert got.shape == x.shape[:1]
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, reference_ssim(x, y, **PAPER), rtol=0, atol=2e-6)
    uniform = similarity.ssim(x, y, window="uniform")
    np.testing.assert_allclose(uniform, reference_ssim(x, y), rtol=0, atol=2e-6)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != "flat"])
def test_psnr_is_scikit_images(pair):
    x, y = PAIRS[pair]()
    want = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y, strict=True)]
    got = similarity.psnr(x, y)
    assert got.shape == x.shape[:1]
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_psnr_of_a_known_error():
    x = np.full((1, 8, 8, 1), 0.25, np.float32)
    # Off by a tenth of the range, everywhere: 20 dB.
    np.testing.assert_allclose(similarity.psnr(x, x + 0.2, data_range=2.0), [20.0], rtol=1e-6)


def test_identical_images():
    x = patches(2, 60, 50)
    np.testing.assert_array_equal(similarity.psnr(x, x), [np.inf, np.inf])
    for function in (similarity.ssim, ms_ssim):
        np.testing.assert_allclose(function(x, x), [1.0, 1.0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_floats_of_another_range_say_the_same(function):
    x = patches(2, 60, 50)
    y = noisy(x, 20.0)
    want = function(x, y)
    scaled = [images.astype(np.float32) / 127.5 for images in (x, y)]
    np.testing.assert_allclose(function(*scaled, data_range=2.0), want, rtol=2e-6)
    if function is similarity.psnr:
        half = [images.astype(jnp.bfloat16) for images in (x, y)]  # its 8 bits hold uint8
        np.testing.assert_allclose(function(*half, data_range=255.0), want, rtol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_image_counts_alone_and_either_way_round(function):
    x = patches(2, 60, 50)
    y = noisy(x, 25.0)
    want = function(x, y)
    assert len(set(np.asarray(want).tolist())) == 2
    alone = jnp.concatenate([function(x[i : i + 1], y[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(alone, want, rtol=1e-6)
    np.testing.assert_allclose(function(y, x), want, rtol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_border_is_left_out(function):
    x = patches(2, 68, 58)
    y = noisy(x, 10.0)
    want = function(x[:, 4:-4, 4:-4], y[:, 4:-4, 4:-4])
    y[:, :4] = 255 - x[:, :4]
    y[:, :, -4:] = 255 - x[:, :, -4:]
    np.testing.assert_allclose(function(x, y, border=4), want, rtol=1e-6)
    assert np.all(np.abs(np.asarray(function(x, y)) - np.asarray(want)) > 1e-3)


# MS-SSIM.


def reference_ms_ssim(x, y, weights):
    """One pair [h, w, c] in float64, by SciPy's filters and the paper's formulas."""

    def mean(z):
        return ndimage.gaussian_filter(z, 1.5, truncate=3.5)[5:-5, 5:-5]

    values = []
    for a, b in zip(np.moveaxis(x / 255.0, -1, 0), np.moveaxis(y / 255.0, -1, 0), strict=True):
        value = 1.0
        for scale, weight in enumerate(weights):
            ma, mb = mean(a), mean(b)
            structure = (2 * (mean(a * b) - ma * mb) + 0.03**2) / (
                mean(a * a) - ma**2 + mean(b * b) - mb**2 + 0.03**2
            )
            if scale == len(weights) - 1:
                structure *= (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
            value *= max(structure.mean(), 0.0) ** weight
            # The mean of a pixel and its right and lower neighbours, at even places.
            a, b = (
                ndimage.uniform_filter(z, 2, origin=-1)[: len(z) // 2 * 2 : 2][
                    :, : z.shape[1] // 2 * 2 : 2
                ]
                for z in (a, b)
            )
        values.append(value)
    return np.mean(values)


@pytest.mark.parametrize("sigma", [3.0, 40.0])
def test_ms_ssim_is_a_float64_reference(sigma):
    x = patches(2, 203, 190)
    y = noisy(x, sigma)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    want = [reference_ms_ssim(a, b, weights) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(similarity.ms_ssim(x, y), want, rtol=0, atol=2e-6)


def test_ms_ssim_with_other_weights():
    x = patches(1, 60, 50)
    y = noisy(x, 15.0)
    want = reference_ms_ssim(x[0], y[0], (0.3, 0.5))
    np.testing.assert_allclose(ms_ssim(x, y), [want], atol=2e-6)
    one = similarity.ms_ssim(x, y, weights=[1.0])
    np.testing.assert_allclose(one, similarity.ssim(x, y), rtol=1e-6)


def test_psnr_of_an_image_and_a_constant_like_it():
    # Folded constants are divided in another way than what is computed: one last digit apart.
    x = patches(1, 24, 24).astype(np.float32)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda z: similarity.psnr(z, x, data_range=255.0).sum())
    )(x)
    assert float(value) == np.inf
    np.testing.assert_array_equal(gradient, np.zeros_like(x))


def test_ms_ssim_of_a_negative_is_zero_with_a_finite_gradient():
    x = noisy(np.full((1, 24, 24, 1), 128, np.uint8), 40.0)
    x, y = x.astype(np.float32), 255.0 - x.astype(np.float32)

    def total(x):
        return ms_ssim(x, y, data_range=255.0).sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(x)
    assert float(value) == 0.0
    assert np.isfinite(gradient).all()


# Gradients.


def directional(function, x, direction, eps):
    return (float(function(x + eps * direction)) - float(function(x - eps * direction))) / (2 * eps)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_gradient_of_ssim_is_the_slope(window):
    # The backward pass is written by hand.
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(0.2, 0.8, (1, 20, 24, 2)).astype(np.float32) for _ in range(2))

    def both(pair):
        return similarity.ssim(pair[0], pair[1], data_range=1.0, window=window).sum()

    pair = np.stack([x, y])
    both = jax.jit(both)
    gradient = np.asarray(jax.jit(jax.grad(both))(pair))
    assert np.abs(gradient).min(axis=(1, 2, 3, 4)).max() > 0.0
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=pair.shape).astype(np.float32)
        slope = directional(both, pair, direction, 1e-3)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-2)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradient_at_identical_images_is_finite(function):
    gradient_of = jax.jit(jax.grad(lambda z, x: function(z, x, data_range=255.0).sum()))
    patched = patches(1, 24, 24, 1).astype(np.float32)
    for x in (patched, np.zeros_like(patched)):
        gradient = gradient_of(x, x)
        # The maximum is where the images are equal.
        np.testing.assert_allclose(gradient, np.zeros_like(x), atol=1e-6)


# Luminance.


def test_luminance_is_scikit_images():
    x = patches(3, 16, 48)
    want = np.stack([rgb2ycbcr(image)[..., :1] for image in x])
    got = similarity.to_luminance(x)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
    scaled = similarity.to_luminance(x.astype(np.float32) / 255.0, data_range=1.0)
    np.testing.assert_allclose(scaled, want, rtol=0, atol=1e-4)
    ends = np.stack([np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)])
    np.testing.assert_allclose(similarity.to_luminance(ends).ravel(), [16.0, 235.0], rtol=1e-6)


# Errors.


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_cannot_be_compared_is_refused(function):
    x = patches(1, 40, 40)
    floats = x.astype(np.float32)
    with pytest.raises(MetricError, match="equal shapes and dtypes"):
        function(x, x[:, :-1])
    with pytest.raises(MetricError, match="equal shapes and dtypes"):
        function(x, floats, data_range=255.0)
    with pytest.raises(MetricError, match="data_range = None"):
        function(floats, floats)
    for data_range in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MetricError, match="data_range = "):
            function(floats, floats, data_range=data_range)
    with pytest.raises(MetricError, match="dtype int32"):
        function(x.astype(np.int32), x.astype(np.int32), data_range=255.0)
    with pytest.raises(MetricError, match=r"accepted: \[n, height, width, channels\]"):
        function(x[0], x[0])
    for border in (-1, 1.0, True):
        with pytest.raises(MetricError, match="border = "):
            function(x, x, border=border)
    with pytest.raises(MetricError, match="within a border of 20; accepted: at least"):
        function(x, x, border=20)


def test_images_smaller_than_the_window_are_refused():
    x = patches(1, 10, 40)
    with pytest.raises(MetricError, match=r"10x40 pixels; accepted: at least 11x11"):
        similarity.ssim(x, x)
    assert similarity.ssim(x, x, window="uniform").shape == (1,)
    x = patches(1, 175, 300)
    with pytest.raises(MetricError, match=r"at least 176x176 for 5 scales; .* fewer `weights`"):
        similarity.ms_ssim(x, x)
    assert similarity.ms_ssim(x, x, weights=(0.5, 0.5)).shape == (1,)


def test_bad_settings_are_refused():
    x = patches(1, 20, 20)
    with pytest.raises(ConfigError, match="window = 'box' is unknown"):
        similarity.ssim(x, x, window="box")
    for weights in ((), (1.0, 0.0), (float("nan"),)):
        with pytest.raises(MetricError, match="weights = "):
            similarity.ms_ssim(x, x, weights=weights)
    with pytest.raises(MetricError, match=r"accepted: \[n, height, width, 3\]"):
        similarity.to_luminance(x[..., :1])
    with pytest.raises(MetricError, match="data_range = None"):
        similarity.to_luminance(x.astype(np.float32))
