"""Metrics of any two sets of images: folders, zips or arrays. No model is needed."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data.sources import FolderSource, NpzSource, Source, Transform
from gan_jax.data.sources.twins import partners
from gan_jax.evaluation.real_images import labelled_images, real_statistics
from gan_jax.metrics import compare, extractors, names
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction
from gan_jax.report import evaluations

# Why a metric cannot be measured on two sets of images, by its kind of input.
_UNFIT = {
    "points": "of points; see fid",
    "paths": "of samples along a way between two; use --run",
    "scores": "of runs that detect anomalies; use --run",
    "held_out": "of runs and of images that they were not trained on; use --run",
}

Resolution = int | tuple[int, int] | None


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
    resolution: Resolution = None,
    resize: str = "resize",
    num_real: int | None = None,
    batch_size: int = 64,
    inception: str | None = None,
    border: int = 0,
) -> Comparison:
    """Measure one set of images against another, and print the result.

    Both sets are prepared alike. Pairs are compared at their own size, whatever ``resolution`` is.

    Args:
      images: a folder, .zip or .npz of images: the generated or restored ones.
      against: another one: the real ones. For the classifier its sub-folders are the classes.
      metrics: names; ``psnr``, ``ssim``, ``ms_ssim`` and, of luminance, ``psnr_y`` and ``ssim_y``
        are of pairs: of files of one name, or in the order of arrays.
      resolution: height and width, one number for both, that all images are brought to.
      resize: how; see `gan_jax.data.sources.Transform`.
      num_real: number of images of ``against``, a fixed random choice; ``None``: all.
      batch_size: images at a time.
      inception: converted weights of Inception; ``None``: in the cache directory.
      border: pixels at each edge of pairs that are left out.

    Raises:
      ConfigError: a metric does not exist or does not suit, the sets cannot be paired, or their
        images differ in size.
      DataError: a set cannot be read, has images of several sizes, or two of a pair differ in size.
      MetricError: an extractor's weights are missing, or there are too few images.
    """
    parsed = [names.parse(n, extractors.EXTRACTORS, "--metrics") for n in dict.fromkeys(metrics)]
    for metric in parsed:
        unfit = "of class-conditional runs; use --run" if metric.labelled else _UNFIT.get(metric.of)
        if unfit:
            raise errors.ConfigError(f"--metrics has {metric.name!r}, which is {unfit}")
    pairs = [metric for metric in parsed if metric.of == "pairs"]
    fake, real = open_sets(images, against, Transform(resolution, None, resize))
    count = min(num_real or len(real), len(real))
    if len(pairs) < len(parsed):
        _check_sizes(fake, real, resolution)
    elif resolution is not None:
        raise errors.ConfigError(
            f"--resolution with measures of pairs alone, such as {pairs[0].name!r}, which are "
            "taken at the images' own sizes; accepted: none"
        )
    of_pairs: dict[str, float] = {}
    if pairs:
        whole = open_sets(images, against, Transform())
        of_pairs = _pair_values(pairs, *whole, batch_size, border)
    protocol: dict[str, Any] = {
        "images": fake.fingerprint(),
        "against": real.fingerprint(),
        "n_fake": len(fake),
        "n_real": count,
        "resolution": resolution,
        "resize": resize if resolution is not None else None,
        "constants": compare.constants(parsed, count, len(fake)),
        "extractors": {},
    }
    values, protocol["extractors"] = feature_values(
        parsed, fake, real, count, batch_size, inception
    )
    if pairs:
        protocol["border"] = border
    values |= of_pairs
    report(fake, real, values, _words(protocol))
    return Comparison(values, protocol)


def feature_values(
    metrics: Sequence[Metric],
    fake: Source,
    real: Source,
    count: int,
    batch_size: int,
    inception: str | None = None,
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Return the metrics that are of an extractor's features, and the extractors' protocols.

    Args:
      metrics: those without an extractor are left out.
      fake: what is measured.
      real: what it is measured against, and what a classifier is trained on.
      count: number of data points of ``real``, a fixed random choice.
      batch_size: data points at a time.
      inception: as for `measure`.
    """
    values: dict[str, float] = {}
    protocols: dict[str, dict[str, Any]] = {}
    used = dict.fromkeys(m.extractor for m in metrics if m.extractor is not None)
    setting = extractors.Setting(labelled_images(real) if used else None, inception)
    for name, extractor in {n: extractors.make_extractor(n, setting) for n in used}.items():
        own = [m for m in metrics if m.extractor == name]
        layers = {m.name: compare.layer_of(m, extractor) for m in own}
        chosen = tuple(dict.fromkeys(layers.values()))
        extraction = Extraction(extractor, chosen, jax.devices(), batch_size)
        needs = [compare.needs(own, layers, fake=is_fake) for is_fake in (False, True)]
        real_side = real_statistics(real, count, extraction, needs[0])
        fake_side = real_statistics(fake, len(fake), extraction, needs[1])
        values |= compare.compare(own, layers, real_side, fake_side)
        protocols[name] = dict(extractor.protocol)
    return values, protocols


def report(fake: Source, real: Source, values: Mapping[str, float], words: str) -> None:
    """Print the values of a comparison, how they were measured, and what was not used."""
    unused = [f"not used of {s.name}: {', '.join(s.unused)}" for s in (fake, real) if s.unused]
    evaluations.table([(fake.name, values, {})], note="; ".join([words, *unused]))


def open_sets(
    images: str | Path, against: str | Path, transform: Transform
) -> tuple[Source, Source]:
    """Return two sets of images that are prepared alike.

    They are in colour if one of them is, and if both have more than 8 bits, the levels of the
    second are those of both.

    Raises:
      DataError: there are none, or they cannot be read.
    """
    fake, real = (open_set(path, transform) for path in (images, against))
    changes: dict[str, Any] = {}
    if {fake.shape[2], real.shape[2]} == {1, 3}:
        changes["channels"] = 3
    if fake.levels is not None and real.levels is not None and fake.levels != real.levels:
        changes["value_range"] = (real.levels.low, real.levels.high)
    if changes:
        transform = dataclasses.replace(transform, **changes)
        fake, real = (open_set(path, transform) for path in (images, against))
    return fake, real


def open_set(path: str | Path, transform: Transform) -> Source:
    """Return the images at a path: a folder, a .zip or a place in one, or an .npz.

    Raises:
      DataError: there are none, or they cannot be read.
    """
    if Path(path).suffix.lower() == ".npz":
        return NpzSource(path, "all", transform)
    return FolderSource(path, "all", transform)


def _check_sizes(fake: Source, real: Source, resolution: Resolution) -> None:
    """Check that the images of two sets have one shape."""
    for source in (fake, real):
        if resolution is None and isinstance(source, FolderSource) and len(source.sizes) > 1:
            first, second = ["x".join(map(str, size)) for size in sorted(source.sizes)[:2]]
            raise errors.ConfigError(
                f"the images of {source.name} have {len(source.sizes)} sizes, such as {first} and "
                f"{second}; accepted: one, to which --resolution=N or HxW brings all by "
                "--resize=resize, pad, ..."
            )
    if fake.shape != real.shape:
        sizes = ["x".join(map(str, source.shape)) for source in (fake, real)]
        raise errors.ConfigError(
            f"the images of {fake.name} are {sizes[0]}, those of {real.name} {sizes[1]}; accepted: "
            "one shape, to which --resolution=N or HxW brings both by --resize=resize, pad, ..."
        )


def _partners(fake: Source, real: Source) -> list[int]:
    """Return, for each image of ``fake``, the index of its partner."""
    if isinstance(fake, FolderSource) and isinstance(real, FolderSource):
        return partners(fake, real, "measures of pairs")
    if len(fake) != len(real):
        raise errors.ConfigError(
            f"--metrics has measures of pairs, but {fake.name} has {len(fake)} images and "
            f"{real.name} {len(real)}; accepted: as many"
        )
    return list(range(len(real)))


def _own_size(source: Source, index: int) -> np.ndarray:
    whole = source.whole(index) if isinstance(source, FolderSource) else source[index]
    return whole["image"]


def _same_sizes(fake: Source, real: Source, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs in batches of one size, uint8 ``[at most size, height, width, channels]``.

    Raises:
      DataError: the two images of a pair differ in size.
    """
    waiting: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for index, partner in enumerate(_partners(fake, real)):
        one, other = _own_size(fake, index), _own_size(real, partner)
        if one.shape != other.shape:
            sizes = ["x".join(map(str, pixels.shape)) for pixels in (one, other)]
            raise errors.DataError(
                f"{fake.item_name(index)} is {sizes[0]}, {real.item_name(partner)} {sizes[1]}; "
                "accepted for measures of pairs: the same size, as nothing is resized"
            )
        group = waiting.setdefault(one.shape, [])
        group.append((one, other))
        if len(group) == size:
            del waiting[one.shape]
            yield np.stack([a for a, _ in group]), np.stack([b for _, b in group])
    for group in waiting.values():
        yield np.stack([a for a, _ in group]), np.stack([b for _, b in group])


def _pair_values(
    metrics: Sequence[Metric], fake: Source, real: Source, batch_size: int, border: int
) -> dict[str, float]:
    """Return the means over all pairs, each at its own size."""
    found: dict[str, list[np.ndarray]] = {metric.name: [] for metric in metrics}
    for one, other in _same_sizes(fake, real, batch_size):
        for metric in metrics:
            values = compare.pair_values(metric.statistic, one, other, border=border)
            found[metric.name].append(np.asarray(values))
    return {name: float(np.mean(np.concatenate(rows))) for name, rows in found.items()}


def _words(protocol: Mapping[str, Any]) -> str:
    parts = [f"{protocol['n_fake']:,} images against {protocol['n_real']:,}"]
    if (resolution := protocol["resolution"]) is not None:
        parts.append(f"both brought to {resolution} by {protocol['resize']}")
    for extractor in protocol["extractors"].values():
        parts += [f"{key} {value}" for key, value in extractor.items()]
    return "; ".join(parts)
