"""Measures of videos: what a classifier of images sees of them, and the error of their motion.

A classifier sees a video as one image whose channels are the frames.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gan_jax.errors import MetricError
from gan_jax.metrics.extractor import Extractor


def as_image(videos: Any) -> Any:
    """Return videos ``[n, frames, height, width, channels]`` as images of all frames' channels.

    Returns:
      ``[n, height, width, frames * channels]``, of the same dtype; NumPy or JAX as given.
    """
    n, frames, height, width, channels = videos.shape
    return videos.transpose(0, 2, 3, 1, 4).reshape(n, height, width, frames * channels)


def by_frames(extractor: Extractor) -> Extractor:
    """Return an extractor of videos, given that of their frames as channels of an image."""

    def of(inner: Callable[..., Any]) -> Callable[..., Any]:
        return lambda variables, videos, layers: inner(variables, as_image(videos), layers)

    return dataclasses.replace(
        extractor,
        apply=of(extractor.apply),
        protocol={**extractor.protocol, "input": "frames as channels"},
        of_floats=None if extractor.of_floats is None else of(extractor.of_floats),
    )


def centroids(videos: np.ndarray) -> np.ndarray:
    """Return the centres of brightness, float64 ``[n, frames, 2]``: row and column of a pixel.

    Args:
      videos: ``[n, frames, height, width, channels]``, 0 for black. A black frame's centre is the
        picture's.
    """
    weights = np.asarray(videos, np.float64).mean(axis=-1)
    total = weights.sum(axis=(2, 3))
    centres = []
    for axis in (2, 3):
        along = np.arange(weights.shape[axis])
        moment = (weights.sum(axis=5 - axis) * along).sum(axis=-1)
        middle = (weights.shape[axis] - 1) / 2
        centres.append(np.where(total > 0, moment / np.where(total > 0, total, 1), middle))
    return np.stack(centres, axis=-1)


def centred(videos: np.ndarray) -> np.ndarray:
    """Return videos whose frames are moved by whole pixels so that their centres are in the middle.

    What moves in at the borders is black. The middle pixel is that at half of height and width.

    Args:
      videos: as for `centroids`.
    """
    n, frames, height, width, _ = videos.shape
    rows, columns = np.moveaxis(np.rint(centroids(videos)).astype(int), -1, 0)[..., None]
    around = [(size // 2, size - size // 2) for size in (height, width)]
    padded = np.pad(videos, [(0, 0), (0, 0), *around, (0, 0)])
    rows, columns = rows + np.arange(height), columns + np.arange(width)
    first, second = np.arange(n)[:, None, None, None], np.arange(frames)[:, None, None]
    return padded[first, second, rows[..., :, None], columns[..., None, :]]


def motion_error(
    videos: np.ndarray, path: Callable[..., np.ndarray], margins: np.ndarray, speed: float
) -> float:
    """Return how far centres of brightness are from the nearest path of straight bouncing motion.

    It is the root mean square, in pixels, over all frames of all videos. The nearest of many paths
    is found among starts a quarter of a pixel apart, and velocities ``speed / 32`` apart.

    Args:
      videos: ``[n, frames, height, width, channels]``, of a bright thing on black; square frames.
      path: folds a coordinate that moves on for ever to one between 0 and its second argument.
      margins: distances from the border at which a thing's centre may turn, tried one by one.
      speed: the largest velocity along an axis, in pixels per frame.

    Raises:
      MetricError: there are no videos.
    """
    if not len(videos):
        raise MetricError("there are no videos; accepted: one or more")
    side, time = videos.shape[2], np.arange(videos.shape[1])
    found = centroids(videos)
    velocities = np.linspace(-speed, speed, 65)
    squares = []
    for margin in margins:
        room = side - 1 - 2 * margin
        starts = np.arange(0.0, room + 0.25, 0.25)
        moves = starts[:, None, None] + velocities[None, :, None] * time
        paths = margin + path(moves, np.float64(room)).reshape(-1, len(time))
        squares.append(_nearest(found[..., 0], paths) + _nearest(found[..., 1], paths))
    return float(np.sqrt(np.min(squares, axis=0).mean() / len(time)))


def _nearest(points: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Return the squared distance of each of ``[n, d]`` from the nearest of ``[m, d]``."""
    chunks = np.array_split(points, max(1, len(points) // 256))
    least = [
        ((part**2).sum(1)[:, None] - 2 * part @ paths.T + (paths**2).sum(1)).min(axis=1)
        for part in chunks
    ]
    return np.maximum(np.concatenate(least), 0.0)
