"""Metrics by name, from the statistics of two sets of images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gan_jax.errors import ConfigError, MetricError
from gan_jax.metrics import (
    frechet,
    inception_score,
    kernel,
    manifold,
    modes,
    music,
    similarity,
    text,
)
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.names import STATISTICS, Metric
from gan_jax.metrics.statistics import Needs, Statistics

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
KID_SEED = INCEPTION_SCORE_SEED = 2020
INCEPTION_SCORE_SPLITS = 10
PRECISION_K = 3
DENSITY_K = 5
WITHIN_STD = 3.0


def layer_of(metric: Metric, extractor: Extractor) -> str:
    """Return the layer on which a metric is computed.

    Raises:
      ConfigError: the extractor has no such layer.
    """
    if metric.of == "images" and STATISTICS[metric.statistic].needs == "logits":
        if metric.layer is not None or extractor.logits is None:
            have = "no logits" if extractor.logits is None else "one layer of logits"
            raise ConfigError(f"eval.metrics has {metric.name!r}, but {extractor.name} has {have}")
        return extractor.logits
    layer = metric.layer or extractor.default
    # If the weights lack the last layers, the default layer differs and must be named explicitly.
    is_usual = metric.layer is not None or metric.extractor != "inception" or layer == "2048"
    if layer not in extractor.layers or not is_usual:
        numbers = [name for name in extractor.layers if name.isdigit()]
        named = ", ".join(f"{metric.statistic}{name}" for name in numbers)
        raise ConfigError(
            f"eval.metrics has {metric.name!r}, but the weights of {extractor.name} at hand "
            f"have no such layer; accepted: {named or metric.statistic}"
        )
    return layer


def needs(metrics: Sequence[Metric], layers: Mapping[str, str], *, fake: bool) -> Needs:
    """Return the statistics of one set that the metrics of one extractor need.

    Args:
      metrics: the metrics.
      layers: the layer of each metric, by its name.
      fake: whether this is the generated set; only its logits are needed.
    """
    wanted: dict[str, frozenset[str]] = {}
    for metric in metrics:
        kind = STATISTICS[metric.statistic].needs
        if kind == "logits" and not fake:
            continue
        layer = layers[metric.name]
        kept = "moments" if kind == "moments" else "features"
        wanted[layer] = wanted.get(layer, frozenset()) | {kept}
    return wanted


def compare(
    metrics: Sequence[Metric], layers: Mapping[str, str], real: Statistics, fake: Statistics
) -> dict[str, float]:
    """Return the metrics of one extractor by name.

    The Kernel Inception Distance comes with ``<name>_standard_error``, the Inception Score with
    ``<name>_split_std``.

    Args:
      metrics: the metrics.
      layers: the layer of each metric, by its name.
      real: statistics of the real images, as `needs` returns.
      fake: statistics of the generated images.

    Raises:
      MetricError: there are too few images.
    """
    values: dict[str, float] = {}
    for metric in metrics:
        name, layer = metric.name, layers[metric.name]
        if metric.statistic == "fid":
            values[name] = frechet.frechet_distance(_moments(real, layer), _moments(fake, layer))
        elif metric.statistic == "kid":
            distance = kernel.kernel_distance(
                real.features[layer],
                fake.features[layer],
                subsets=KID_SUBSETS,
                subset_size=min(KID_SUBSET_SIZE, real.count, fake.count),
                seed=KID_SEED,
            )
            values[name] = distance.mean
            values[f"{name}_standard_error"] = distance.standard_error
        elif metric.statistic == "is":
            score = inception_score.inception_score(
                fake.features[layer], splits=INCEPTION_SCORE_SPLITS, seed=INCEPTION_SCORE_SEED
            )
            values[name] = score.mean
            values[f"{name}_split_std"] = score.std
        elif metric.statistic == "accuracy":
            values[name] = class_accuracy(fake.features[layer], fake.labels)
        elif metric.statistic in ("modes", "mode_kl"):
            logits = fake.features[layer]
            found, divergence = modes.class_coverage(logits.argmax(axis=1), logits.shape[1])
            values[name] = found if metric.statistic == "modes" else divergence
        else:
            scores = _manifold_scores(real, fake, layer)
            values[name] = getattr(scores, metric.statistic)
    return {name: float(value) for name, value in values.items()}


def class_accuracy(logits: np.ndarray, labels: np.ndarray | None) -> float:
    """Return the share of images that a classifier assigns to their requested class.

    Logits are float32 ``[n, classes]``, labels int32 ``[n]``.

    Raises:
      MetricError: there are no labels, or the classes differ.
    """
    if labels is None or len(labels) != len(logits) or labels.max() >= logits.shape[1]:
        raise MetricError(
            f"the accuracy of {len(logits)} images by {logits.shape[1]} classes needs the class of "
            "each; accepted: samples of a class-conditional game"
        )
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def constants(metrics: Sequence[Metric], real: int, fake: int) -> dict[str, Any]:
    """Return the constants of metrics of given numbers of images, serializable as JSON."""
    record: dict[str, Any] = {}
    used = {metric.statistic for metric in metrics}
    if "kid" in used:
        size = min(KID_SUBSET_SIZE, real, fake)
        record |= {"kid_subsets": KID_SUBSETS, "kid_subset_size": size, "kid_seed": KID_SEED}
    if "is" in used:
        record |= {"is_splits": INCEPTION_SCORE_SPLITS, "is_seed": INCEPTION_SCORE_SEED}
    if used & {"precision", "recall"}:
        record["precision_k"] = PRECISION_K
    if used & {"density", "coverage"}:
        record["density_k"] = DENSITY_K
    if any(metric.of == "points" for metric in metrics):
        record["within_std"] = WITHIN_STD
    if "bigram_kl" in used:
        record["pseudo_count"] = text.PSEUDO_COUNT
    return record


def least_images(metric: Metric) -> int:
    """Return the minimum number of images, real or generated, for a metric."""
    if metric.statistic == "is":
        return INCEPTION_SCORE_SPLITS
    if metric.statistic in ("precision", "recall", "density", "coverage"):
        return max(PRECISION_K, DENSITY_K) + 1
    return 2


def compare_points(
    metrics: Sequence[Metric], points: np.ndarray, centres: np.ndarray, std: float
) -> dict[str, float]:
    """Return the metrics of points ``[n, 2]`` by name; the modes' centres are ``[k, 2]``."""
    found = modes.mode_coverage(points, centres, std, within=WITHIN_STD)
    known = {"modes": found.modes, "high_quality": found.high_quality, "mode_kl": found.kl}
    return {metric.name: float(known[metric.statistic]) for metric in metrics}


def compare_texts(
    metrics: Sequence[Metric],
    texts: np.ndarray,
    real: np.ndarray,
    bigrams: np.ndarray,
    log_probability: np.ndarray | None,
) -> dict[str, float]:
    """Return the metrics of texts by name.

    Args:
      metrics: of `gan_jax.metrics.names.TEXT_STATISTICS`.
      texts: integers ``[n, length]``.
      real: likewise, others than those.
      bigrams: how often pairs of tokens are in real texts, ``[tokens, tokens]``.
      log_probability: of the texts, ``[n]``; ``None``: the source has no known probabilities.
    """
    known = {
        "bigram_kl": text.bigram_kl(texts, bigrams),
        "reverse_nll": text.reverse_nll(texts, real, len(bigrams)),
        "unique": text.unique(texts),
    }
    if log_probability is not None:
        known["valid"] = text.validity(log_probability)
        known["nll"] = text.nll(texts, log_probability)
    return {metric.name: known[metric.statistic] for metric in metrics}


def compare_music(
    metrics: Sequence[Metric],
    rolls: np.ndarray,
    real: np.ndarray,
    scales: np.ndarray | None,
    labels: np.ndarray | None,
) -> dict[str, float]:
    """Return the metrics of piano rolls by name.

    Args:
      metrics: of `gan_jax.metrics.names.MUSIC_STATISTICS`.
      rolls: uint8 ``[n, steps, pitches, 1]``.
      real: likewise, others than those.
      scales: which pitches are of each, bool ``[scales, pitches]``; ``None``: they are unknown.
      labels: the scale of each roll, ``[n]``; ``None``: any.
    """
    known = {
        "polyphony_tv": music.total_variation(music.polyphony(rolls), music.polyphony(real)),
        "interval_tv": music.total_variation(music.intervals(rolls), music.intervals(real)),
        "empty_bars": music.empty_bars(rolls),
    }
    if scales is not None:
        known["scale_violations"] = music.scale_violations(rolls, scales, labels)
    return {metric.name: known[metric.statistic] for metric in metrics}


def pair_values(statistic: str, images: Any, reference: Any, *, border: int = 0) -> jax.Array:
    """Return a metric of pairs for each image, float32 ``[n]``.

    Args:
      statistic: a key of `gan_jax.metrics.names.PAIR_STATISTICS`.
      images: uint8 ``[n, height, width, channels]``.
      reference: likewise.
      border: pixels at each edge that are left out.
    """
    function: dict[str, Callable[..., jax.Array]] = {
        "psnr": similarity.psnr,
        "ssim": similarity.ssim,
        "ms_ssim": similarity.ms_ssim,
    }
    if statistic.endswith("_y"):
        luminance = [similarity.to_luminance(x) for x in (images, reference)]
        kind = function[statistic.removesuffix("_y")]
        return kind(*luminance, data_range=255.0, border=border)
    return function[statistic](images, reference, border=border)


def _moments(statistics: Statistics, layer: str) -> frechet.Moments:
    if layer in statistics.moments:
        return statistics.moments[layer]
    key = ("moments", layer)
    if key not in statistics.derived:
        statistics.derived[key] = frechet.moments(statistics.features[layer])
    return statistics.derived[key]


def _manifold_scores(real: Statistics, fake: Statistics, layer: str) -> manifold.ManifoldScores:
    """Return all four scores of two sets, computed once for all metrics that need one of them."""
    key = ("manifold", layer)
    if key not in real.derived:
        real.derived[key] = manifold.manifold(real.features[layer], max(PRECISION_K, DENSITY_K))
    scores = ("scores", layer)
    # The scores are cached with the fakes, since the statistics of real images live longer.
    if fake.derived.get(scores, (None,))[0] is not real:
        found = manifold.manifold_scores(
            real.derived[key], fake.features[layer], precision_k=PRECISION_K, density_k=DENSITY_K
        )
        fake.derived[scores] = (real, found)
    return fake.derived[scores][1]
