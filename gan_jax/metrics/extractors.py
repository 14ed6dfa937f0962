"""The feature extractors by name: an open registry of functions from images to features.

A new one is a function and an entry::

    EXTRACTORS["mine"] = lambda setting: from_function("mine", features, width=512, weights="v1")

after which ``mine_fid``, ``mine_precision``, ... are metrics.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import cache, errors
from gan_jax.metrics import classifier, classifier_files, inception
from gan_jax.metrics.extractor import Extractor


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A set of images, or of data shown as images, on which a classifier may be trained.

    Attributes:
      name: its name in messages.
      num_classes: number of classes; ``None``: it is not labelled.
      fingerprint: identity of its content.
      read: returns images, uint8 ``[n, height, width, channels]``, and labels, int32 ``[n]``.
      adapted: from the extractor of such images to that of the data points, where these are
        something else: images stacked, or sound.
      vertical: as for `classifier.train_classifier`.
    """

    name: str
    num_classes: int | None
    fingerprint: str
    read: Callable[[], tuple[np.ndarray, np.ndarray]]
    adapted: Callable[[Extractor], Extractor] = lambda extractor: extractor
    vertical: bool = True


@dataclasses.dataclass(frozen=True)
class Setting:
    """Resources from which extractors are made.

    Attributes:
      labelled: the images on which an extractor may be trained; ``None``: there are none.
      inception: file of the converted Inception weights; ``None``: in the cache directory.
      kept: the folder of a run's own classifier; ``None``: in the cache directory alone.
    """

    labelled: Labelled | None = None
    inception: str | Path | None = None
    kept: Path | None = None


def _inception(setting: Setting) -> Extractor:
    return inception.make_inception(setting.inception)


def _classifier(setting: Setting) -> Extractor:
    labelled = setting.labelled
    if labelled is None or (labelled.num_classes or 0) < 2:
        what = "there is none" if labelled is None else f"{labelled.name} has fewer"
        raise errors.ConfigError(
            "eval.metrics asks for the classifier, which learns from a training set with labels "
            f"of two classes or more, and {what}; accepted: Inception's metrics, such as fid"
        )
    trained = classifier_files.cached_classifier(
        [*([setting.kept] if setting.kept is not None else []), cache.root() / "classifiers"],
        labelled.fingerprint,
        labelled.read,
        labelled.num_classes or 0,
        vertical=labelled.vertical,
    )
    return labelled.adapted(classifier.make_extractor(trained))


EXTRACTORS: dict[str, Callable[[Setting], Extractor]] = {
    "inception": _inception,
    "classifier": _classifier,
}


def make_extractor(name: str, setting: Setting) -> Extractor:
    """Return an extractor by name; the classifier is trained unless it is cached.

    Raises:
      ConfigError: the name is unknown, or the setting lacks a resource of the extractor.
      MetricError: its weights are missing or damaged.
    """
    return errors.lookup(EXTRACTORS, name, "extractor")(setting)


def from_function(
    name: str, function: Callable[[jax.Array], jax.Array], *, width: int, weights: str
) -> Extractor:
    """Return the extractor of a pure function from images to features.

    Args:
      name: prefix of its metrics.
      function: uint8 ``[n, height, width, channels]`` -> float32 ``[n, width]``; it must be
        jittable and treat every image independently.
      width: width of its features.
      weights: identity of the function in records; change it whenever the function changes.
    """

    def apply(_: Any, images: jax.Array, layers: tuple[str, ...]) -> dict[str, jax.Array]:
        del layers
        return {"features": function(images)}

    protocol = {"extractor": name, "weights": weights}
    return Extractor(name, {"features": width}, "features", None, (), apply, protocol)
