"""The base of the evaluators: extractors, seeds, and the protocol of a measurement."""

import abc
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from gan_jax import errors
from gan_jax.data.sources import Source
from gan_jax.evaluation.result import Result, mean_and_spread
from gan_jax.evaluation.settings import AUTO, Settings
from gan_jax.games.game import Game
from gan_jax.metrics import compare, extractors, names
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction
from gan_jax.training.sampling import Sampling

# Of a table: heading, values by metric, standard deviations by metric.
Column = tuple[str, dict[str, float], dict[str, float]]


class Evaluator(abc.ABC):
    """Measures the variables of a run on all devices; all processes call alike.

    Args:
      settings: what to measure, and how.
      metrics: as `evaluators.choose` returns them; at least one.
      game: what is trained.
      source: of the real images.
      devices: over which the work is split.
      sampling: how samples are made, and of which weights.
      labelled: what a classifier learns from; ``None``: there is none.
      kept: the folder of the run's classifier; ``None``: it keeps none.

    Attributes:
      metrics: the metrics it measures; by default, the first one chooses the best checkpoint.
      raw_networks: whose raw weights it needs, beside those of the networks that are averaged.
    """

    raw_networks: Sequence[str] = ()

    # Puts variables on all devices, as `_measure` takes them.
    _place: Callable[[Mapping[str, Any]], Any]

    def __init__(
        self,
        settings: Settings,
        metrics: Sequence[Metric],
        *,
        game: Game,
        source: Source,
        devices: Sequence[jax.Device],
        sampling: Sampling,
        labelled: extractors.Labelled | None = None,
        kept: Path | None = None,
    ) -> None:
        self.metrics = list(metrics)
        self._settings, self._sampling, self._source = settings, sampling, source
        # The batch statistics of networks that are not sampled are ignored.
        self._used = [name for name, network in game.networks.items() if network.averaged]
        self._extractions: dict[str, Extraction] = {}
        self._layers: dict[str, str] = {}
        setting = extractors.Setting(labelled, settings.inception, kept)
        for name in dict.fromkeys(m.extractor for m in metrics if m.extractor is not None):
            extractor = extractors.make_extractor(name, setting)
            if jax.process_count() > 1:
                # A classifier that was trained may differ between machines.
                shared = multihost_utils.broadcast_one_to_all(extractor.variables)
                extractor = dataclasses.replace(extractor, variables=shared)
            own = {m.name: compare.layer_of(m, extractor) for m in self._metrics_of(name)}
            layers = tuple(dict.fromkeys(own.values()))
            self._layers |= own
            self._extractions[name] = Extraction(extractor, layers, devices, settings.batch_size)

    def _metrics_of(self, extractor: str) -> list[Metric]:
        return [metric for metric in self.metrics if metric.extractor == extractor]

    def _extractor_words(self) -> str:
        """Return the weights of the extractors, and a classifier's accuracy, for a note."""
        words = ""
        for name, extraction in self._extractions.items():
            protocol = extraction.extractor.protocol
            accuracy = protocol.get("accuracy")
            extra = "" if accuracy is None else f" (accuracy {accuracy:.1%})"
            words += f"; {name} {protocol.get('weights', '')}{extra}"
        return words

    def __call__(self, variables: Mapping[str, Any]) -> Result:
        """Return the metrics of some variables, as `sampling.chosen_variables` returns them."""
        protocol, placed = self.protocol(variables), self._place(variables)
        seeds = range(self._settings.seed, self._settings.seed + self._settings.seeds)
        values, spread = mean_and_spread([self._measure(placed, seed) for seed in seeds])
        return Result(values, spread, protocol)

    def protocol(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol by which variables, or their shapes, are measured, JSON-able."""
        normalised = any("batch_stats" in variables[name] for name in self._used)
        how = self._sampling
        # Raw weights have no averaged statistics.
        batch_norm = "running" if how.raw and how.batch_norm == "ema" else how.batch_norm
        record: dict[str, Any] = {
            "data": self._source.fingerprint(),
            "weights": "raw" if how.raw else "ema",
            "batch_norm": batch_norm if normalised else "none",
            "seed": self._settings.seed,
            "seeds": self._settings.seeds,
            **self._details(normalised),
        }
        if self._extractions:
            record["layers"] = self._layers
            record["extractors"] = {
                name: dict(e.extractor.protocol) for name, e in self._extractions.items()
            }
        # As it will be read back: lists for tuples.
        return json.loads(json.dumps(record))

    def names_of(self, metric: Metric) -> list[str]:
        """Return the names of a metric's values, one for each direction of translation."""
        return [metric.name]

    @abc.abstractmethod
    def reference(self, variables: Mapping[str, Any]) -> tuple[list[Column], str]:
        """Return columns of a table that puts the metrics into perspective, and a note on it."""

    @abc.abstractmethod
    def _measure(self, variables: Any, seed: int) -> dict[str, float]:
        """Return the metrics of one seed."""

    @abc.abstractmethod
    def _details(self, normalised: bool) -> dict[str, Any]:
        """Return the rest of the protocol; ``normalised``: batch statistics are used."""


def parse_metrics(settings: Settings, automatic: Sequence[str]) -> list[Metric]:
    """Return the metrics that are asked for, "auto" replaced by ``automatic``; maybe none.

    Raises:
      ConfigError: a name is unknown, or ``eval.best`` is not among them.
    """
    wanted: list[str] = []
    for name in settings.metrics:
        wanted += automatic if name == AUTO else [name]
    metrics = [names.parse(name, extractors.EXTRACTORS) for name in dict.fromkeys(wanted)]
    if metrics and settings.best is not None:
        errors.lookup({m.name: m for m in metrics}, settings.best, "eval.best")
    return metrics
