"""The real images of an evaluation: which ones, and their statistics, cached."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gan_jax import cache, errors
from gan_jax.data import order, sources
from gan_jax.data import pipeline as pipelines
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source
from gan_jax.data.sources.base import content_hash
from gan_jax.evaluation import sounds, videos
from gan_jax.evaluation.settings import Settings
from gan_jax.metrics import stacked, statistics
from gan_jax.metrics.extractors import Labelled
from gan_jax.metrics.statistics import Extraction, Statistics

#: Images at most that a classifier is trained on.
LABELLED = 25_000
# What extractors see of data that are no images, by their kind.
VIEWS: Mapping[str, ModuleType] = {"audio": sounds, "spectrogram": sounds, "video": videos}
# The splits of images that are not trained on, the preferred one first.
_HELD_OUT = ("test", "val")
# Data points whose prepared values are part of a cache's key.
_COMPARED = 64


def real_statistics(
    source: Source,
    count: int,
    extraction: Extraction,
    needs: statistics.Needs,
    images: np.ndarray | None = None,
) -> Statistics:
    """Return statistics of a source's images, from the cache directory if they are there.

    Args:
      source: of the images.
      count: how many of them; fewer than all are a fixed random choice.
      extraction: the network.
      needs: what to keep, by layer.
      images: all images of the source, where they are in memory anyway.
    """
    chosen = order.subset(len(source), count)
    identity = {"data": _prepared(source, images)}
    if isinstance(source, sources.FileSource):
        identity["content"] = source.content(chosen.tolist())
    size = extraction.batch_size
    parts = (chosen[first : first + size] for first in range(0, count, size))
    batches = (
        specs.data(source.read(part.tolist()), source.spec) if images is None else images[part]
        for part in parts
    )
    folder = cache.root() / "statistics"
    return statistics.cached(folder, identity, extraction, batches, count, needs)


def real_source(config: Any, settings: Settings, source: Source) -> Source:
    """Return what a run is measured against: another split of its data, or its own."""
    if settings.split in (None, config.data.split):
        return source
    fields = ConfigDict(config.data.to_dict())
    fields.split = settings.split
    return sources.make_source(fields)


def held_out(fields: ConfigDict) -> tuple[Source, str]:
    """Return the source of the test or validation split, or of the training's if it has neither.

    Args:
      fields: ``config.data`` of a run.

    Returns:
      The source, and the name of the split.

    Raises:
      ConfigError: it is unclear what such a split has.
      DataError: its images cannot be used.
    """
    # An archive of arrays has no splits, and what was not trained on "train" may have seen all.
    if fields.name != "npz" and fields.split.startswith("train"):
        for split in _HELD_OUT:
            other = ConfigDict(fields.to_dict())
            other.split = split
            with contextlib.suppress(errors.UnknownNameError):  # There is no such split.
                return sources.make_source(other), split
    return sources.make_source(fields), fields.split


def taught(source: Source) -> Source:
    """Return the labelled images that a classifier of a source's images learns from.

    Of stacked images, each channel is classified by itself.
    """
    whole = source.source if isinstance(source, sources.Subset) else source
    return whole.parts if isinstance(whole, sources.StackedSource) else source


def labelled_images(source: Source, data: Mapping[str, np.ndarray] | None = None) -> Labelled:
    """Return what a classifier can learn from; a large set is not read as a whole.

    It learns from the pictures of sounds and videos, see `VIEWS`.

    Args:
      source: of the images.
      data: its arrays, where they are in memory anyway.
    """
    if (parts := taught(source)) is not source:
        adapted = functools.partial(stacked.by_channel, channels=source.shape[-1])
        return dataclasses.replace(labelled_images(parts), adapted=adapted)

    def read() -> tuple[np.ndarray, np.ndarray]:
        chosen = order.subset(len(source), min(len(source), LABELLED))
        if data:
            found = {name: array[chosen] for name, array in data.items()}
        else:
            found = pipelines.load(source, indices=chosen.tolist())
        return specs.data(found, source.spec), found["label"]

    held = specs.data(data, source.spec) if data else None
    labelled = Labelled(source.name, source.num_classes, _prepared(source, held), read)
    if (view := VIEWS.get(source.field.kind)) is None:
        return labelled
    return view.learnt(labelled, source.field)


def _prepared(source: Source, held: np.ndarray | None) -> str:
    """Return the identity of a source's data points as they are prepared.

    A fingerprint is that of the files, whatever way they are brought to one size. ``held`` are the
    data points, where they are in memory anyway.
    """
    chosen = np.unique(np.linspace(0, len(source) - 1, _COMPARED).astype(int)).tolist()
    points = (specs.data(source[i], source.spec) if held is None else held[i] for i in chosen)
    return f"{source.fingerprint()}:{content_hash(x.tobytes() for x in points)}"
