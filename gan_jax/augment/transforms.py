"""Random transformations of images by matrices: of the plane, and of colours.

Each is applied to an image with a probability and by draws from the image's own key. They are those
of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data",
https://arxiv.org/abs/2006.06676, appendix B. Functions return the matrices of one image; `warp` and
`recolor` apply them.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

# Standard deviations of the normal draws: binary logarithms of factors, shares of an image's side.
_SCALE = 0.2
_SHIFT = 0.125
_BRIGHTNESS = 0.2
_CONTRAST = 0.5
_SATURATION = 1.0

_GREY = (1 / 3**0.5,) * 3  # The direction of grey in the space of colours.


def blit(key: jax.Array, strength: ArrayLike, size: Sequence[int]) -> jax.Array:
    """Draw a flip, a turn by right angles and a shift by whole pixels, up to an eighth of a side.

    Args:
      key: a typed PRNG key.
      strength: probability of each of the three, scalar in [0, 1].
      size: height and width of the image.

    Returns:
      float32 ``[3, 3]``, for `warp`.
    """
    flip, turn, move = jax.random.split(key, 3)
    flips = _chance(flip, strength, lambda key: jax.random.randint(key, (), 0, 2), 0)
    turns = _chance(turn, strength, lambda key: jax.random.randint(key, (), 0, 4), 0)
    cosine = jnp.array([1.0, 0.0, -1.0, 0.0], jnp.float32)[turns]
    sine = jnp.array([0.0, 1.0, 0.0, -1.0], jnp.float32)[turns]

    def shift(key: jax.Array) -> jax.Array:
        share = jax.random.uniform(key, (2,), jnp.float32, -_SHIFT, _SHIFT)
        return jnp.round(share * jnp.array(size, jnp.float32))

    shifts = _chance(move, strength, shift, jnp.zeros(2))
    return _product(
        _scaling(1.0, 1.0 - 2.0 * flips.astype(jnp.float32)),
        _turned(cosine, sine),
        _shifted(shifts),
    )


def geometry(key: jax.Array, strength: ArrayLike, size: Sequence[int]) -> jax.Array:
    """Draw a scaling, two rotations, a stretching between them, and a shift.

    Scalings are log-normal; the rotations together have the probability ``strength``.

    Args:
      key: a typed PRNG key.
      strength: probability of each, scalar in [0, 1].
      size: height and width of the image.

    Returns:
      float32 ``[3, 3]``, for `warp`.
    """
    scale, before, stretch, after, move = jax.random.split(key, 5)
    once = 1.0 - jnp.sqrt(1.0 - jnp.asarray(strength, jnp.float32))

    def rotation(key: jax.Array) -> jax.Array:
        angle = _chance(key, once, _angle, 0.0)
        return _turned(jnp.cos(angle), jnp.sin(angle))

    def shift(key: jax.Array) -> jax.Array:
        return _SHIFT * jax.random.normal(key, (2,)) * jnp.array(size, jnp.float32)

    factor = _factor(scale, strength, _SCALE)
    stretched = _factor(stretch, strength, _SCALE)
    return _product(
        _scaling(factor, factor),
        rotation(before),
        _scaling(stretched, 1.0 / stretched),
        rotation(after),
        _shifted(_chance(move, strength, shift, jnp.zeros(2))),
    )


def color(key: jax.Array, strength: ArrayLike) -> jax.Array:
    """Draw brightness, contrast, the inversion of luma, a rotation of hue, and saturation.

    Args:
      key: a typed PRNG key.
      strength: probability of each, scalar in [0, 1].

    Returns:
      float32 ``[3, 4]``, for `recolor`: factors of red, green and blue, and what is added.
    """
    bright, contrast, luma, hue, saturation = jax.random.split(key, 5)
    grey = jnp.array(_GREY, jnp.float32)
    same, along = jnp.eye(3, dtype=jnp.float32), jnp.outer(grey, grey)
    across = same - along
    x, y, z = _GREY
    turn = jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], jnp.float32)

    added = _chance(bright, strength, lambda key: _BRIGHTNESS * jax.random.normal(key), 0.0)
    factor = _factor(contrast, strength, _CONTRAST)
    flips = _chance(luma, strength, lambda key: jax.random.randint(key, (), 0, 2), 0)
    angle = _chance(hue, strength, _angle, 0.0)
    linear = _product(
        same + (_factor(saturation, strength, _SATURATION) - 1.0) * across,
        same + (jnp.cos(angle) - 1.0) * across + jnp.sin(angle) * turn,
        same - 2.0 * flips.astype(jnp.float32) * along,
    )
    offset = linear @ jnp.full((3, 1), added * factor, jnp.float32)
    return jnp.concatenate([factor * linear, offset], 1)


def warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return an image moved in its plane, with bilinear interpolation.

    Outside the image lies its reflection at the border. A matrix of a flip, of right angles or of a
    shift by whole pixels moves pixels unchanged. The gradient adds up in an order that, on a GPU,
    may change between runs.

    Args:
      image: float32 ``[height, width, channels]``.
      matrix: ``[3, 3]``, maps a place ``(row, column, 1)`` of the result, in pixels from the
        centre, to its place in the image.

    Returns:
      float32 ``[height, width, channels]``.
    """
    size = image.shape[:2]
    middles = [(side - 1) / 2 for side in size]
    rows, columns = (
        jnp.arange(side, dtype=jnp.float32) - middle
        for side, middle in zip(size, middles, strict=True)
    )
    places = jnp.stack([*jnp.meshgrid(rows, columns, indexing="ij"), jnp.ones(size)], -1)
    row, column = (
        _reflected(jnp.sum(places * matrix[axis], -1) + middles[axis], size[axis])
        for axis in (0, 1)
    )
    top, left = jnp.floor(row), jnp.floor(column)
    result = jnp.zeros_like(image)
    for below in (0, 1):
        for right in (0, 1):
            weight = _near(row - top, below) * _near(column - left, right)
            i, j = (
                jnp.clip(first.astype(jnp.int32) + step, 0, side - 1)
                for first, step, side in ((top, below, size[0]), (left, right, size[1]))
            )
            result = result + weight[..., None] * image[i, j]
    return result


def recolor(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return an image with other colours.

    Args:
      image: float32 ``[height, width, channels]``, of 3 channels, or of 1, which is grey; the
        result is then the mean of red, green and blue.
      matrix: float32 ``[3, 4]``: factors of red, green and blue, and what is added.

    Raises:
      ValueError: the number of channels is another.
    """
    channels = image.shape[-1]
    if channels == 1:
        # Grey has red, green and blue alike.
        return image * (jnp.sum(matrix[:, :3]) / 3) + jnp.mean(matrix[:, 3])
    if channels != 3:
        raise ValueError(f"colours of images of {channels} channels cannot change; accepted: 1, 3")
    return jnp.matmul(image, matrix[:, :3].T, precision="highest") + matrix[:, 3]


def _chance(
    key: jax.Array,
    strength: ArrayLike,
    draw: Callable[[jax.Array], jax.Array],
    otherwise: ArrayLike,
) -> jax.Array:
    """Return ``draw(key)`` with the given probability, else what leaves an image as it is."""
    own, gate = jax.random.split(key)
    drawn = draw(own)
    return jnp.where(
        jax.random.uniform(gate) < strength, drawn, jnp.asarray(otherwise, drawn.dtype)
    )


def _factor(key: jax.Array, strength: ArrayLike, deviation: float) -> jax.Array:
    """Return a factor whose binary logarithm is normal."""
    return jnp.exp2(_chance(key, strength, lambda key: deviation * jax.random.normal(key), 0.0))


def _angle(key: jax.Array) -> jax.Array:
    return jax.random.uniform(key, (), jnp.float32, -math.pi, math.pi)


def _turned(cosine: jax.Array, sine: jax.Array) -> jax.Array:
    zero, one = jnp.zeros(()), jnp.ones(())
    return jnp.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one]).reshape(3, 3)


def _scaling(rows: ArrayLike, columns: ArrayLike) -> jax.Array:
    return jnp.diag(jnp.stack([jnp.float32(rows), jnp.float32(columns), jnp.float32(1)]))


def _shifted(by: jax.Array) -> jax.Array:
    return jnp.eye(3, dtype=jnp.float32).at[:2, 2].set(by)


def _product(*matrices: jax.Array) -> jax.Array:
    result, *others = matrices
    for other in others:
        result = jnp.matmul(result, other, precision="highest")
    return result


def _reflected(index: jax.Array, side: int) -> jax.Array:
    """Return indices of pixels within an image of that side, reflected at its border."""
    return side - jnp.abs(side - jnp.mod(index + 0.5, 2 * side)) - 0.5


def _near(fraction: jax.Array, end: int) -> jax.Array:
    return fraction if end else 1.0 - fraction
