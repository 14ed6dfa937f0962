"""Stacked digits: three digits as the channels of one colour image, a mixture of 1,000 known modes.

The test of mode coverage of "Unrolled Generative Adversarial Networks" (Metz et al. 2017,
https://arxiv.org/abs/1611.02163, section 3.3), there with MNIST, here with scikit-learn's scanned
digits.
"""

import dataclasses
import itertools

import numpy as np

from gan_jax.data.sources.base import ArraySource, image_source
from gan_jax.data.sources.digits import digits
from gan_jax.data.sources.draws import uniform
from gan_jax.data.sources.images import Transform
from gan_jax.errors import ConfigError, require

CHANNELS = 3


class StackedSource(ArraySource):
    """Colour images whose channels are grey images of another source, drawn at random.

    The label is the number whose digits are the classes of red, green and blue. Example ``i`` is
    the same for every size.

    Args:
      name: short name, for records.
      parts: labelled images ``[height, width, 1]``.
      size: number of examples.

    Attributes:
      parts: as given.
      modes: the number of classes, which the draws are spread over.
    """

    def __init__(self, name: str, parts: ArraySource, size: int):
        if size < 1:
            raise ConfigError(f"data.toy_size = {size}; accepted: 1 or more")
        chosen = (uniform(0, (size, CHANNELS)) * len(parts)).astype(int)
        grey, classes = parts.arrays["image"][..., 0], parts.arrays["label"]
        names = [
            "".join(each) for each in itertools.product(parts.class_names or (), repeat=CHANNELS)
        ]
        self.parts, self.modes = parts, len(names)
        count = parts.num_classes or 0
        labels = classes[chosen] @ np.array([count**2, count, 1])
        whole = image_source(
            name, parts.split, np.stack(list(grey[chosen.T]), axis=-1), labels, names
        )
        super().__init__(name, parts.split, whole.arrays, whole.spec)


def stacked_digits(split: str, transform: Transform, size: int) -> StackedSource:
    """Return stacked digits; the splits are made of the digits of these splits, and share none.

    Args:
      split: "train", "test" or "all", as for `digits`.
      transform: the wanted size; None keeps 8x8.
      size: number of images.

    Raises:
      ConfigError: the split is unknown, the images would not be in colour, or the size is not
        positive.
      DataError: scikit-learn's file is missing.
    """
    good = transform.channels in (None, CHANNELS)
    require(good, "data.channels", transform.channels, f"{CHANNELS}, or None, for stacked_digits")
    parts = digits(split, dataclasses.replace(transform, channels=1))
    return StackedSource("stacked_digits", parts, size)
