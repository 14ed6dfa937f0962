"""Do samples serve to train a classifier? GAN-train, GAN-test, and samples beside real images.

"How good is my GAN?", Shmelkov, Alahari and Schmid 2018, https://arxiv.org/abs/1807.09499.
GAN-train is also known as the classification accuracy score ("Classification Accuracy Score for
Conditional Generative Models", Ravuri and Vinyals 2019, https://arxiv.org/abs/1905.10887). The
papers train residual networks; here it is the small network of `gan_jax.metrics.classifier`.

- ``gan_train``: trained on samples, tested on held-out images. It is low where samples are of poor
  quality, of the wrong class, or alike.
- ``gan_test``: trained on real images, tested on samples. It is high where samples show the class
  that was asked for, even if they are all alike.
- ``gan_augment10``, ``gan_augment100``, ``gan_augment``: trained on 10, 100 or all real images of
  each class and on the samples, tested on held-out images.

Beside them are ``real_train10``, ``real_train100``, ``real_train``: trained on the same real images
alone. Samples help where ``gan_augment10`` is above ``real_train10``.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gan_jax.errors import MetricError
from gan_jax.metrics import classifier

LABELS: Mapping[str, int | None] = {
    "gan_train": None,
    "gan_test": None,
    "gan_augment": None,
    "gan_augment10": 10,
    "gan_augment100": 100,
}
"""The real images of each class by measure; ``None``: all."""


class LabelledImages(NamedTuple):
    """Images, uint8 ``[n, height, width, channels]``, and their classes, integers ``[n]``."""

    images: np.ndarray
    labels: np.ndarray


def accuracies(
    measures: Sequence[str],
    real: LabelledImages,
    held_out: LabelledImages,
    samples: LabelledImages,
    num_classes: int,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Return some measures by name, and beside them those of the same real images alone.

    Args:
      measures: keys of `LABELS`.
      real: images that classifiers may learn from.
      held_out: real images to test on.
      samples: generated images and the classes that they were asked for.
      num_classes: number of classes.
      seed: of the choice of real images, and of each classifier.

    Raises:
      MetricError: a class has too few images, or a set does not suit a classifier.
    """

    def trained(images: LabelledImages) -> classifier.Classifier:
        return classifier.train_classifier(*images, num_classes, seed=seed, tested=held_out)

    @functools.cache
    def chosen(count: int | None) -> LabelledImages:
        return real if count is None else of_each_class(real, count, num_classes, seed)

    @functools.cache
    def trained_on_real(count: int | None) -> classifier.Classifier:
        return trained(chosen(count))

    values: dict[str, float] = {}
    for measure in measures:
        count = LABELS[measure]
        if measure == "gan_train":
            values[measure] = trained(samples).accuracy
        elif measure == "gan_test":
            values[measure] = classifier.accuracy_of(trained_on_real(count), *samples)
        else:
            both = zip(chosen(count), samples, strict=True)
            values[measure] = trained(LabelledImages(*map(np.concatenate, both))).accuracy
    for count in dict.fromkeys(LABELS[measure] for measure in measures):
        values[f"real_train{count or ''}"] = trained_on_real(count).accuracy
    return values


def of_each_class(
    images: LabelledImages, count: int, num_classes: int, seed: int
) -> LabelledImages:
    """Return ``count`` images of each class, a random choice.

    Raises:
      MetricError: a class has fewer.
    """
    check_labels(images.labels, count, num_classes)
    order = np.random.default_rng([seed, count]).permutation(len(images.labels))
    each = [order[images.labels[order] == k][:count] for k in range(num_classes)]
    chosen = np.concatenate(each)
    return LabelledImages(images.images[chosen], images.labels[chosen])


def check_labels(labels: np.ndarray, count: int, num_classes: int) -> None:
    """Raise a `MetricError` unless each class has ``count`` images."""
    found = np.bincount(labels, minlength=num_classes)
    if found.min() < count:
        raise MetricError(
            f"class {found.argmin()} has {found.min()} images; accepted: {count} or more"
        )
