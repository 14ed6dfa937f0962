"""Stored videos as extractors see them, and the metrics of videos that need no extractor."""

import dataclasses
import functools

import numpy as np

from gan_jax.data.sources.bouncing import NAMES, RADII, SIDE, SPEED, folded, render
from gan_jax.data.spec import Field
from gan_jax.metrics import compare, templates, video
from gan_jax.metrics.extractors import Labelled

# How near a shape's centre comes to the border: 1.5 to 3 pixels from that of the outermost pixel.
_MARGINS = np.linspace(RADII[0] - 0.5, RADII[1] - 0.5, 7)
# Centres of templates relative to the middle pixel, to which the brightest centre is rounded.
_OFFSETS = np.linspace(-0.75, 0.75, 7)


def picture_shape(field: Field) -> tuple[int, int, int]:
    """Return the shape of the image that a classifier sees of a video."""
    frames, height, width, channels = field.shape
    return height, width, frames * channels


def learnt(labelled: Labelled, field: Field) -> Labelled:
    """Return what a classifier of videos as images learns from, given the videos.

    Args:
      labelled: of stored videos.
      field: of the videos.
    """
    del field

    def read() -> tuple[np.ndarray, np.ndarray]:
        stored, labels = labelled.read()
        return video.as_image(stored), labels

    identity = f"{labelled.fingerprint}; frames as channels"
    return dataclasses.replace(labelled, read=read, fingerprint=identity, adapted=video.by_frames)


def motion_error(stored: np.ndarray) -> float:
    """Return the error of the motion of stored videos like those of the source `bouncing`."""
    return video.motion_error(stored, folded, _MARGINS, SPEED)


@functools.cache
def _shapes() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of all shapes near the middle, uint8 ``[m, 16, 16]``, and their labels."""
    axes = (
        np.arange(len(NAMES)),
        np.linspace(*RADII, 7),
        SIDE // 2 + _OFFSETS,
        SIDE // 2 + _OFFSETS,
    )
    labels, radius, row, column = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
    return render(labels, radius, row, column), labels


def shape_metrics(stored: np.ndarray) -> dict[str, float]:
    """Return how constant and how exact the shapes of videos like those of `bouncing` are.

    A frame's shape is that of the nearest picture of one, by the sum of squared differences.

    Args:
      stored: uint8 ``[n, frames, 16, 16, 1]``.

    Returns:
      ``shape_constancy``, the share of videos all of whose frames show the same shape, and
      ``shape_error``, the root mean square difference of frames from the nearest picture, of gray
      values from 0 to 1.
    """
    pictures, labels = _shapes()
    frames = video.centred(stored)[..., 0].reshape(-1, SIDE, SIDE)
    chosen = templates.nearest(frames, pictures)
    found = labels[chosen].reshape(stored.shape[:2])
    difference = (frames.astype(np.float64) - pictures[chosen]) / 255
    return {
        "shape_constancy": float(np.mean((found == found[:, :1]).all(axis=1))),
        "shape_error": float(np.sqrt(np.mean(difference**2))),
    }


def pair_values(
    statistic: str, outputs: np.ndarray, targets: np.ndarray, most: float
) -> np.ndarray:
    """Return a metric of pairs for each video, float32 ``[n]``: of one frame, or the mean over all.

    Args:
      statistic: a key of `gan_jax.metrics.names.PAIR_STATISTICS` or `VIDEO_PAIR_STATISTICS` there.
      outputs: uint8 ``[n, frames, height, width, channels]``.
      targets: likewise.
      most: the largest value of a frame, in place of larger ones.
    """
    name, _, which = statistic.partition("_")
    if which in ("first", "last"):
        chosen = slice(1) if which == "first" else slice(-1, None)
        return pair_values(name, outputs[:, chosen], targets[:, chosen], most)
    made, clean = (x.reshape(-1, *x.shape[2:]) for x in (outputs, targets))
    found = np.minimum(compare.pair_values(statistic, made, clean), most)
    return np.mean(np.reshape(found, outputs.shape[:2]), axis=1)
