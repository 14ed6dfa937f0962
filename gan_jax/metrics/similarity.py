"""Image similarity for restoration: PSNR, SSIM and MS-SSIM.

All functions take two batches of images [n, height, width, channels] and return one float32 per
image; a set's value is their mean. They are differentiable in float images, with finite gradients
also for identical ones, so that they can serve as losses.

Papers:

- SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
  structural similarity", 2004, doi 10.1109/TIP.2003.819861
- MS-SSIM: Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality
  assessment", 2003, doi 10.1109/ACSSC.2003.1292216

Conventions are those of scikit-image, with which the values agree to 1e-5: no padding (only windows
inside the image), and channels are compared separately and averaged.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gan_jax.errors import MetricError, lookup

K1, K2 = 0.01, 0.03
"""The constants that keep SSIM's two fractions finite, relative to the data range."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of the five scales, from fine to coarse, fitted to human judgements."""

IDENTICAL_DB = 100.0
"""The PSNR of identical images, which is infinite, in a mean."""

_BLOCK = 64  # outputs per matrix product of `_banded`

# BT.601's luminance of R, G, B in [0, 1], for a signal in [16, 235].
_LUMINANCE = (65.481, 128.553, 24.966)


@dataclasses.dataclass(frozen=True)
class _Window:
    """The window of SSIM, the same along both axes.

    Attributes:
      taps: its weights along one axis, which sum to 1; an odd number.
      correction: factor of variances and covariances.
    """

    taps: tuple[float, ...]
    correction: float


def _gaussian(sigma: float, radius: int) -> tuple[float, ...]:
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return tuple((taps / taps.sum()).tolist())


WINDOWS: Mapping[str, _Window] = {
    # The paper's: 11x11, sigma 1.5, population covariance.
    "gaussian": _Window(_gaussian(1.5, 5), 1.0),
    # 7x7, sample covariance.
    "uniform": _Window((1 / 7,) * 7, 49 / 48),
}
"""The windows of SSIM by name."""


def psnr(
    images: ArrayLike, reference: ArrayLike, *, data_range: float | None = None, border: int = 0
) -> jax.Array:
    """Return the peak signal-to-noise ratio of each image, in decibels, float32 [n].

    ``10 log10(data_range^2 / mean squared error)``, the mean over all pixels and channels.
    Identical images have an infinite one, with a gradient of 0.

    Args:
      images: uint8 or float [n, height, width, channels].
      reference: of the same shape and dtype.
      data_range: largest minus smallest possible value; None: 255, for uint8 only.
      border: rows and columns to leave out at each edge; in super-resolution usually the factor.

    Raises:
      MetricError: the shapes or dtypes differ, ``data_range`` is missing or not positive, or
        nothing is left within the border.
    """
    x, y, span = _checked(images, reference, data_range, border, 1)
    return _psnr(x, y, span, border)


@partial(jax.jit, static_argnums=3)
def _psnr(x: jax.Array, y: jax.Array, span: jax.Array, border: int) -> jax.Array:
    # Scaled after the difference, so that it is exactly 0 where the images are equal.
    x, y = (_planes(images, border) for images in (x, y))
    error = _mean(jnp.square((x - y) / span)).mean(1)
    # Zeros are replaced before the logarithm, too, whose infinite derivative would give NaN.
    same = error == 0.0
    return jnp.where(same, jnp.inf, -10.0 * jnp.log10(jnp.where(same, 1.0, error)))


def ssim(
    images: ArrayLike,
    reference: ArrayLike,
    *,
    data_range: float | None = None,
    window: str = "gaussian",
    border: int = 0,
) -> jax.Array:
    """Return the structural similarity of each image, float32 [n]: 1 if identical, down to -1.

    The mean over all windows and channels of luminance times contrast-structure,
    ``(2 mx my + C1) / (mx^2 + my^2 + C1) * (2 cov + C2) / (vx + vy + C2)`` with
    ``C = (K data_range)^2``; Wang et al. 2004, eq. 13.

    Args:
      images: uint8 or float [n, height, width, channels].
      reference: of the same shape and dtype.
      data_range: as for `psnr`.
      window: "gaussian" (the paper's: 11x11, sigma 1.5, population covariance) or "uniform"
        (scikit-image's default: 7x7, sample covariance).
      border: as for `psnr`.

    Raises:
      ConfigError: the window is unknown.
      MetricError: as for `psnr`, or the image within the border is smaller than the window.
    """
    chosen = lookup(WINDOWS, window, "window")
    x, y, span = _checked(images, reference, data_range, border, len(chosen.taps))
    return _ssim(x, y, span, border, chosen)


@partial(jax.jit, static_argnums=(3, 4))
def _ssim(x: jax.Array, y: jax.Array, span: jax.Array, border: int, window: _Window) -> jax.Array:
    x, y = (_planes(images, border) / span for images in (x, y))
    luminance, contrast = _similarities(x, y, window)
    return _mean(luminance * contrast).mean(1)


def ms_ssim(
    images: ArrayLike,
    reference: ArrayLike,
    *,
    data_range: float | None = None,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    border: int = 0,
) -> jax.Array:
    """Return the multi-scale structural similarity of each image, float32 [n], in [0, 1].

    The product over scales of the mean contrast-structure, and on the coarsest of the mean SSIM,
    each raised to its weight (Wang et al. 2003, eq. 7); between scales, 2x2 pixels are averaged,
    without odd last rows and columns. A negative mean, whose power is undefined, counts as 0.
    Channels are averaged at the end.

    Args:
      images: uint8 or float [n, height, width, channels]; 176 pixels or more in height and width.
      reference: of the same shape and dtype.
      data_range: as for `psnr`.
      weights: the exponents, from fine to coarse; fewer weights allow smaller images (and define
        another measure): the smaller side must be at least ``11 * 2^(number of weights - 1)``.
      border: as for `psnr`.

    Raises:
      MetricError: as for `psnr`, there are no weights or one is not positive, or the image is too
        small for the number of scales.
    """
    weights = tuple(float(weight) for weight in weights)
    if not weights or not all(0.0 < weight < math.inf for weight in weights):
        raise MetricError(f"weights = {weights}; accepted: at least one, all positive")
    taps = len(WINDOWS["gaussian"].taps)
    least = taps * 2 ** (len(weights) - 1)
    why = f" for {len(weights)} scales; smaller images need fewer `weights`"
    x, y, span = _checked(images, reference, data_range, border, least, why)
    return _ms_ssim(x, y, span, border, weights)


@partial(jax.jit, static_argnums=(3, 4))
def _ms_ssim(
    x: jax.Array, y: jax.Array, span: jax.Array, border: int, weights: tuple[float, ...]
) -> jax.Array:
    x, y = (_planes(images, border) / span for images in (x, y))
    product = jnp.ones(x.shape[:2], jnp.float32)
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
        luminance, contrast = _similarities(x, y, WINDOWS["gaussian"])
        last = scale == len(weights) - 1
        mean = _mean(luminance * contrast if last else contrast)
        # The derivative of the power is infinite at 0; zeros are replaced, so that it is 0 there.
        positive = mean > np.finfo(np.float32).tiny
        product *= jnp.where(positive, jnp.where(positive, mean, 1.0) ** weight, 0.0)
    return product.mean(1)


def to_luminance(images: ArrayLike, *, data_range: float | None = None) -> jax.Array:
    """Return the luminance on which super-resolution papers compute PSNR and SSIM.

    Y of ITU-R BT.601's YCbCr, ``16 + 65.481 R + 128.553 G + 24.966 B`` for R, G, B in [0, 1]. Black
    is 16 and white 235, but the papers use 255 as its ``data_range``; it is not rounded here.

    Args:
      images: uint8 or float [n, height, width, 3], the smallest value black.
      data_range: the value of white; None: 255, for uint8 only.

    Returns:
      float32 [n, height, width, 1], in [16, 235].

    Raises:
      MetricError: wrong shape, or ``data_range`` is missing or not positive.
    """
    x = _images("images", images)
    if x.shape[3] != 3:
        raise MetricError(f"images have the shape {x.shape}; accepted: [n, height, width, 3]")
    return _to_luminance(x, _span(x.dtype, data_range))


@jax.jit
def _to_luminance(x: jax.Array, span: jax.Array) -> jax.Array:
    scaled = x.astype(jnp.float32) / span
    weights = jnp.asarray(_LUMINANCE, jnp.float32)
    return 16.0 + (scaled * weights).sum(3, keepdims=True)


def _images(name: str, images: ArrayLike) -> jax.Array:
    x = jnp.asarray(images)
    if x.ndim != 4 or 0 in x.shape:
        raise MetricError(
            f"{name} have the shape {x.shape}; accepted: [n, height, width, channels], not empty"
        )
    if x.dtype != jnp.uint8 and not jnp.issubdtype(x.dtype, jnp.floating):
        raise MetricError(f"{name} have the dtype {x.dtype}; accepted: uint8, or floats")
    return x


def _span(dtype: jnp.dtype, data_range: float | None) -> jax.Array:
    """Return the data range as an array, so that another value does not recompile."""
    if data_range is None:
        if dtype != jnp.uint8:
            raise MetricError(
                f"data_range = None with images of dtype {dtype}; accepted: a number, such as 2.0 "
                "for images in [-1, 1]"
            )
        data_range = 255.0
    if not 0.0 < data_range < math.inf:
        raise MetricError(f"data_range = {data_range!r}; accepted: a positive number")
    return jnp.float32(data_range)


def _checked(
    images: ArrayLike,
    reference: ArrayLike,
    data_range: float | None,
    border: int,
    least: int,
    why: str = "",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Check two batches, whose sides within the border must have `least` pixels or more."""
    x, y = _images("images", images), _images("reference", reference)
    if x.shape != y.shape or x.dtype != y.dtype:
        raise MetricError(
            f"images are {x.dtype}{list(x.shape)} and reference is {y.dtype}{list(y.shape)}; "
            "accepted: equal shapes and dtypes"
        )
    if isinstance(border, bool) or not isinstance(border, int) or border < 0:
        raise MetricError(f"border = {border!r}; accepted: an integer >= 0")
    height, width = (side - 2 * border for side in x.shape[1:3])
    if min(height, width) < least:
        within = f" within a border of {border}" if border else ""
        raise MetricError(
            f"images of {height}x{width} pixels{within}; accepted: at least {least}x{least}{why}"
        )
    return x, y, _span(x.dtype, data_range)


def _planes(images: jax.Array, border: int) -> jax.Array:
    """Return the images within the border, as float32 [n, channels, height, width]."""
    inner = images[:, border : images.shape[1] - border, border : images.shape[2] - border]
    return jnp.moveaxis(inner, 3, 1).astype(jnp.float32)


def _mean(planes: jax.Array) -> jax.Array:
    """Return the mean over both image axes: [n, channels, height, width] -> [n, channels].

    Rows are summed by a matrix product: XLA on CPU would fuse a plain sum with the computation of
    its terms, and repeat that many times.
    """
    ones = jnp.full(planes.shape[3], 1.0 / planes.shape[3], jnp.float32)
    return jnp.matmul(planes, ones, precision=lax.Precision.HIGHEST).mean(2)


def _shifts(planes: jax.Array, size: int, axis: int) -> list[jax.Array]:
    """Return the pixels under each of `size` taps along an axis, at every window position."""
    places = planes.shape[axis] - size + 1
    return [lax.slice_in_dim(planes, j, j + places, axis=axis) for j in range(size)]


def _weighted(taps: tuple[float, ...], terms: list[jax.Array]) -> jax.Array:
    """Return the weighted sum of the taps' terms, which XLA fuses into one loop."""
    return reduce(jnp.add, [tap * term for tap, term in zip(taps, terms, strict=True)])


def _banded(planes: jax.Array, taps: tuple[float, ...], axis: int) -> jax.Array:
    """Filter along an axis of [n, c, height, width] by products with a banded matrix.

    Blocks keep the cost per pixel independent of the image's size. Fused loops would recompute
    intermediate values and be ten times slower on CPU.
    """
    planes = jnp.moveaxis(planes, axis, 2)
    size, length = len(taps), planes.shape[2]
    places = length - size + 1
    block = min(places, _BLOCK)
    blocks = -(-places // block)
    band = np.zeros((block, block + size - 1), np.float32)
    for place in range(block):
        band[place, place : place + size] = taps
    planes = jnp.pad(planes, ((0, 0), (0, 0), (0, blocks * block - places), (0, 0)))
    starts = range(0, blocks * block, block)
    stacked = jnp.stack([planes[:, :, i : i + block + size - 1] for i in starts], 2)
    filtered = jnp.matmul(jnp.asarray(band), stacked, precision=lax.Precision.HIGHEST)
    filtered = filtered.reshape(*planes.shape[:2], blocks * block, planes.shape[3])
    return jnp.moveaxis(filtered[:, :, :places], 2, axis)


def _similarities(x: jax.Array, y: jax.Array, window: _Window) -> tuple[jax.Array, jax.Array]:
    """Return the two factors of SSIM at every window: luminance, and contrast times structure.

    ``x`` and ``y`` are [n, channels, height, width] in units of the data range.
    """
    mx, my, square, product = _moments(x, y, window.taps)
    c1, c2 = K1**2, K2**2
    luminance = (2.0 * mx * my + c1) / (mx * mx + my * my + c1)
    contrast = (2.0 * window.correction * product + c2) / (window.correction * square + c2)
    return luminance, contrast


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _moments(x: jax.Array, y: jax.Array, taps: tuple[float, ...]) -> tuple[jax.Array, ...]:
    """Return mean of x, mean of y, sum of both variances, and covariance of every window.

    In float32, the rounding error of E[x^2] - E[x]^2 is too large relative to C2. So variances are
    computed from squared deviations, axis by axis: that of a window is the mean of its columns'
    variances plus the variance of its columns' means.
    """
    size = len(taps)
    column_x, column_y = _banded(x, taps, 2), _banded(y, taps, 2)
    square, product = _deviations(
        taps, _shifts(x, size, 2), _shifts(y, size, 2), column_x, column_y
    )
    columns_x, columns_y = _shifts(column_x, size, 3), _shifts(column_y, size, 3)
    mx, my = _weighted(taps, columns_x), _weighted(taps, columns_y)
    between = _deviations(taps, columns_x, columns_y, mx, my)
    return mx, my, _banded(square, taps, 3) + between[0], _banded(product, taps, 3) + between[1]


def _moments_forward(x: jax.Array, y: jax.Array, taps: tuple[float, ...]) -> tuple[Any, Any]:
    return _moments(x, y, taps), (x, y)


def _moments_backward(taps: tuple[float, ...], saved: Any, cotangents: Any) -> Any:
    """Differentiate the short formula, which needs few filters and is accurate enough."""

    def short(x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        def mean(planes: jax.Array) -> jax.Array:
            return _banded(_banded(planes, taps, 2), taps, 3)

        mx, my = mean(x), mean(y)
        return mx, my, mean(x * x + y * y) - mx * mx - my * my, mean(x * y) - mx * my

    # Subtracting a constant does not change derivatives, and smaller numbers are more accurate.
    x, y = (planes - planes.mean((2, 3), keepdims=True) for planes in saved)
    return jax.vjp(short, x, y)[1](cotangents)


_moments.defvjp(_moments_forward, _moments_backward)


def _deviations(
    taps: tuple[float, ...], xs: list[jax.Array], ys: list[jax.Array], mx: jax.Array, my: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the sum of both variances around given means, and the covariance."""
    pairs = [(x - mx, y - my) for x, y in zip(xs, ys, strict=True)]
    square = _weighted(taps, [dx * dx + dy * dy for dx, dy in pairs])
    return square, _weighted(taps, [dx * dy for dx, dy in pairs])


def _halved(planes: jax.Array) -> jax.Array:
    """Return the means of 2x2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 for side in planes.shape[2:])
    even = planes[:, :, : 2 * height, : 2 * width]
    return even.reshape(*planes.shape[:2], height, 2, width, 2).mean((3, 5))
