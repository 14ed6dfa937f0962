"""Synthetic videos of one shape that moves straight on, and bounces off the borders of the picture.

A video has eight frames of 16x16 grey pixels. The shape, a disc, a square or a cross, is the class;
its size, start and velocity are random. All factors of a video are known, so that it can be
measured whether samples move as the data do.
"""

import numpy as np

from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.data.spec import Field, labelled
from gan_jax.errors import ConfigError, lookup

FRAMES, SIDE = 8, 16
NAMES = ("disc", "square", "cross")
#: Half of a shape's width in pixels, from the least to the most.
RADII = (2.0, 3.5)
#: The largest speed along each axis, in pixels per frame.
SPEED = 2.0
# The seeds of the splits: videos of one are not those of the other.
SPLITS = {"train": 2, "test": 3}


class BouncingSource(ArraySource):
    """A source of videos of bouncing shapes."""


def bouncing(split: str, size: int) -> BouncingSource:
    """Return videos ``video`` ``[8, 16, 16, 1]``, bright shapes on black, with their ``label``.

    In a set the classes take turns.

    Args:
      split: "train" or "test".
      size: number of videos.

    Raises:
      ConfigError: the split is unknown, or the size is not positive.
    """
    seed = lookup(SPLITS, split, "data.split")
    if size < 1:
        raise ConfigError(f"data.toy_size = {size}; accepted: 1 or more")
    draws = uniform(seed, (5, size))
    labels = np.arange(size) % len(NAMES)
    radius = RADII[0] + (RADII[1] - RADII[0]) * draws[0]
    low = radius - 0.5  # The centre of the first pixel is 0.
    room = SIDE - 2 * radius
    start = low + room * draws[1:3]
    velocity = SPEED * (2 * draws[3:5] - 1)
    centres = low + folded(start - low + np.arange(FRAMES)[:, None, None] * velocity, room)
    videos = np.stack([render(labels, radius, *centre) for centre in centres], axis=1)
    arrays = {"video": videos[..., None], "label": labels.astype(np.int32)}
    field = Field("video", (FRAMES, SIDE, SIDE, 1), "uint8")
    return BouncingSource("bouncing", split, arrays, labelled("video", field, NAMES))


def folded(path: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return a coordinate that moves on for ever as one that bounces between 0 and ``room``."""
    return room - np.abs(path % (2 * room) - room)


def render(
    labels: np.ndarray, radius: np.ndarray, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """Return pictures of shapes, uint8 ``[n, 16, 16]``, whose edges are one pixel wide.

    Args:
      labels: numbers of `NAMES`, ``[n]``.
      radius: half of their widths in pixels, ``[n]``.
      row: of their centres, ``[n]``, from the centre of the first pixel on.
      column: likewise.
    """
    pixels = np.arange(SIDE)
    y = np.abs(pixels[:, None] - row[:, None, None])
    x = np.abs(pixels[None, :] - column[:, None, None])
    size = radius[:, None, None]
    # Signed distances to the edge, positive inside.
    square = size - np.maximum(x, y)
    arm = size / 3 - np.minimum(x, y)
    distances = np.stack([size - np.sqrt(x**2 + y**2), square, np.minimum(square, arm)])
    chosen = distances[labels, np.arange(len(labels))]
    return np.round(255 * np.clip(chosen + 0.5, 0.0, 1.0)).astype(np.uint8)
