"""Metrics of any two sets of images: folders, zips or arrays. No model is needed."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data.sources import FolderSource, NpzSource, Source, Transform
from gan_jax.evaluation.real_images import labelled_images, real_statistics
from gan_jax.metrics import compare, extractors, names
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction
from gan_jax.report import evaluations

# Why a metric cannot be measured on two sets of images, by its kind of input.
_UNFIT = {
    "points": "of points; see fid",
    "scores": "of runs that detect anomalies; use --run",
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
      values: by metric; for pairs the mean over them.
      protocol: how they were measured, JSON-able.
    """

    values: dict[str, float]
    protocol: dict[str, Any]


def measure(
    images: str | Path,
    against: str | Path,
    metrics: Sequence[str],
    *,
    resolution: int | None = None,
    num_real: int | None = None,
    batch_size: int = 64,
    inception: str | None = None,
    border: int = 0,
) -> Comparison:
    """Measure one set of images against another, and print the result.

    Args:
      images: a folder, .zip or .npz of images: the generated or restored ones.
      against: another one: the real ones. For the classifier its sub-folders are the classes.
      metrics: names; ``psnr``, ``ssim``, ``ms_ssim`` and, of luminance, ``psnr_y`` and ``ssim_y``
        are of pairs, in the order of the files' names.
      resolution: crop every image to a centred square and make it this size.
      num_real: number of images of ``against``, a fixed random choice; ``None``: all.
      batch_size: images at a time.
      inception: converted weights of Inception; ``None``: in the cache directory.
      border: pixels at each edge of pairs that are left out.

    Raises:
      ConfigError: a metric does not exist or does not suit, or the sets cannot be paired.
      DataError: a set cannot be read, or has images of several sizes.
      MetricError: an extractor's weights are missing, or there are too few images.
    """
    parsed = [names.parse(n, extractors.EXTRACTORS, "--metrics") for n in dict.fromkeys(metrics)]
    for metric in parsed:
        unfit = "of class-conditional runs; use --run" if metric.labelled else _UNFIT.get(metric.of)
        if unfit:
            raise errors.ConfigError(f"--metrics has {metric.name!r}, which is {unfit}")
    fake, real = open_set(images, resolution), open_set(against, resolution)
    count = min(num_real or len(real), len(real))
    pairs = [metric for metric in parsed if metric.of == "pairs"]
    values: dict[str, float] = {}
    if pairs:
        _check_pairs(fake, real)
    protocol: dict[str, Any] = {
        "images": fake.fingerprint(),
        "against": real.fingerprint(),
        "n_fake": len(fake),
        "n_real": count,
        "resolution": resolution,
        "constants": compare.constants(parsed, count, len(fake)),
        "extractors": {},
    }
    setting = extractors.Setting(labelled_images(real), inception)
    used = dict.fromkeys(m.extractor for m in parsed if m.extractor is not None)
    for name, extractor in {n: extractors.make_extractor(n, setting) for n in used}.items():
        own = [m for m in parsed if m.extractor == name]
        layers = {m.name: compare.layer_of(m, extractor) for m in own}
        chosen = tuple(dict.fromkeys(layers.values()))
        extraction = Extraction(extractor, chosen, jax.devices(), batch_size)
        needs = [compare.needs(own, layers, fake=is_fake) for is_fake in (False, True)]
        real_side = real_statistics(real, count, extraction, needs[0])
        fake_side = real_statistics(fake, len(fake), extraction, needs[1])
        values |= compare.compare(own, layers, real_side, fake_side)
        protocol["extractors"][name] = dict(extractor.protocol)
    if pairs:
        protocol["border"] = border
    values |= _pair_values(pairs, fake, real, batch_size, border)
    evaluations.table([(fake.name, values, {})], note=_words(protocol))
    return Comparison(values, protocol)


def open_set(path: str | Path, resolution: int | None = None) -> Source:
    """Return the images at a path: a folder, a .zip or a place in one, or an .npz.

    Raises:
      DataError: there are none, or they cannot be read.
    """
    transform = Transform(resolution, None, "resize")
    if Path(path).suffix.lower() == ".npz":
        return NpzSource(path, "all", transform)
    return FolderSource(path, "all", transform)


def _check_pairs(fake: Source, real: Source) -> None:
    """Check that two sets can be paired: equal counts, sizes and, of files, names."""
    if len(fake) != len(real) or fake.shape != real.shape:
        raise errors.ConfigError(
            f"--metrics has measures of pairs, but {fake.name} is {len(fake)} of {fake.shape} and "
            f"{real.name} {len(real)} of {real.shape}; accepted: as many, of one shape"
        )
    if not (isinstance(fake, FolderSource) and isinstance(real, FolderSource)):
        return
    for i in range(len(fake)):
        one, other = Path(fake.item_name(i)), Path(real.item_name(i))
        if one.stem != other.stem:
            raise errors.ConfigError(
                f"--metrics has measures of pairs, but image {i} is {one} here and {other} there; "
                "accepted: folders with the same names"
            )


def _pair_values(
    metrics: Sequence[Metric], fake: Source, real: Source, batch_size: int, border: int
) -> dict[str, float]:
    found: dict[str, list[np.ndarray]] = {metric.name: [] for metric in metrics}
    for first in range(0, len(fake), batch_size) if metrics else ():
        chosen = range(first, min(first + batch_size, len(fake)))
        one, other = fake.read(chosen)["image"], real.read(chosen)["image"]
        for metric in metrics:
            values = compare.pair_values(metric.statistic, one, other, border=border)
            found[metric.name].append(np.asarray(values))
    return {name: float(np.mean(np.concatenate(rows))) for name, rows in found.items()}


def _words(protocol: Mapping[str, Any]) -> str:
    parts = [f"{protocol['n_fake']:,} images against {protocol['n_real']:,}"]
    for extractor in protocol["extractors"].values():
        parts += [f"{key} {value}" for key, value in extractor.items()]
    return "; ".join(parts)
