"""Evaluation of generative games: samples against real images, each number with its protocol."""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax import errors
from gan_jax.data import order
from gan_jax.data import pipeline as pipelines
from gan_jax.data.sources import Source, ToySource
from gan_jax.evaluation.real_images import images_and_labels, real_source, real_statistics
from gan_jax.evaluation.result import Result, mean_and_spread
from gan_jax.evaluation.settings import AUTO, Settings
from gan_jax.games.game import GenerativeGame
from gan_jax.metrics import compare, extractors, names, statistics
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction, Statistics
from gan_jax.training.sampling import Sampler, Sampling

logger = logging.getLogger(__name__)

REFERENCE_SPLITS = 3


def choose_metrics(
    settings: Settings, source: Source, num_classes: int | None = None
) -> list[Metric]:
    """Return the metrics to compute, ``auto`` replaced by what suits the data; maybe none.

    Args:
      settings: what is asked for.
      source: the training data.
      num_classes: that the game's generator can be asked for; ``None``: it is unconditional.

    Raises:
      ConfigError: a name means nothing, does not suit the data, or ``eval.best`` is not among them.
    """
    wanted: list[str] = []
    for name in settings.metrics:
        wanted += _automatic(source, num_classes) if name == AUTO else [name]
    metrics = [names.parse(name, extractors.EXTRACTORS) for name in dict.fromkeys(wanted)]
    kind, known = _suitable(source)
    for metric in metrics:
        if metric.of != kind:
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, but samples of {source.name} are unpaired "
                f"{kind}; accepted: {', '.join(known) or 'none'}"
            )
        if kind == "points" and getattr(source, "modes", None) is None:
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, but {source.name} has no modes; "
                "accepted: ring or grid as data.name"
            )
        if metric.extractor == "classifier" and (source.num_classes or 0) < 2:
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, but {source.name} has no labels to train a "
                "classifier with; accepted: Inception's metrics, such as fid"
            )
        if metric.labelled and (num_classes is None or metric.extractor != "classifier"):
            why = "asks for classes" if num_classes is None else "needs a classifier of these data"
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, which {why}; accepted: "
                "classifier_accuracy, for class-conditional games"
            )
        least = compare.least_images(metric)
        if settings.num_fake < least:
            raise errors.ConfigError(
                f"eval.num_fake = {settings.num_fake}; accepted for {metric.name}: {least} or more"
            )
        # Half of the real ones are measured against the other half.
        if (num_real := min(settings.num_real or len(source), len(source))) < 2 * least:
            raise errors.ConfigError(
                f"eval.num_real = {num_real}; accepted for {metric.name}: {2 * least} or more"
            )
    if metrics and settings.best is not None:
        errors.lookup({m.name: m for m in metrics}, settings.best, "eval.best")
    return metrics


def _suitable(source: Source) -> tuple[str, Sequence[str]]:
    """Return the kind of data that metrics must be of, and the names of these metrics."""
    match source.field.kind:
        case "points":
            return "points", list(names.POINT_STATISTICS)
        case "image":
            return "images", list(names.STATISTICS)
        case kind:
            return kind, []


def _automatic(source: Source, num_classes: int | None) -> list[str]:
    if source.field.kind == "points":
        return ["modes", "high_quality"] if getattr(source, "modes", None) is not None else []
    if source.field.kind == "image" and (source.num_classes or 0) > 1:
        conditional = ["classifier_accuracy"] if num_classes is not None else []
        return ["classifier_fid", "classifier_precision", "classifier_recall", *conditional]
    return []


class GenerativeEvaluator:
    """Measures states of one game against one set of real images, on all devices of a run.

    Making it computes, or finds in the cache, what the metrics need of the real images, and trains
    the classifier if it is asked for.

    Args:
      settings: what to measure, and how.
      metrics: as `choose_metrics` gives them; at least one.
      game: what is trained.
      source: of the real images.
      devices: over which the work is split; all processes call alike.
      sampling: how samples are made.
      labelled: what the classifier learns from; ``None``: ``source``.
      data: the arrays of ``labelled`` where they are in memory anyway (`pipelines.load`).
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Sequence[Metric],
        *,
        game: GenerativeGame,
        source: Source,
        devices: Sequence[jax.Device],
        sampling: Sampling,
        labelled: Source | None = None,
        data: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        labelled = labelled or source
        self.metrics = list(metrics)
        self._settings = settings
        self._sampling = sampling
        # The networks that samples come from; the batch statistics of others are ignored.
        self._sampled = [name for name, network in game.networks.items() if network.averaged]
        self._source = source
        self._labelled = any(metric.labelled for metric in metrics)
        self._read: Callable[[list[int]], Mapping[str, np.ndarray]] = source.read
        if data and source is labelled:
            self._read = lambda chosen: {"image": data["image"][np.asarray(chosen)]}
        self._num_real = min(settings.num_real or len(source), len(source))
        self._sampler = Sampler(
            game,
            seed=settings.seed,
            batch_size=settings.batch_size,
            sampling=sampling,
            devices=devices,
            class_shares=_class_shares(game, source, data),
        )
        setting = extractors.Setting(
            extractors.Labelled(
                labelled.name,
                labelled.num_classes,
                labelled.fingerprint(),
                lambda: images_and_labels(labelled, data),
            ),
            settings.inception,
        )
        self._extractions: dict[str, Extraction] = {}
        self._layers: dict[str, str] = {}
        for name in dict.fromkeys(m.extractor for m in metrics if m.extractor is not None):
            extractor = extractors.make_extractor(name, setting)
            if jax.process_count() > 1:
                extractor = _of_first_process(extractor)
            own = [m for m in metrics if m.extractor == name]
            self._layers |= {m.name: compare.layer_of(m, extractor) for m in own}
            layers = dict.fromkeys(self._layers[m.name] for m in own)
            self._extractions[name] = Extraction(
                extractor, tuple(layers), devices, settings.batch_size
            )
        self._real = {name: self._real_statistics(name) for name in self._extractions}

    def __call__(self, variables: Mapping[str, Any]) -> Result:
        """Return the metrics of some variables, as `sampling.chosen_variables` returns them."""
        protocol = self.protocol(variables)
        variables = self._sampler.place(variables)
        settings = self._settings
        seeds = range(settings.seed, settings.seed + settings.seeds)
        runs = [self._measure(variables, seed) for seed in seeds]
        values, spread = mean_and_spread(runs)
        return Result(values, spread, protocol)

    def protocol(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol by which variables, or their shapes, are measured, JSON-able."""
        settings, how = self._settings, self._sampling
        normalised = any("batch_stats" in variables[name] for name in self._sampled)
        # Raw weights have no averaged statistics.
        alike = how.batch_norm == "ema" and how.raw
        batch_norm = "running" if alike else how.batch_norm
        record: dict[str, Any] = {
            "data": self._source.fingerprint(),
            "n_real": self._num_real,
            "n_fake": settings.num_fake,
            "weights": "raw" if how.raw else "ema",
            "batch_norm": batch_norm if normalised else "none",
            "truncation": "none" if how.truncation is None else how.truncation,
            "seed": settings.seed,
            "seeds": settings.seeds,
        }
        if normalised and how.batch_norm in ("standing", "batch"):
            # Only then does a sample depend on the others of its batch.
            record["batch_size"] = self._sampler.batch_size
        if normalised and how.batch_norm == "standing":
            record["standing_images"] = how.standing_images
        if self._extractions:
            record["extractors"] = {
                name: dict(e.extractor.protocol) for name, e in self._extractions.items()
            }
        if self._layers:
            record["layers"] = dict(self._layers)
        record["constants"] = compare.constants(self.metrics, self._num_real, settings.num_fake)
        # As it will be read back: lists for tuples.
        return json.loads(json.dumps(record))

    def reference(self, variables: Mapping[str, Any]) -> tuple[list[tuple[str, Any, Any]], str]:
        """Return columns that set the samples beside real images, and a note on how.

        The real set is split at random into halves, some times. One half is measured against the
        other, and as many samples against the same other half: what a generator that draws from the
        training distribution would reach, at equal counts.

        Returns:
          Columns (heading, values, standard deviations) for `gan_jax.report.evaluations.table`.
        """
        count = min(self._num_real // 2, self._settings.num_fake)
        variables = self._sampler.place(variables)
        generated: list[dict[str, float]] = []
        real: list[dict[str, float]] = []
        for split in range(REFERENCE_SPLITS):
            chosen = np.random.default_rng([split, self._num_real]).permutation(self._num_real)
            fake_values: dict[str, float] = {}
            real_values: dict[str, float] = {}
            for name, extraction in self._extractions.items():
                own = [m for m in self.metrics if m.extractor == name]
                everything = {layer: frozenset({"features"}) for layer in extraction.layers}
                whole = self._with_labels(self._cached(name, everything))
                half, against = (
                    _subset(whole, chosen[:count]),
                    _subset(whole, chosen[count : 2 * count]),
                )
                fakes = self._fake_statistics(
                    name, variables, self._settings.seed + split, count, everything
                )
                fake_values |= compare.compare(own, self._layers, against, fakes)
                real_values |= compare.compare(own, self._layers, against, half)
            if not self._extractions:
                points = self._source.read(chosen[:count].tolist())["points"]
                real_values = self._modes(points)
                seed = self._settings.seed + split
                fake_values = self._modes(self._points(variables, seed, count))
            generated.append(fake_values)
            real.append(real_values)
        note = (
            f"{count:,} of each against {count:,} others of {self._source.name}; mean ± standard "
            f"deviation of {REFERENCE_SPLITS} splits"
        )
        for name, extraction in self._extractions.items():
            protocol = extraction.extractor.protocol
            accuracy = protocol.get("accuracy")
            extra = "" if accuracy is None else f" (accuracy {accuracy:.1%})"
            note += f"; {name} {protocol.get('weights', '')}{extra}"
        columns = [
            ("generated", *mean_and_spread(generated)),
            ("real", *mean_and_spread(real)),
        ]
        return columns, note

    def _measure(self, variables: Any, seed: int) -> dict[str, float]:
        """Return the metrics of the samples of one seed."""
        count = self._settings.num_fake
        if not self._extractions:
            return self._modes(self._points(variables, seed, count))
        values: dict[str, float] = {}
        for name in self._extractions:
            own = [m for m in self.metrics if m.extractor == name]
            fake = self._fake_statistics(
                name, variables, seed, count, compare.needs(own, self._layers, fake=True)
            )
            values |= compare.compare(own, self._layers, self._real[name], fake)
        return {m.name: values[m.name] for m in self.metrics} | values

    def _fake_statistics(
        self, name: str, variables: Any, seed: int, count: int, needs: statistics.Needs
    ) -> Statistics:
        batches = self._fakes(variables, seed)
        found = statistics.collect(self._extractions[name], batches, count, needs)
        if not self._labelled:
            return found
        labels = [
            jax.device_get(self._sampler.latents(first, seed)[1])
            for first in range(0, count, self._sampler.batch_size)
        ]
        return dataclasses.replace(found, labels=np.concatenate(labels)[:count])

    def _with_labels(self, real: Statistics) -> Statistics:
        """Return the statistics of the real images with their labels, where they are asked for."""
        if not self._labelled:
            return real
        chosen = order.subset(len(self._source), real.count)
        return dataclasses.replace(real, labels=self._source.read(chosen.tolist())["label"])

    def _fakes(self, variables: Any, seed: int) -> Iterator[jax.Array]:
        """Yield batches of samples without an end."""
        first = 0
        while True:
            yield self._sampler.batch(variables, first, seed)
            first += self._sampler.batch_size

    def _points(self, variables: Any, seed: int, count: int) -> np.ndarray:
        batches = -(-count // self._sampler.batch_size)
        fakes = self._fakes(variables, seed)
        rows = [jax.device_get(next(fakes)) for _ in range(batches)]
        return np.concatenate(rows)[:count]

    def _modes(self, points: np.ndarray) -> dict[str, float]:
        source = self._source
        assert isinstance(source, ToySource)
        assert source.modes is not None
        return compare.compare_points(self.metrics, points, source.modes, source.std)

    def _real_statistics(self, name: str) -> Statistics:
        own = [m for m in self.metrics if m.extractor == name]
        return self._cached(name, compare.needs(own, self._layers, fake=False))

    def _cached(self, name: str, needs: statistics.Needs) -> Statistics:
        """Return statistics of the real images, from the cache if they are there."""
        return real_statistics(
            self._source, self._num_real, self._extractions[name], needs, self._read
        )


def make_evaluator(
    config: Any,
    settings: Settings,
    *,
    game: GenerativeGame,
    source: Source,
    devices: Sequence[jax.Device],
    sampling: Sampling,
    data: Mapping[str, np.ndarray] | None = None,
) -> GenerativeEvaluator | None:
    """Return the evaluator that a configuration asks for; ``None`` where no metric suits the data.

    Args:
      config: a run's configuration.
      settings: its evaluation settings.
      game: what it trains.
      source: its training data.
      devices: over which the work is split.
      sampling: how samples are made.
      data: the arrays of ``source``, where they are in memory anyway.

    Raises:
      ConfigError: a setting cannot work.
      DataError: the other split cannot be read.
      MetricError: an extractor's weights are missing.
    """
    metrics = choose_metrics(settings, source, game.num_classes)
    if not metrics:
        logger.info(
            "no evaluation: eval.metrics is 'auto', which needs labels or modes, and %s has none",
            source.name,
        )
        return None
    real = real_source(config, settings, source)
    return GenerativeEvaluator(
        settings,
        metrics,
        game=game,
        source=real,
        devices=devices,
        sampling=sampling,
        labelled=source,
        data=data,
    )


def _subset(whole: Statistics, chosen: np.ndarray) -> Statistics:
    """Return the statistics of some of the images, from the features of all."""
    features = {layer: rows[chosen] for layer, rows in whole.features.items()}
    labels = None if whole.labels is None else whole.labels[chosen]
    return Statistics(len(chosen), {}, features, labels=labels)


def _class_shares(
    game: GenerativeGame, source: Source, data: Mapping[str, np.ndarray] | None
) -> np.ndarray | None:
    """Return how frequent the classes are in the data, for a game that asks for a class."""
    if game.num_classes is None:
        return None
    labels = (data or pipelines.load(source))["label"]
    return np.bincount(labels, minlength=game.num_classes) / len(labels)


def _of_first_process(extractor: Any) -> Any:
    """Return the extractor of process 0: a trained one may differ between machines."""
    variables = multihost_utils.broadcast_one_to_all(extractor.variables)
    return dataclasses.replace(extractor, variables=variables)
