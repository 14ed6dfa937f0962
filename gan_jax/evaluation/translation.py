"""Evaluation of games that translate images: against targets, domains and anomaly labels.

Three kinds of metrics, each as far as the game and its data allow:

- of pairs (``psnr``, ``ssim``, ...): each output against its target; means over images;
- of sets (``fid``, ``kid768``, ...): outputs against real images of the target domain;
- of scores (``auroc``, ``average_precision``): whether images of classes that were left out of
  training (``data.without``) have higher anomaly scores than the others.

Metrics of directions other than the first carry the name of the direction: ``kid768_BtoA``.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds, sources
from gan_jax.data import spec as specs
from gan_jax.data.sources import DomainSource, Source
from gan_jax.evaluation.real_images import real_source
from gan_jax.evaluation.result import Result, mean_and_spread
from gan_jax.evaluation.settings import AUTO, Settings
from gan_jax.games.anomaly import DetectionGame
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics import compare, detection, extractors, names, statistics
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction
from gan_jax.training import translating
from gan_jax.training.sampling import Sampling

# The PSNR of identical images, which is infinite, in a mean.
IDENTICAL_DB = 100.0


def choose_metrics(
    config: Any, settings: Settings, game: TranslationGame, source: Source
) -> list[Metric]:
    """Return the metrics to compute, ``auto`` replaced by what suits game and data; maybe none.

    Raises:
      ConfigError: a name means nothing, does not suit, or ``eval.best`` is not among them.
      MetricError: the images are too small for a metric.
    """
    has_targets = not isinstance(source, DomainSource)
    detects = isinstance(game, DetectionGame) and bool(sources.left_out(config.data, source))
    accepted = [*names.STATISTICS]
    if has_targets:
        accepted = [*names.PAIR_STATISTICS, *accepted]
    if detects:
        accepted = [*names.SCORE_STATISTICS, *accepted]
    wanted: list[str] = []
    for name in settings.metrics:
        automatic = ["psnr", "ssim"] if has_targets else []
        if detects:
            automatic = [*names.SCORE_STATISTICS]
        wanted += automatic if name == AUTO else [name]
    metrics = [names.parse(name, extractors.EXTRACTORS) for name in dict.fromkeys(wanted)]
    for metric in metrics:
        if metric.statistic not in accepted or metric.labelled:
            why = {
                "pairs": "but images of two domains have no targets",
                "scores": "but no classes are left out of training (data.without)",
                "images": "but the game is not class-conditional",
            }.get(metric.of, "but these are images")
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, {why}; accepted: {', '.join(accepted)}"
            )
        if metric.extractor == "classifier":
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}; accepted for games that translate images: "
                "Inception's metrics, such as fid"
            )
        if metric.of == "pairs":
            _check_pair(metric, game, source, _border(settings, game))
        least = compare.least_images(metric)
        if metric.of == "images" and (count := _count(settings, source)) < least:
            raise errors.ConfigError(
                f"eval.num_real = {count}; accepted for {metric.name}: {least} or more"
            )
    if metrics and settings.best is not None:
        errors.lookup({m.name: m for m in metrics}, settings.best, "eval.best")
    return metrics


def shown_source(config: Any, settings: Settings, game: TranslationGame, source: Source) -> Source:
    """Return the source of a run's evaluations and pictures, with anomalies if it detects them.

    Args:
      config: the run's configuration.
      settings: its evaluation settings.
      game: what it trains.
      source: its training data.
    """
    finds = isinstance(game, DetectionGame) and bool(config.data.without)
    return real_source(config, settings, source, **({"without": ()} if finds else {}))


def _count(settings: Settings, source: Source) -> int:
    """Return how many images are measured; of two domains, in the smaller one."""
    size = min(len(side) for side in sources.domains(source).values())
    return min(settings.num_real or size, size)


def _border(settings: Settings, game: TranslationGame) -> int:
    """Return the pixels at each edge that are not compared: the scale, in super-resolution."""
    if settings.border is not None:
        return settings.border
    scale = max(direction.scale for direction in game.directions.values())
    return scale if scale > 1 else 0


def _check_pair(metric: Metric, game: TranslationGame, source: Source, border: int) -> None:
    """Fail now if the images are too small for a metric, or have the wrong channels."""
    direction = next(iter(game.directions.values()))
    # Whole images are measured, however small the squares are that the game is trained on.
    height, width, _ = kinds.check_images(source.spec, "metrics of pairs")
    whole = {"image": np.empty((1, height, width, direction.outputs), np.uint8)}
    shape = jax.ShapeDtypeStruct(translating.fitting(whole, game)["image"].shape, np.uint8)
    try:
        compare_two = functools.partial(compare.pair_values, metric.statistic, border=border)
        jax.eval_shape(compare_two, shape, shape)
    except errors.MetricError as error:
        raise errors.ConfigError(f"eval.metrics has {metric.name!r}: {error}") from error


class TranslationEvaluator:
    """Measures states of a game that translates, on all devices of a run.

    Args:
      config: the run's configuration.
      settings: what to measure, and how.
      metrics: as `choose_metrics` gives them; at least one.
      game: what is trained.
      source: its training data.
      devices: over which the work is split; all processes call alike.
      sampling: which weights are used.
    """

    def __init__(
        self,
        config: Any,
        settings: Settings,
        metrics: Sequence[Metric],
        *,
        game: TranslationGame,
        source: Source,
        devices: Sequence[jax.Device],
        sampling: Sampling,
    ) -> None:
        translating.check_sampling(sampling)
        self.metrics = list(metrics)
        self._settings, self._sampling, self._game = settings, sampling, game
        self._border = _border(settings, game)
        self._left_out = sources.left_out(config.data, source)
        self._source = shown_source(config, settings, game, source)
        found = translating.data_points(self._source, settings.num_real)
        self._sizes = found.sizes
        self._points = translating.fitting(found.batch, game)
        self._size = next(iter(self._points.values())).shape[1:3]
        if 0 in self._size:
            height, width, _ = kinds.check_images(self._source.spec, "evaluation")
            raise errors.ConfigError(
                f"data.resolution: images of {height}x{width} are too small for "
                "the networks to be evaluated"
            )
        self._labels = found.labels if self._left_out else None
        how: dict[str, Any] = {
            "seed": settings.seed,
            "batch_size": settings.batch_size,
            "devices": devices,
        }
        self._translators = {
            name: translating.Translator(game, name, **how) for name in game.directions
        }
        self._place = next(iter(self._translators.values())).mapped.place
        self._scores = None
        if isinstance(game, DetectionGame) and any(m.of == "scores" for m in metrics):
            assert found.labels is not None
            anomalous = np.isin(found.labels, self._left_out)
            if anomalous.all() or not anomalous.any():
                raise errors.ConfigError(
                    f"eval.num_real = {found.sizes[0]}, of which {anomalous.sum()} are of the "
                    "classes in data.without; accepted: enough to have some of these, and others"
                )
            scores, spec = game.anomaly_scores, game.spec

            def score(variables: Any, batch: Any, _: jax.Array) -> list[jax.Array]:
                images = specs.data(kinds.to_network(spec, batch), spec)
                return [scores(variables, images)]

            self._scores = translating.Mapped(score, **how)
        self._extractions: dict[str, Extraction] = {}
        self._layers: dict[str, str] = {}
        setting = extractors.Setting(None, settings.inception)
        for name in dict.fromkeys(m.extractor for m in metrics if m.extractor is not None):
            extractor = extractors.make_extractor(name, setting)
            own = [m for m in metrics if m.extractor == name]
            self._layers |= {m.name: compare.layer_of(m, extractor) for m in own}
            layers = dict.fromkeys(self._layers[m.name] for m in own)
            self._extractions[name] = Extraction(
                extractor, tuple(layers), devices, settings.batch_size
            )
        self._real: dict[tuple[str, str], statistics.Statistics] = {}

    def __call__(self, variables: Mapping[str, Any]) -> Result:
        """Return the metrics of some variables, as `sampling.chosen_variables` returns them."""
        protocol = self.protocol(variables)
        variables = self._place(dict(variables))
        seeds = range(self._settings.seed, self._settings.seed + self._settings.seeds)
        values, spread = mean_and_spread([self._measure(variables, seed)[0] for seed in seeds])
        return Result(values, spread, protocol)

    def protocol(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol by which variables, or their shapes, are measured, JSON-able."""
        used = [name for name, network in self._game.networks.items() if network.averaged]
        normalised = any("batch_stats" in variables[name] for name in used)
        batch_norm = "running" if self._sampling.raw else self._sampling.batch_norm
        record: dict[str, Any] = {
            "data": self._source.fingerprint(),
            "n_real": max(self._sizes),
            "weights": "raw" if self._sampling.raw else "ema",
            "batch_norm": batch_norm if normalised else "none",
            "seed": self._settings.seed,
            "seeds": self._settings.seeds,
            "size": list(self._size),
        }
        if (degradation := self._game.degradation) is not None:
            record["degradation"] = {"name": degradation.name, **dataclasses.asdict(degradation)}
        if any(metric.of == "pairs" for metric in self.metrics):
            record["border"] = self._border
        if self._scores is not None:
            names_ = self._source.class_names or ()
            record["anomalies"] = [names_[k] for k in self._left_out]
        if self._extractions:
            record["extractors"] = {
                name: dict(e.extractor.protocol) for name, e in self._extractions.items()
            }
            record["layers"] = dict(self._layers)
        record["constants"] = compare.constants(self.metrics, *self._sizes)
        return json.loads(json.dumps(record))

    def reference(self, variables: Mapping[str, Any]) -> tuple[list[tuple[str, Any, Any]], str]:
        """Return columns of the metrics of outputs and of inputs, and a note on the data."""
        variables = self._place(dict(variables))
        values, before = self._measure(variables, self._settings.seed)
        note = f"{max(self._sizes):,} of {self._source.name}"
        if self._scores is not None:
            return [("scores", values, {})], note
        return [("output", values, {}), ("input", before, {})], note

    def _measure(self, variables: Any, seed: int) -> tuple[dict[str, float], dict[str, float]]:
        """Return the metrics of outputs, and of inputs as far as they can be compared."""
        values: dict[str, float] = {}
        before: dict[str, float] = {}
        wanted = {metric.of for metric in self.metrics}
        if self._scores is not None:
            assert self._labels is not None
            found = self._scores(variables, self._points)[0]
            positive = np.isin(self._labels, self._left_out)
            for metric in self.metrics:
                if metric.of == "scores":
                    values[metric.name] = getattr(detection, metric.statistic)(found, positive)
        if wanted & {"pairs", "images"}:
            for number, (way, translator) in enumerate(self._translators.items()):
                suffix = f"_{way}" if number else ""
                size = self._sizes[number]
                images = translator(
                    variables, {name: x[:size] for name, x in self._points.items()}, seed=seed
                )
                direction = self._game.directions[way]
                # Inputs are compared enlarged, and grey ones as grey colours.
                same = images.inputs.shape[-1] in (1, direction.outputs)
                inputs = None
                if same:
                    larger = translating.bicubic(images.inputs, *images.outputs.shape[1:3])
                    inputs = translating.as_colour(larger, direction.outputs)
                target = images.targets if images.targets is not None else self._others(way)
                own = self._compare(images.outputs, target, way, images.targets is not None)
                values |= {f"{name}{suffix}": value for name, value in own.items()}
                if inputs is not None:
                    own = self._compare(inputs, target, way, images.targets is not None)
                    before |= {f"{name}{suffix}": value for name, value in own.items()}
        return values, before

    def _others(self, way: str) -> np.ndarray:
        """Return real images of a direction's target domain, uint8."""
        if way == next(iter(self._translators)):
            return self._points["b"][: self._sizes[1]]
        return self._points["a"][: self._sizes[0]]

    def _compare(
        self, images: np.ndarray, target: np.ndarray, way: str, paired: bool
    ) -> dict[str, float]:
        """Return the metrics of pairs and sets of some images."""
        values: dict[str, float] = {}
        for metric in self.metrics:
            if metric.of == "pairs" and paired:
                found = self._pairs(metric.statistic, images, target)
                values[metric.name] = float(np.mean(np.minimum(found, IDENTICAL_DB)))
        for name, extraction in self._extractions.items():
            own = [m for m in self.metrics if m.extractor == name]
            key = (name, way)
            if key not in self._real:
                self._real[key] = self._collect(extraction, target, own, fake=False)
            fake = self._collect(extraction, images, own, fake=True)
            values |= compare.compare(own, self._layers, self._real[key], fake)
        return values

    def _pairs(self, statistic: str, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        size = self._settings.batch_size
        rows = []
        for first in range(0, len(images), size):
            with jax.transfer_guard("allow"):
                part = slice(first, first + size)
                both = images[part], target[part]
                found = compare.pair_values(statistic, *both, border=self._border)
                rows.append(np.asarray(found))
        return np.concatenate(rows)

    def _collect(
        self, extraction: Extraction, images: np.ndarray, own: Sequence[Metric], *, fake: bool
    ) -> statistics.Statistics:
        size = extraction.batch_size
        batches = (images[first : first + size] for first in range(0, len(images), size))
        needs = compare.needs(own, self._layers, fake=fake)
        return statistics.collect(extraction, batches, len(images), needs)


def make_evaluator(
    config: Any,
    settings: Settings,
    *,
    game: TranslationGame,
    source: Source,
    devices: Sequence[jax.Device],
    sampling: Sampling,
) -> TranslationEvaluator | None:
    """Return what a configuration asks for; ``None`` where no metric suits game and data.

    Raises:
      ConfigError: a setting cannot work.
      DataError: the other split cannot be read.
      MetricError: an extractor's weights are missing.
    """
    metrics = choose_metrics(config, settings, game, source)
    if not metrics:
        return None
    return TranslationEvaluator(
        config,
        settings,
        metrics,
        game=game,
        source=source,
        devices=devices,
        sampling=sampling,
    )
