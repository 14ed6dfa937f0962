"""Metrics of arrays of images: one call for several of them.

values = gan_jax.metrics.measure(samples, photographs, ["fid", "kid", "precision"])
distance = gan_jax.metrics.fid(samples, photographs)
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from gan_jax import errors
from gan_jax.metrics import compare, extractors, names, statistics
from gan_jax.metrics.statistics import Extraction


def measure(
    images: np.ndarray,
    against: np.ndarray,
    metrics: Sequence[str] = ("fid",),
    *,
    inception: str | Path | None = None,
    batch_size: int = 64,
    border: int = 0,
) -> dict[str, float]:
    """Return metrics of one set of images against another, by name.

    Args:
      images: uint8 ``[n, height, width, channels]``: generated or restored images.
      against: uint8 ``[m, height, width, channels]``: real images; for metrics of pairs the target
        of each image.
      metrics: names of `gan_jax.metrics.names`, such as ``fid``, ``kid768``, ``precision``, ``is``
        (all of Inception features), ``psnr``, ``ssim`` (means over pairs).
      inception: the file of converted Inception weights; ``None``: in the cache directory.
      batch_size: images at a time.
      border: pixels at each edge of pairs that are left out.

    Raises:
      ConfigError: a metric does not exist, or is not one of two sets of images.
      MetricError: the weights are missing, the arrays do not suit, or there are too few images.
    """
    parsed = [names.parse(n, extractors.EXTRACTORS, "metrics") for n in dict.fromkeys(metrics)]
    for metric in parsed:
        if metric.of not in ("images", "pairs") or metric.labelled:
            raise errors.ConfigError(
                f"metrics has {metric.name!r}, which is not a metric of two sets of images"
            )
    for name, array in (("images", images), ("against", against)):
        if array.ndim != 4 or array.dtype != np.uint8:
            raise errors.MetricError(
                f"{name} is {array.dtype} {list(array.shape)}; accepted: uint8 "
                "[n, height, width, channels]"
            )
    if images.shape[1:] != against.shape[1:]:
        raise errors.MetricError(
            f"images is {list(images.shape)} and against {list(against.shape)}; accepted: images "
            "of one shape, prepared alike"
        )
    values: dict[str, float] = {}
    setting = extractors.Setting(None, inception)
    for name in dict.fromkeys(m.extractor for m in parsed if m.extractor is not None):
        extractor = extractors.make_extractor(name, setting)
        own = [m for m in parsed if m.extractor == name]
        layers = {m.name: compare.layer_of(m, extractor) for m in own}
        extraction = Extraction(
            extractor, tuple(dict.fromkeys(layers.values())), jax.devices(), batch_size
        )
        real, fake = (
            statistics.collect(
                extraction,
                _batches(array, extraction.batch_size),
                len(array),
                compare.needs(own, layers, fake=array is images),
            )
            for array in (against, images)
        )
        values |= compare.compare(own, layers, real, fake)
    for metric in parsed:
        if metric.of == "pairs":
            rows = [
                np.asarray(compare.pair_values(metric.statistic, *both, border=border))
                for both in zip(
                    _batches(images, batch_size), _batches(against, batch_size), strict=True
                )
            ]
            values[metric.name] = float(np.mean(np.concatenate(rows)))
    return values


def fid(images: np.ndarray, against: np.ndarray, *, inception: str | Path | None = None) -> float:
    """Return the Frechet Inception Distance (Heusel et al. 2017, 1706.08500); see `measure`."""
    return measure(images, against, ["fid"], inception=inception)["fid"]


def kid(images: np.ndarray, against: np.ndarray, *, inception: str | Path | None = None) -> float:
    """Return the Kernel Inception Distance (Binkowski et al. 2018, 1801.01401); see `measure`."""
    return measure(images, against, ["kid"], inception=inception)["kid"]


def _batches(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(array), size):
        yield array[first : first + size]
