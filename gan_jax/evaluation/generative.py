"""Evaluation of generative games: samples against real images, each number with its protocol."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.data import order, sources
from gan_jax.data import spec as specs
from gan_jax.data.sources import (
    BouncingSource,
    GrammarSource,
    ShapeSource,
    Source,
    ToneSource,
    ToySource,
)
from gan_jax.evaluation import shapes, sounds, videos
from gan_jax.evaluation.evaluator import Column, Evaluator
from gan_jax.evaluation.held_out import HeldOut
from gan_jax.evaluation.paths import PathLengths
from gan_jax.evaluation.real_images import (
    labelled_images,
    real_statistics,
)
from gan_jax.evaluation.result import mean_and_spread
from gan_jax.evaluation.settings import Settings
from gan_jax.games.game import GenerativeGame
from gan_jax.metrics import compare, statistics, text
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Statistics
from gan_jax.training.sampling import Sampler, Sampling, Vectors

REFERENCE_SPLITS = 3
# Images whose attributes are those of samples.
_VECTORS = 16_384
# Kinds of data that are measured without features.
_DIRECT = ("points", "text", "music")


class GenerativeEvaluator(Evaluator):
    """Measures samples of one game against one set of real images.

    The constructor computes, or finds in the cache, what the metrics need of the real images, and
    trains the classifier if it is asked for.

    Args, beside those of `Evaluator`:
      labelled: the source that the classifier learns from; ``None``: ``source``.
      data: the arrays of ``labelled`` where they are in memory anyway (`pipelines.load`).
      held_out: measures those metrics that need images that were not trained on.
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
        kept: Path | None = None,
        held_out: HeldOut | None = None,
    ) -> None:
        labelled = labelled or source
        super().__init__(
            settings,
            metrics,
            game=game,
            source=source,
            devices=devices,
            sampling=sampling,
            labelled=labelled_images(labelled, data),
            kept=kept,
        )
        self._labelled = any(metric.labelled for metric in metrics)
        self._factors = any(metric.of in ("sound", "video", "captions") for metric in metrics)
        self._held_out = held_out
        self.raw_networks = held_out.networks if held_out else ()
        self._images = specs.data(data, source.spec) if data and source is labelled else None
        self._num_real = min(settings.num_real or len(source), len(source))
        self._game = game
        self._sampler = Sampler(
            game,
            seed=settings.seed,
            batch_size=settings.batch_size,
            sampling=sampling,
            devices=devices,
            class_shares=_class_shares(game, source, data),
            class_of=_attributes(game, source, data if source is labelled else None),
        )
        self._place = self._sampler.place
        compared = {name: self._compared(name) for name in self._extractions}
        self._real = {
            name: self._real_statistics(name, compare.needs(own, self._layers, fake=False))
            for name, own in compared.items()
            if own
        }
        self._paths = None
        if along := [metric for metric in self.metrics if metric.of == "paths"]:
            self._paths = PathLengths(
                along,
                self._layers,
                {name: one.extractor for name, one in self._extractions.items()},
                game=game,
                sampler=self._sampler,
                how=sampling,
                devices=devices,
            )

    def _compared(self, extractor: str) -> list[Metric]:
        """Return the metrics of an extractor that compare samples with real images."""
        return [metric for metric in self._metrics_of(extractor) if metric.of == "images"]

    def _details(self, normalised: bool) -> dict[str, Any]:
        how, num_fake = self._sampling, self._settings.num_fake
        details: dict[str, Any] = {
            "n_real": self._num_real,
            "n_fake": num_fake,
            "truncation": "none" if how.truncation is None else how.truncation,
            "constants": compare.constants(self.metrics, self._num_real, num_fake),
        }
        if isinstance(self._source, GrammarSource):
            grammar = self._source.grammar
            details["constants"]["entropy"] = grammar.entropy / grammar.mean_tokens
        if normalised and how.batch_norm in ("standing", "batch"):
            # Only then does a sample depend on the others of its batch.
            details["batch_size"] = self._sampler.batch_size
        if normalised and how.batch_norm == "standing":
            details["standing_images"] = how.standing_images
        if self._held_out:
            details["held_out"] = self._held_out.protocol()
        if self._paths:
            details["paths"] = self._paths.protocol
        return details

    def reference(self, variables: Mapping[str, Any]) -> tuple[list[Column], str]:
        """Return columns of the metrics of samples and of real images, and a note on the data.

        The real set is split at random into halves, some times. One half is measured against the
        other, and as many samples against the same other half: what a generator that draws from the
        training distribution would reach, at equal counts.
        """
        if all(metric.of == "held_out" for metric in self.metrics):
            return [], "the values above whose names begin with real_ are those of real images"
        if all(metric.of in ("held_out", "paths") for metric in self.metrics):
            return [], "there are no path lengths of real images"
        count = min(self._num_real // 2, self._settings.num_fake)
        placed = self._place(variables)
        generated, real = [], []
        for split in range(REFERENCE_SPLITS):
            chosen = np.random.default_rng([split, self._num_real]).permutation(self._num_real)
            halves = chosen[:count], chosen[count : 2 * count]
            fake_values, real_values = self._split(placed, self._settings.seed + split, *halves)
            generated.append(fake_values)
            real.append(real_values)
        note = (
            f"{count:,} of each against {count:,} others of {self._source.name}; mean ± standard "
            f"deviation of {REFERENCE_SPLITS} splits{self._extractor_words()}"
        )
        columns = {"generated": generated, "real": real}
        return [(name, *mean_and_spread(runs)) for name, runs in columns.items()], note

    def _split(
        self, variables: Any, seed: int, half: np.ndarray, others: np.ndarray
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the metrics of samples, and of half of the real data, against the others."""
        count = len(half)
        if (kind := self._source.field.kind) in _DIRECT:
            real, against = (self._source.read(part.tolist()) for part in (half, others))
            samples = self._sampler.samples(variables, count, seed)
            asked = self._asked(count, seed)
            known = None if asked is None else real["label"]
            return (
                self._directly(samples, against[kind], asked),
                self._directly(real[kind], against[kind], known),
            )
        fake_values: dict[str, float] = {}
        real_values: dict[str, float] = {}
        if self._factors:
            real = self._source.read(half.tolist())
            real_values |= self._known(specs.data(real, self._source.spec), real.get("label"))
            samples = self._sampler.samples(variables, count, seed)
            fake_values |= self._known(samples, self._asked(count, seed))
        for name in self._real:
            own, extraction = self._compared(name), self._extractions[name]
            needs = {layer: frozenset({"features"}) for layer in extraction.layers}
            whole = self._with_labels(self._real_statistics(name, needs))
            one, other = _subset(whole, half), _subset(whole, others)
            fakes = self._fake_statistics(name, variables, seed, count, needs)
            fake_values |= compare.compare(own, self._layers, other, fakes)
            real_values |= compare.compare(own, self._layers, other, one)
        return fake_values, real_values

    def _measure(self, variables: Any, seed: int) -> dict[str, float]:
        count = self._settings.num_fake
        if self._source.field.kind in _DIRECT:
            samples = self._sampler.samples(variables, count, seed)
            return self._directly(samples, self._examples, self._asked(count, seed))
        values: dict[str, float] = {}
        if self._held_out:
            samples = self._sampler.samples(variables, count, seed)
            values |= self._held_out.measure(variables, samples, self._asked(count, seed), seed)
        if self._factors:
            samples = self._sampler.samples(variables, count, seed)
            values |= self._known(samples, self._asked(count, seed))
        if self._paths:
            values |= self._paths(variables, count, seed)
        for name in self._real:
            own = self._compared(name)
            needs = compare.needs(own, self._layers, fake=True)
            fake = self._fake_statistics(name, variables, seed, count, needs)
            values |= compare.compare(own, self._layers, self._real[name], fake)
        return {m.name: values[m.name] for m in self.metrics} | values

    def _fake_statistics(
        self, name: str, variables: Any, seed: int, count: int, needs: statistics.Needs
    ) -> Statistics:
        size = self._sampler.batch_size
        batches = (self._sampler.batch(variables, n, seed) for n in itertools.count(0, size))
        found = statistics.collect(self._extractions[name], batches, count, needs)
        if not self._labelled:
            return found
        return dataclasses.replace(found, labels=self._requested(count, seed))

    def _asked(self, count: int, seed: int) -> np.ndarray | None:
        """Return the labels that samples were asked for; ``None``: the game has none."""
        unconditional = self._game.num_classes is None and self._game.attributes is None
        return None if unconditional else self._requested(count, seed)

    def _requested(self, count: int, seed: int) -> np.ndarray:
        """Return the labels that samples were asked for, ``[count, ...]``."""
        size = self._sampler.batch_size
        labels = [
            jax.device_get(self._sampler.latents(first, seed)[1]) for first in range(0, count, size)
        ]
        return np.concatenate(labels)[:count]

    def _with_labels(self, real: Statistics) -> Statistics:
        """Return the statistics of the real images with their labels, where they are asked for."""
        if not self._labelled:
            return real
        chosen = order.subset(len(self._source), real.count)
        return dataclasses.replace(real, labels=self._source.read(chosen.tolist())["label"])

    def _directly(
        self, examples: np.ndarray, real: np.ndarray, labels: np.ndarray | None
    ) -> dict[str, float]:
        """Return the metrics of points, texts or music against real ones, without features."""
        source = self._source
        if source.field.kind == "music":
            scales = getattr(source, "scales", None)
            return compare.compare_music(self.metrics, examples, real, scales, labels)
        if isinstance(source, GrammarSource):
            exact, pairs = source.grammar.log_probability(examples), source.grammar.bigrams
            return compare.compare_texts(self.metrics, examples, real, pairs, exact)
        if source.field.kind == "text":
            pairs = text.bigrams(real, len(source.field.vocabulary))
            return compare.compare_texts(self.metrics, examples, real, pairs, None)
        assert isinstance(source, ToySource)
        assert source.modes is not None
        return compare.compare_points(self.metrics, examples, source.modes, source.std)

    @functools.cached_property
    def _examples(self) -> np.ndarray:
        """The real points, texts or music that samples are measured against."""
        chosen = order.subset(len(self._source), self._num_real).tolist()
        return self._source.read(chosen)[self._source.field.kind]

    def _known(self, stored: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
        """Return the metrics of stored data of which the source's factors are known."""
        if isinstance(self._source, ShapeSource):
            assert labels is not None
            return shapes.attributes(self._source.spec["label"], stored, labels)
        if isinstance(self._source, BouncingSource):
            return {"motion_error": videos.motion_error(stored), **videos.shape_metrics(stored)}
        assert isinstance(self._source, ToneSource)
        return {"pitch_accuracy": sounds.pitch_accuracy(self._source, stored)}

    def _real_statistics(self, name: str, needs: statistics.Needs) -> Statistics:
        """Return statistics of the real images, from the cache if they are there."""
        return real_statistics(
            self._source, self._num_real, self._extractions[name], needs, self._images
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
    labels = data["label"] if data else sources.labels_of(source)
    return np.bincount(labels, minlength=game.num_classes) / len(labels)


def _attributes(
    game: GenerativeGame, source: Source, data: Mapping[str, np.ndarray] | None
) -> Vectors | None:
    """Return the attributes or captions of some images, for a game that asks for them."""
    if game.attributes is None:
        return None
    labels = data["label"] if data else sources.labels_of(source)
    return Vectors(labels[order.subset(len(labels), min(len(labels), _VECTORS))])
