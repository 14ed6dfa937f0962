"""Membership inference: can the images that a GAN was trained on be distinguished from others?

An attacker gives each image a score that is to be higher for training images. The area under the
ROC is 0.5 where that is impossible, and 1 where all training images score above all others.

- The discriminator's score of an image: "LOGAN: Membership Inference Attacks Against Generative
  Models", Hayes et al. 2019, https://arxiv.org/abs/1705.07663.
- The distance to the nearest of many samples, smaller for training images: "GAN-Leaks: A Taxonomy
  of Membership Inference Attacks against Generative Models", Chen et al. 2020,
  https://arxiv.org/abs/1909.03935.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.metrics import detection
from gan_jax.metrics.nearest import nearest

# Images, and at most samples and bytes of their float32 rows, that are compared at a time.
_IMAGES = 512
_SAMPLES = 2**15
_BYTES = 64 * 2**20


class Inference(NamedTuple):
    """The area under the ROC, and its standard error over the choice of the images."""

    auroc: float
    standard_error: float


def infer(members: np.ndarray, others: np.ndarray) -> Inference:
    """Return how well scores distinguish members from others.

    Args:
      members: scores of training images, finite numbers ``[m]``, ``m >= 2``.
      others: scores of images that were not trained on, ``[n]``, ``n >= 2``.

    Raises:
      MetricError: there are too few scores, or one is not finite.
    """
    scores = np.concatenate([members, others])
    is_member = np.arange(len(scores)) < len(members)
    return Inference(
        detection.auroc(scores, is_member), detection.auroc_standard_error(scores, is_member)
    )


def nearness(
    images: np.ndarray, samples: np.ndarray, *, mirrored: np.ndarray | None = None
) -> np.ndarray:
    """Return minus the distance of each image to its nearest sample, float64 ``[m]``.

    Args:
      images: pixels or features, numbers ``[m, d]``.
      samples: likewise, ``[n, d]``.
      mirrored: those of the mirrored images, where a generator may make either; the nearer counts.
    """
    size = max(1, min(_SAMPLES, _BYTES // (4 * samples.shape[1])))
    found = []
    for start in range(0, len(images), _IMAGES):
        part = slice(start, start + _IMAGES)
        chunks = (samples[first : first + size] for first in range(0, len(samples), size))
        other = None if mirrored is None else mirrored[part]
        found.append(nearest(images[part], chunks, 1, mirrored=other).distance[:, 0])
    return -np.concatenate(found)
