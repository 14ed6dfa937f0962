"""Stored videos as extractors see them, and the metrics of videos that need no extractor."""

import dataclasses

import numpy as np

from gan_jax.data.sources.bouncing import RADII, SPEED, folded
from gan_jax.data.spec import Field
from gan_jax.metrics import video
from gan_jax.metrics.extractors import Labelled

# How near a shape's centre comes to the border: 1.5 to 3 pixels from that of the outermost pixel.
_MARGINS = np.linspace(RADII[0] - 0.5, RADII[1] - 0.5, 7)


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
