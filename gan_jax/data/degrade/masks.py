"""Holes, for inpainting."""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded, Range, draw
from gan_jax.errors import ConfigError, lookup

# Of a stroke: the number of its straight parts, their lengths relative to the image's size, and the
# standard deviation in radians of the turn between two.
_SEGMENTS = 6
_STEP = (0.1, 0.3)
_TURN = 0.8
# Of several boxes or strokes, the smallest size relative to the largest; the largest ratio of a
# box's sides.
_SMALLEST = 0.4
_LONGEST = 2.0


@dataclasses.dataclass(frozen=True)
class Mask(Degradation):
    """Images with a hole of at least one pixel, and at least one pixel beside it.

    The share of the area that the hole covers is drawn first, and its figure is scaled to cover it,
    so that all kinds of holes are equally hard. Boxes reach it to within the width of a line of
    pixels, strokes to within a pixel.

    Attributes:
      kind: "center": a rectangle in the middle, of the image's own proportions, as in "Context
        Encoders", Pathak et al. 2016, https://arxiv.org/abs/1604.07379; "boxes": rectangles
        anywhere, which may overlap; "strokes": thick lines of random course, in the manner of
        "Free-Form Image Inpainting with Gated Convolution", Yu et al. 2018,
        https://arxiv.org/abs/1806.03589.
      fraction: range of the share of the image's area; a quarter is half of each side.
      count: number of boxes or strokes.
      fill: the value in the hole, in [-1, 1].
    """

    name: ClassVar[str] = "mask"
    masked: ClassVar[bool] = True
    kind: str = "center"
    fraction: Range = (0.25, 0.25)
    count: int = 4
    fill: float = 0.0

    def __post_init__(self) -> None:
        lookup(KINDS, self.kind, f"degrade.{self.name}.kind")
        self._check_range("fraction", 0.0, 1.0)
        if self.fraction[0] <= 0.0 or self.fraction[1] >= 1.0:
            raise self._refuse("fraction", self.fraction, "shares above 0 and below 1")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise self._refuse("count", self.count, "an integer >= 1")
        is_number = isinstance(self.fill, int | float) and not isinstance(self.fill, bool)
        if not is_number or not -1.0 <= self.fill <= 1.0:
            raise self._refuse("fill", self.fill, "a number in [-1, 1]")

    @override
    def check(self, shape: tuple[int, ...]) -> None:
        """Check that height and width are at least 2 pixels."""
        height, width, _ = shape
        if min(height, width) < 2:
            raise ConfigError(
                f"degrade.name = 'mask' with images of {height}x{width}; accepted: 2x2 and larger."
            )

    def known(self, key: jax.Array, height: int, width: int) -> jax.Array:
        """Return a mask, float32 ``[height, width, 1]``: 1 where known, 0 in the hole."""
        fraction_key, figure_key = jax.random.split(key)
        share = draw(fraction_key, self.fraction)
        hole = KINDS[self.kind](figure_key, height, width, share, self.count)
        return 1.0 - hole.astype(jnp.float32)[:, :, None]

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        known = self.known(key, image.shape[0], image.shape[1])
        return Degraded(jnp.where(known > 0.0, image, jnp.float32(self.fill)), known)


def center(key: jax.Array, height: int, width: int, share: jax.Array, count: int) -> jax.Array:
    """Return a rectangle in the middle; see `KINDS`. Key and count are not used."""
    del key, count

    def inside(size: int) -> jax.Array:
        length = jnp.clip(jnp.round(size * jnp.sqrt(share)), 1.0, size - 1.0).astype(jnp.int32)
        places = jnp.arange(size, dtype=jnp.int32)
        first = (size - length) // 2
        return (places >= first) & (places < first + length)

    return inside(height)[:, None] & inside(width)[None, :]


def boxes(key: jax.Array, height: int, width: int, share: jax.Array, count: int) -> jax.Array:
    """Return rectangles of random centres, sizes and proportions; see `KINDS`."""
    centre_key, size_key, longer_key = jax.random.split(key, 3)
    size = jnp.asarray([height, width], jnp.float32)
    centres = jax.random.uniform(centre_key, (count, 2), jnp.float32) * size - 0.5
    sizes = jax.random.uniform(size_key, (count, 1), jnp.float32, _SMALLEST, 1.0)
    bound = 0.5 * math.log(_LONGEST)
    longer = jnp.exp(jax.random.uniform(longer_key, (count, 1), jnp.float32, -bound, bound))
    half = sizes * jnp.concatenate([longer, 1.0 / longer], axis=1)
    rows, columns = _pixels(height, width)
    distances = jnp.maximum(
        jnp.abs(rows - centres[:, 0]) / half[:, 0], jnp.abs(columns - centres[:, 1]) / half[:, 1]
    )
    return _nearest(jnp.min(distances, axis=-1), share)


def strokes(key: jax.Array, height: int, width: int, share: jax.Array, count: int) -> jax.Array:
    """Return thick lines of random course and thickness; see `KINDS`."""
    start_key, heading_key, turn_key, step_key, thickness_key = jax.random.split(key, 5)
    size = jnp.asarray([height, width], jnp.float32)
    start = jax.random.uniform(start_key, (count, 1, 2), jnp.float32)
    heading = jax.random.uniform(heading_key, (count, 1), jnp.float32, 0.0, 2.0 * math.pi)
    turns = _TURN * jax.random.normal(turn_key, (count, _SEGMENTS), jnp.float32)
    steps = jax.random.uniform(step_key, (count, _SEGMENTS, 1), jnp.float32, *_STEP)
    angles = heading + jnp.cumsum(turns, axis=1)
    moves = steps * jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    vertices = jnp.concatenate([start, start + jnp.cumsum(moves, axis=1)], axis=1)
    # A course that leaves the image is mirrored back into it.
    vertices = (1.0 - jnp.abs(1.0 - vertices % 2.0)) * size - 0.5
    thickness = jax.random.uniform(thickness_key, (count, 1), jnp.float32, _SMALLEST, 1.0)
    rows, columns = _pixels(height, width)
    distances = distances_to_segments(
        rows, columns, vertices[:, :-1].reshape(-1, 2), vertices[:, 1:].reshape(-1, 2)
    )
    relative = distances / jnp.broadcast_to(thickness, (count, _SEGMENTS)).reshape(-1)
    return _nearest(jnp.min(relative, axis=-1), share)


def distances_to_segments(
    rows: jax.Array, columns: jax.Array, a: jax.Array, b: jax.Array
) -> jax.Array:
    """Return the distances of pixels from line segments.

    Args:
      rows: float32, of the pixels; with ``columns`` it broadcasts to ``[..., n]``.
      columns: likewise.
      a: row and column of one end of each segment, float32 ``[n, 2]``.
      b: of the other end; it may be the same point.

    Returns:
      float32 ``[..., n]``, in pixels.
    """
    along = b - a
    # For a line of length 0, any share gives the same point.
    squared_length = jnp.maximum(jnp.sum(jnp.square(along), axis=1), 1e-6)
    down, right = rows - a[:, 0], columns - a[:, 1]
    share = jnp.clip((down * along[:, 0] + right * along[:, 1]) / squared_length, 0.0, 1.0)
    return jnp.sqrt(
        jnp.square(down - share * along[:, 0]) + jnp.square(right - share * along[:, 1])
    )


KINDS: dict[str, Callable[[jax.Array, int, int, jax.Array, int], jax.Array]] = {
    "center": center,
    "boxes": boxes,
    "strokes": strokes,
}
"""Holes by kind: ``(key, height, width, share, count) -> bool [height, width]``.

``key`` is a typed PRNG key, ``height`` and ``width`` are at least 2, ``share`` is the share of the
area that the whole hole covers, a float32 scalar, and ``count`` the number of boxes or strokes.
"""


def _pixels(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Return the pixels' rows and columns, to be broadcast with figures along a last dimension."""
    rows = jnp.arange(height, dtype=jnp.float32)[:, None, None]
    return rows, jnp.arange(width, dtype=jnp.float32)[None, :, None]


def _nearest(distances: jax.Array, share: jax.Array) -> jax.Array:
    """Return which pixels are a share of all, those of the smallest distances, bool.

    All pixels of equal distance count, except those of the largest distance, which never do.
    """
    count = distances.size
    # Compared are the sorted numbers, not ``distances``: XLA may compute those once for the sort
    # and once for the comparison, with different rounding.
    ordered, pixels = lax.sort((distances.ravel(), jnp.arange(count, dtype=jnp.int32)), num_keys=1)
    wanted = jnp.clip(jnp.round(share * count), 1.0, count - 1.0).astype(jnp.int32)
    inside = (ordered <= ordered[wanted - 1]) & (ordered < ordered[-1])
    found = jnp.zeros(count, bool).at[pixels].set(inside, unique_indices=True)
    return found.reshape(distances.shape)
