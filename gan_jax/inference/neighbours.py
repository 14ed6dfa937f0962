"""The training images nearest to samples: does a generator memorise its training set?

A sample that repeats a training image lies far nearer to it than training images lie to each other.
So the distances of samples to their nearest training image are compared with those of training
images to their nearest *other* one (leave-one-out). Where the training mirrors its images, mirrored
ones count as training images too.
"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import pipeline as pipelines
from gan_jax.data.sources import Source
from gan_jax.evaluation.real_images import labelled_images
from gan_jax.metrics import extractors
from gan_jax.metrics.nearest import Nearest, nearest
from gan_jax.metrics.statistics import Extraction
from gan_jax.report.bar import Advance

#: What distances are measured in.
FEATURES = ("pixels", "classifier")
#: Samples, and training images, whose distances are compared.
COMPARED = 500
# Bytes of float32 rows that are compared at a time.
_CHUNK_BYTES = 64 * 2**20

# Images, uint8 [n, h, w, c], to rows [n, width] between which distances are measured.
Describe = Callable[[np.ndarray], np.ndarray]


def nearest_images(
    images: np.ndarray,
    source: Source,
    k: int,
    describe: Describe,
    *,
    own: np.ndarray | None = None,
    mirror: bool = False,
    advance: Advance = lambda done: None,
) -> Nearest:
    """Return the ``k`` nearest images of a source; it is read in parts, whatever its size.

    Args:
      images: uint8 ``[m, height, width, channels]``.
      source: of images of that shape.
      k: as for `nearest`.
      describe: `pixels`, or what `classifier_features` returns.
      own: as for `nearest`.
      mirror: compare with mirrored images, too.
      advance: called with the number of images of the source that were compared.
    """
    queries = describe(images)
    mirrored = describe(images[:, :, ::-1]) if mirror else None
    chunks = _chunks(source, describe, queries.shape[1], advance)
    return nearest(queries, chunks, k, mirrored=mirrored, own=own)


def _chunks(
    source: Source, describe: Describe, width: int, advance: Advance
) -> Iterator[np.ndarray]:
    pixels_of_one = int(np.prod(source.shape))
    size = max(1, _CHUNK_BYTES // (4 * max(width, pixels_of_one)))
    for first in range(0, len(source), size):
        part = range(first, min(first + size, len(source)))
        yield describe(pipelines.load(source, indices=part)["image"])
        advance(part.stop)


def pixels(images: np.ndarray) -> np.ndarray:
    """Return each image's pixels in a row; distances are then in levels from 0 to 255."""
    return images.reshape(len(images), -1)


def classifier_features(source: Source, batch_size: int = 256) -> Describe:
    """Return what gives the features of the small classifier that learns from a source.

    Side effect: trains it, unless it is in the cache directory.

    Raises:
      ConfigError: the source has no labels of two classes or more.
      MetricError: it has too few images.
    """
    check_features("classifier", source)
    setting = extractors.Setting(labelled_images(source))
    extractor = extractors.make_extractor("classifier", setting)
    extraction = Extraction(extractor, (extractor.default,), jax.devices(), batch_size)

    def describe(images: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(images), extraction.batch_size):
            part = images[first : first + extraction.batch_size]
            parts.append(np.asarray(extraction(part)[extractor.default])[: len(part)])
        return np.concatenate(parts)

    return describe


def check_features(features: str, source: Source) -> None:
    """Check that distances can be measured in ``features``.

    Raises:
      ConfigError: they are unknown, or the source has not the labels that they need.
    """
    errors.lookup(dict.fromkeys(FEATURES), features, "features")
    if features == "classifier" and (source.num_classes or 0) < 2:
        raise errors.ConfigError(
            f"features = 'classifier', but {source.name} has no labels to train one with; "
            "accepted: pixels"
        )


@dataclasses.dataclass(frozen=True)
class Memory:
    """The result of a memorisation check.

    Attributes:
      near: the nearest training images of the samples.
      samples: mean distance of the samples to their nearest training image.
      real: the same of training images to the nearest other one.
      count: samples.
      real_count: training images.
    """

    near: Nearest
    samples: float
    real: float
    count: int
    real_count: int

    @property
    def words(self) -> str:
        """The comparison in one line."""
        ratio = f"{self.samples / self.real:.3g}" if self.real else "none"
        return (
            f"mean distance to the nearest training image: {self.count:,} samples "
            f"{self.samples:.4g}, {self.real_count:,} training images (to another one) "
            f"{self.real:.4g}; ratio {ratio}, far below 1 where training images are repeated"
        )


def check_memory(
    samples: np.ndarray,
    source: Source,
    k: int,
    describe: Describe,
    *,
    mirror: bool = False,
    compared: int = COMPARED,
    advance: Advance = lambda done: None,
) -> Memory:
    """Return the nearest training images of samples, and how near real ones lie to each other.

    The distances of at most ``compared`` training images are taken, a fixed random choice.
    ``advance`` is called with the number of training images that were searched, up to twice the
    set; the other arguments are those of `nearest_images`.
    """
    near = nearest_images(samples, source, k, describe, mirror=mirror, advance=advance)
    chosen = np.sort(np.random.default_rng(0).permutation(len(source))[:compared])
    images = pipelines.load(source, indices=chosen.tolist())["image"]
    real = nearest_images(
        images,
        source,
        1,
        describe,
        own=chosen,
        mirror=mirror,
        advance=lambda done: advance(len(source) + done),
    )
    means = [float(found.distance[:, 0].mean()) for found in (near, real)]
    return Memory(near, means[0], means[1], len(samples), len(images))


def picture_rows(samples: np.ndarray, near: Nearest, source: Source) -> np.ndarray:
    """Return rows of a picture, uint8 ``[m, 1 + k, height, width, channels]``.

    A row is a sample, then its nearest images as they were compared; ``near`` may be of more.
    """
    index, mirrored = near.index[: len(samples)], near.mirrored[: len(samples)]
    images = source.read(index.ravel().tolist())["image"].reshape(*index.shape, *source.shape)
    images = np.where(mirrored[..., None, None, None], images[:, :, :, ::-1], images)
    return np.concatenate([samples[:, None], images], axis=1)
