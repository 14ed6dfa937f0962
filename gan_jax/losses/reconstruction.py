"""Distances of images from those that they should be, pixel by pixel.

Every function returns one float32 value per image, shape ``[batch]``, a mean over the image's
entries: so its weight in a sum of losses does not depend on the resolution. With ``weights`` it is
the weighted mean ``sum(w e) / sum(w)`` of each image: of the errors in a hole, for example. A
``ValueError`` is raised where shapes or dtypes do not fit.

- ``l1``: of pix2pix, Isola et al. 2016, https://arxiv.org/abs/1611.07004, and CycleGAN
- ``l2``: the squared error, whose minimum is the mean of all that is possible, and blurred
- ``charbonnier``: "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", Lai et
  al. 2017, https://arxiv.org/abs/1704.03915: the l1, rounded off about 0
- ``gradient_difference``: "Deep multi-scale video prediction beyond mean square error", Mathieu et
  al. 2015, https://arxiv.org/abs/1511.05440: of edges, whatever their sign
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.losses.guards import check_equal_shapes, check_number, floating
from gan_jax.settings import build

# Least sum of weights to divide by: an image without any has an error of 0.
_TINY = 1e-8


class PixelLoss(Protocol):
    """A distance of images from their references."""

    def __call__(
        self, images: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None
    ) -> jax.Array:
        """Return the distance of each image, ``[batch]`` float32."""
        ...


def l1(images: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    """Mean absolute error of each image; where it is 0, so is its gradient.

    Args:
      images: ``[batch, ...]``, floating.
      reference: of the same shape.
      weights: not negative, of the images' shape, or with 1 in place of some of its numbers, such
        as ``[batch, height, width, 1]``; ``None``: all entries count alike.

    Returns:
      ``[batch]`` float32.
    """
    return _mean(_absolute(_difference(images, reference)), weights)


def l2(images: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    """Mean squared error of each image.

    Args:
      images: ``[batch, ...]``, floating.
      reference: of the same shape.
      weights: as for `l1`.

    Returns:
      ``[batch]`` float32.
    """
    return _mean(jnp.square(_difference(images, reference)), weights)


def charbonnier(
    images: ArrayLike,
    reference: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    eps: float = 1e-3,
) -> jax.Array:
    """Mean of ``sqrt(error^2 + eps^2)`` of each image: smooth, and ``eps`` for equal images.

    Lai et al. 2017, https://arxiv.org/abs/1704.03915.

    Args:
      images: ``[batch, ...]``, floating.
      reference: of the same shape.
      weights: as for `l1`.
      eps: errors well below it cost their square, those well above their size; positive.

    Returns:
      ``[batch]`` float32.
    """
    squares = jnp.square(_difference(images, reference))
    return _mean(jnp.sqrt(squares + eps**2), weights)


def gradient_difference(
    images: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None
) -> jax.Array:
    """Gradient difference loss: of how much neighbours differ in rows and in columns.

    ``||y_i - y_(i-1)| - |x_i - x_(i-1)||``, equation 6 of Mathieu et al. 2015,
    https://arxiv.org/abs/1511.05440, with alpha = 1. Blurred edges cost more than in `l1`.

    Args:
      images: ``[batch, ..., height, width, channels]``, floating; images or videos.
      reference: of the same shape.
      weights: as for `l1`; a difference of neighbours has the larger of their weights.

    Returns:
      ``[batch]`` float32: the sums over both axes, divided by the sum of the weights of the
      image's entries.

    Raises:
      ValueError: a shape or dtype does not fit.
    """
    x, y = _pair(images, reference)
    if x.ndim < 4:
        raise ValueError(
            f"images have shape {x.shape}; accepted: [batch, ..., height, width, channels]."
        )
    w = jnp.ones(x.shape, jnp.float32) if weights is None else _weights(weights, x.shape)
    axes, total = tuple(range(1, x.ndim)), jnp.zeros(x.shape[0], jnp.float32)
    for axis in (-3, -2):
        later, earlier = _neighbours(w, axis)
        slopes = (_absolute(jnp.subtract(*_neighbours(values, axis))) for values in (x, y))
        total += jnp.sum(jnp.maximum(later, earlier) * _absolute(jnp.subtract(*slopes)), axis=axes)
    return total / jnp.maximum(jnp.sum(w, axis=axes), _TINY)


def total_variation(images: ArrayLike) -> jax.Array:
    """Absolute differences of neighbours in rows and in columns, summed, per entry of the image.

    The anisotropic form of "Nonlinear total variation based noise removal algorithms", Rudin et al.
    1992, doi 10.1016/0167-2789(92)90242-F. It knows no reference: as a small term it takes noise
    off what a network paints.

    Args:
      images: ``[batch, height, width, channels]``, floating.

    Returns:
      ``[batch]`` float32: both sums of an image, divided by the number of its entries.

    Raises:
      ValueError: shape or dtype does not fit.
    """
    x = floating("images", images).astype(jnp.float32)
    if x.ndim != 4:
        raise ValueError(
            f"images have shape {x.shape}; accepted: [batch, height, width, channels]."
        )
    rows = jnp.sum(_absolute(x[:, 1:] - x[:, :-1]), axis=(1, 2, 3))
    columns = jnp.sum(_absolute(x[:, :, 1:] - x[:, :, :-1]), axis=(1, 2, 3))
    return (rows + columns) / math.prod(x.shape[1:])


def make_pixel_loss(name: str, /, **options: Any) -> PixelLoss:
    """Return the pixel loss of a name.

    Args:
      name: a key of ``PIXEL_LOSSES``.
      options: of the loss, such as ``eps`` of ``charbonnier``; one that is ``None`` counts as not
        given.

    Raises:
      ConfigError: the name, an option or its value is unknown; names the field
        ``reconstruction.<name>.<option>``.
    """
    return build(PIXEL_LOSSES, "reconstruction", name, **options)


def _make_charbonnier(*, eps: float = 1e-3) -> PixelLoss:
    least = float(jnp.finfo(jnp.float32).tiny) ** 0.5  # whose square float32 can still hold
    eps = check_number("reconstruction.charbonnier.eps", eps, least, math.inf)
    return functools.partial(charbonnier, eps=eps)


PIXEL_LOSSES: dict[str, Callable[..., PixelLoss]] = {
    "l1": lambda: l1,
    "l2": lambda: l2,
    "charbonnier": _make_charbonnier,
}
"""What makes the pixel losses, by name; their keyword parameters are the options."""


def _pair(images: ArrayLike, reference: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return images and their references as float32, after a check of their shapes."""
    one, other = floating("images", images), floating("reference images", reference)
    check_equal_shapes("images", one, "reference images", other)
    return one.astype(jnp.float32), other.astype(jnp.float32)


def _difference(images: ArrayLike, reference: ArrayLike) -> jax.Array:
    return jnp.subtract(*_pair(images, reference))


def _neighbours(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Return all but the first, and all but the last entries along an axis."""
    size = x.shape[axis]
    return lax.slice_in_dim(x, 1, size, axis=axis), lax.slice_in_dim(x, 0, size - 1, axis=axis)


def _absolute(x: jax.Array) -> jax.Array:
    """Return ``|x|`` with the derivative 0 at 0, where that of ``jnp.abs`` is 1."""
    return x * jnp.sign(x)


def _mean(errors: jax.Array, weights: ArrayLike | None) -> jax.Array:
    axes = tuple(range(1, errors.ndim))
    if weights is None:
        return jnp.mean(errors, axis=axes)
    w = _weights(weights, errors.shape)
    return jnp.sum(w * errors, axis=axes) / jnp.maximum(jnp.sum(w, axis=axes), _TINY)


def _weights(weights: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Return weights as float32 of the images' shape."""
    w = floating("weights", weights).astype(jnp.float32)
    fits = w.ndim == len(shape) and w.shape[0] == shape[0]
    if not fits or any(n not in (1, size) for n, size in zip(w.shape, shape, strict=True)):
        raise ValueError(
            f"weights have shape {w.shape} for images {shape}; accepted: the images' shape, "
            "or 1 in place of any of its numbers but the first."
        )
    return jnp.broadcast_to(w, shape)
