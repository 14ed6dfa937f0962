"""Application of a network to images of any size: padding, tiling, batching and joining.

An image is padded at its bottom and right, by its own reflection, to multiples of what the network
accepts; the output of the padding is cropped. An image larger than a tile is split into tiles that
overlap, all of one size and at multiples too, so that strided layers meet the same pixels as in the
whole image. Two tiles are blended linearly over the quarter in the middle of their overlap; beyond
it, the tile counts whose edge is farther away. So a network whose receptive field extends no
farther than 3/8 of the overlap gives the same output as for the whole image; for others (such as
those with instance normalisation) the blending hides the seams.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gan_jax.errors import ConfigError

# Of an overlap, the share over which one tile fades into the next.
_FADE = 0.25
# Batches of images that wait for others of their size; if more wait, smaller batches are made.
_PATIENCE = 4


@dataclasses.dataclass(frozen=True)
class Axis:
    """The padding and tiling of one side of an image.

    Attributes:
      size: in pixels of the input.
      padded: likewise, a multiple of what the network accepts.
      tile: the size of every tile.
      starts: where tiles begin, ascending, from 0 to ``padded - tile``.
    """

    size: int
    padded: int
    tile: int
    starts: tuple[int, ...]

    def indices(self) -> np.ndarray:
        """Return the row or column of the image that each of the padded ones shows, int."""
        period = max(1, 2 * (self.size - 1))
        place = np.arange(self.padded) % period
        return np.minimum(place, period - place) if self.size > 1 else np.zeros_like(place)

    def weights(self, scale: int) -> list[np.ndarray]:
        """Return the weights of each tile's rows or columns, float32 ``[tile * scale]``.

        The weights of all tiles sum to 1 everywhere. ``scale`` is that of the network.
        """
        centre = np.arange(self.padded * scale) + 0.5
        # How much a place belongs to this tile or a later one, tile by tile.
        reached = [np.ones_like(centre)]
        for i, start in enumerate(self.starts[1:]):
            end = self.starts[i] + self.tile
            middle, fade = scale * (start + end) / 2, scale * (end - start) * _FADE
            step = (centre - middle) / max(fade, 1e-9) + 0.5
            reached.append(np.clip(step, 0.0, 1.0))
        reached.append(np.zeros_like(centre))
        return [
            (reached[i] - reached[i + 1])[scale * start : scale * (start + self.tile)].astype(
                np.float32
            )
            for i, start in enumerate(self.starts)
        ]


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The tiling of images for a network.

    Attributes:
      multiple: height and width of the network's inputs are multiples of this.
      scale: size of the network's output over that of its input.
      tile: largest height and width of the network's inputs, in pixels of the input; rounded down
        to a multiple, at least one.
      overlap: of neighbouring tiles, at least, in pixels of the input; rounded up to a multiple.

    Raises:
      ConfigError: a field has a value that cannot work.
    """

    multiple: int = 1
    scale: int = 1
    tile: int = 512
    overlap: int = 64

    def __post_init__(self):
        if self.tile < 1:
            raise ConfigError(f"--tile={self.tile}; accepted: 1 or more")
        if self.overlap < 0:
            raise ConfigError(f"--overlap={self.overlap}; accepted: 0 or more")
        tile, overlap = self._rounded()
        if overlap > tile // 2:
            most = tile // 2 // self.multiple * self.multiple
            raise ConfigError(
                f"--tile={self.tile} with --overlap={self.overlap}, in multiples of "
                f"{self.multiple}; accepted: --tile={2 * overlap} or more, or --overlap={most} or "
                "less"
            )

    def _rounded(self) -> tuple[int, int]:
        """Return the size of a tile and the overlap, both multiples."""
        m = self.multiple
        return max(self.tile // m, 1) * m, -(-self.overlap // m) * m

    def axis(self, size: int) -> Axis:
        """Return the tiling of a side of ``size`` pixels."""
        m = self.multiple
        most, overlap = self._rounded()
        padded = -(-size // m) * m
        tile = min(padded, most)
        steps = -(-(padded - tile) // (most - overlap))
        # Spread evenly, so that the last tile overlaps no more than the others.
        even = [round(i * (padded - tile) / max(steps, 1) / m) * m for i in range(steps + 1)]
        return Axis(size, padded, tile, tuple(even))


class Input(NamedTuple):
    """An image for a network.

    Attributes:
      number: its index, unique among the images.
      pixels: ``[height, width, channels]``, of any dtype.
      known: ``[height, width, 1]``, 1 where pixels are known; ``None``: the network takes no mask.
    """

    number: int
    pixels: np.ndarray
    known: np.ndarray | None = None


class Tile(NamedTuple):
    """A part of an image; ``place`` is its row and column among the tiles of the image."""

    place: tuple[int, int]
    pixels: np.ndarray
    known: np.ndarray | None


class Canvas:
    """An image that is being processed: its tiles and their outputs so far."""

    def __init__(self, image: Input, tiling: Tiling) -> None:
        self.number = image.number
        height, width = image.pixels.shape[:2]
        self._rows, self._columns = tiling.axis(height), tiling.axis(width)
        self._scale = tiling.scale
        self._missing = len(self._rows.starts) * len(self._columns.starts)
        self._single = self._missing == 1
        self._sum: np.ndarray | None = None
        self._dtype: np.dtype[Any] | None = None
        index = np.ix_(self._rows.indices(), self._columns.indices())
        self._pixels = image.pixels[index]
        self._known = None if image.known is None else image.known[index]
        self._weights = self._rows.weights(self._scale), self._columns.weights(self._scale)

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles, row by row."""
        rows, columns = self._rows, self._columns
        for i, top in enumerate(rows.starts):
            for j, left in enumerate(columns.starts):
                part = np.s_[top : top + rows.tile, left : left + columns.tile]
                known = None if self._known is None else self._known[part]
                yield Tile((i, j), self._pixels[part], known)

    def add(self, place: tuple[int, int], output: np.ndarray) -> bool:
        """Add a tile's output, uint8 or float32; return whether it was the last one."""
        self._missing -= 1
        self._dtype = output.dtype
        if self._single:
            self._sum = output
            return True
        scale, channels = self._scale, output.shape[2]
        if self._sum is None:
            shape = (scale * self._rows.padded, scale * self._columns.padded, channels)
            self._sum = np.zeros(shape, np.float32)
        i, j = place
        top, left = scale * self._rows.starts[i], scale * self._columns.starts[j]
        weight = self._weights[0][i][:, None, None] * self._weights[1][j][None, :, None]
        part = np.s_[top : top + output.shape[0], left : left + output.shape[1]]
        self._sum[part] += weight * output.astype(np.float32)
        return self._missing == 0

    def image(self) -> np.ndarray:
        """Return the joined image, once it is whole, in the dtype of the outputs."""
        assert self._sum is not None
        assert self._missing == 0
        inner = self._sum[: self._scale * self._rows.size, : self._scale * self._columns.size]
        if self._dtype == np.uint8 and not self._single:
            return np.rint(inner).astype(np.uint8)
        return inner


# From pixels [batch, h, w, c], the mask of known ones [batch, h, w, 1] or None, and numbers uint32
# [batch, 3] (image, row and column of the tile) to a batch of outputs, maybe still on a device.
Apply = Callable[[np.ndarray, np.ndarray | None, np.ndarray], Any]


def run(
    images: Iterable[Input], apply: Apply, tiling: Tiling, *, batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Apply a network to images, and yield each output when it is complete.

    Images are read as they are needed. Tiles of one size, of any images, share a batch; one that
    cannot be filled is filled up to a power of two, so that few shapes are compiled.

    Args:
      images: of any sizes.
      apply: the network; an output depends on its own input alone.
      tiling: of the images.
      batch_size: tiles at a time, at most.

    Yields:
      The number of an image and its output ``[scale * height, scale * width, channels]``, not in
      the order of the images.
    """
    waiting: dict[int, Canvas] = {}
    queues: dict[Any, list[tuple[Canvas, Tile]]] = {}
    started: collections.deque[tuple[list[tuple[Canvas, Tile]], Any]] = collections.deque()

    def start(queue: list[tuple[Canvas, Tile]]) -> None:
        started.append((queue[:], _apply(queue, apply, batch_size)))
        queue.clear()

    def finish(at_most: int) -> Iterator[tuple[int, np.ndarray]]:
        while len(started) > at_most:
            tiles, outputs = started.popleft()
            for (canvas, tile), output in zip(tiles, np.asarray(outputs), strict=False):
                if canvas.add(tile.place, output):
                    del waiting[canvas.number]
                    yield canvas.number, canvas.image()

    for image in images:
        waiting[image.number] = canvas = Canvas(image, tiling)
        for tile in canvas.tiles():
            shape = (tile.pixels.shape, tile.pixels.dtype, tile.known is None)
            queue = queues.setdefault(shape, [])
            queue.append((canvas, tile))
            if len(queue) == batch_size:
                start(queue)
                # The device computes a batch while the host joins the one before.
                yield from finish(1)
        if len(waiting) > _PATIENCE * batch_size:
            oldest = next(iter(waiting.values()))
            for queue in queues.values():
                if any(canvas is oldest for canvas, _ in queue):
                    start(queue)
            yield from finish(0)
    for queue in queues.values():
        if queue:
            start(queue)
            yield from finish(1)
    yield from finish(0)


def run_sound(
    sound: np.ndarray,
    apply: Callable[[np.ndarray], Any],
    tiling: Tiling,
    *,
    batch_size: int,
) -> np.ndarray:
    """Apply a network to a sound of any length, in tiles of one axis.

    Args:
      sound: float32 ``[samples, channels]``.
      apply: the network, from ``[batch, samples, channels]`` to the same shape.
      tiling: of the sound; its scale is 1.
      batch_size: tiles at a time, at most.

    Returns:
      float32 ``[samples, channels]``.
    """
    axis = tiling.axis(len(sound))
    padded, made = sound[axis.indices()], np.zeros((axis.padded, sound.shape[1]), np.float32)
    parts = list(zip(axis.starts, axis.weights(1), strict=True))
    for first in range(0, len(parts), batch_size):
        chosen = parts[first : first + batch_size]
        tiles = np.stack([padded[start : start + axis.tile] for start, _ in chosen])
        # Few shapes are compiled.
        spare = min(batch_size, 1 << (len(tiles) - 1).bit_length()) - len(tiles)
        outputs = np.asarray(apply(np.pad(tiles, ((0, spare), (0, 0), (0, 0)))))
        for (start, weights), output in zip(chosen, outputs, strict=False):
            made[start : start + axis.tile] += weights[:, None] * output
    return made[: len(sound)]


def _apply(queue: list[tuple[Canvas, Tile]], apply: Apply, batch_size: int) -> Any:
    size = min(batch_size, 1 << (len(queue) - 1).bit_length())
    chosen = [queue[i % len(queue)] for i in range(size)]
    known = [tile.known for _, tile in chosen if tile.known is not None]
    numbers = [(canvas.number, *tile.place) for canvas, tile in chosen]
    return apply(
        np.stack([tile.pixels for _, tile in chosen]),
        np.stack(known) if known else None,
        np.asarray(numbers, np.uint32),
    )
