"""Evaluation of games that translate: against targets, domains and anomaly labels.

Three kinds of metrics, each as far as the game and its data allow:

- of pairs (``psnr``, ``ssim``, ..., of sounds ``si_sdr``, ...): each output against its target;
  means over examples, and of videos over the frames that are predicted;
- of sets (``fid``, ``kid768``, ...): outputs against real images of the target domain. Where the
  domains are classes of one labelled data set, the classifier of all its classes is among the
  extractors, and ``classifier_accuracy`` is the share of outputs that it assigns to the target's;
- of scores (``auroc``, ``average_precision``): whether images of classes that are not normal
  (``data.normal``, ``data.without``) have higher anomaly scores than the others.

Metrics of directions other than the first carry the name of the direction: ``kid768_BtoA``.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds, sources
from gan_jax.data import spec as specs
from gan_jax.data.sources import DomainSource, Source
from gan_jax.data.spec import Field
from gan_jax.device_map import DeviceMap
from gan_jax.evaluation import choosing, sounds, videos
from gan_jax.evaluation.anomalies import anomalous_classes, measured_source
from gan_jax.evaluation.evaluator import Column, Evaluator, parse_metrics
from gan_jax.evaluation.real_images import labelled_images, real_source
from gan_jax.evaluation.settings import Settings
from gan_jax.games.anomaly import DetectionGame
from gan_jax.games.translation import A_TO_B, TranslationGame
from gan_jax.metrics import compare, detection, names, similarity, statistics
from gan_jax.metrics.names import Metric
from gan_jax.metrics.statistics import Extraction
from gan_jax.training import translating
from gan_jax.training.sampling import Sampling


def choose_metrics(
    config: Any, settings: Settings, game: TranslationGame, source: Source
) -> list[Metric]:
    """Return the metrics to compute; as `evaluators.choose`."""
    automatic: list[str] = []
    accepted = [
        name
        for name, statistic in names.STATISTICS.items()
        if name not in names.POINT_STATISTICS and not statistic.labelled
    ]
    unclassified = _unclassified(source, game)
    has_targets = not isinstance(source, DomainSource)
    plural = _plural(specs.target(source.spec)) if has_targets else "images"
    if plural != "images":
        border = settings.border
        errors.require(border is None, "eval.border", border, f"unset, for {plural}")
        automatic = accepted = [*names.SOUND_PAIR_STATISTICS]
        if plural == "videos":
            automatic = ["psnr", "ssim", *names.VIDEO_PAIR_STATISTICS]
            accepted = [*names.PAIR_STATISTICS, *names.VIDEO_PAIR_STATISTICS]
    elif has_targets:
        automatic = ["psnr", "ssim"]
        accepted = [*names.PAIR_STATISTICS, *accepted]
    elif not unclassified:
        automatic = ["classifier_accuracy"]
        accepted = [*accepted, *automatic]
    if isinstance(game, DetectionGame):
        automatic = []
        if anomalous_classes(config, source, measured_source(config, settings)):
            automatic = [*names.SCORE_STATISTICS]
            accepted = [*names.SCORE_STATISTICS, *accepted]
    metrics = parse_metrics(settings, automatic)
    for metric in metrics:
        why = ""
        if (metric.name if metric.labelled else metric.statistic) not in accepted:
            why = {
                "pairs": "but images of two domains have no targets",
                "scores": "but no split has images of normal classes and of others (data.normal)",
                "held_out": "which is measured on samples, but the game translates images",
                "images": "which is not for translated images",
            }.get(metric.of, "but these are images")
            why = f"but these are pairs of {plural}" if plural != "images" else why
        if unclassified and plural == "images" and metric.extractor == "classifier":
            why = f"but {unclassified}"
        if why:
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, {why}; accepted: {', '.join(accepted)}"
            )
        if metric.of == "pairs":
            _check_pair(metric, game, source, _border(settings, game))
        least = compare.least_images(metric)
        if metric.of == "images" and (count := _count(settings, source)) < least:
            raise errors.ConfigError(
                f"eval.num_real = {count}; accepted for {metric.name}: {least} or more"
            )
    return metrics


def _unclassified(source: Source, game: TranslationGame) -> str:
    """Return why no classifier can recognize the classes of translated images, or ""."""
    whole = source.whole if isinstance(source, DomainSource) else None
    if whole is None:
        return f"{source.name} has no two domains that are classes of one labelled data set"
    if why := choosing.untrainable(whole):
        return f"no classifier can be trained on {whole.name}: {why}"
    one = {"image": np.empty((1, *whole.shape), np.uint8)}
    _, height, width, _ = translating.fitting(one, game)["image"].shape
    if (height, width) != whole.shape[:2]:
        return (
            f"the networks take {height}x{width} pixels of images of {whole.shape[0]}x"
            f"{whole.shape[1]}, which the classifier sees whole (data.resolution)"
        )
    return ""


def _plural(field: Field) -> str:
    """Return what is translated: images, sounds or videos."""
    return "sounds" if kinds.is_sound(field) else f"{field.kind}s"


def shown_source(config: Any, settings: Settings, game: TranslationGame, source: Source) -> Source:
    """Return the source of a run's evaluations and pictures, with anomalies if it detects them."""
    if isinstance(game, DetectionGame):
        return measured_source(config, settings)
    return real_source(config, settings, source)


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
    target = {"target": specs.target(source.spec)}
    accepted = {"image": "images", "video": "videos"}
    *_, height, width, _ = kinds.check_kinds(target, "metrics of pairs", **accepted)
    whole = {"image": np.empty((1, height, width, direction.outputs), np.uint8)}
    shape = jax.ShapeDtypeStruct(translating.fitting(whole, game)["image"].shape, np.uint8)
    try:
        compare_two = functools.partial(compare.pair_values, metric.statistic, border=border)
        jax.eval_shape(compare_two, shape, shape)
    except errors.MetricError as error:
        raise errors.ConfigError(f"eval.metrics has {metric.name!r}: {error}") from error


class TranslationEvaluator(Evaluator):
    """Measures the outputs, or the anomaly scores, of a game that translates images.

    Args, beside those of `Evaluator`:
      config: the run's configuration.
      source: its training data; `shown_source` are measured.
      kept: the folder of the run's classifier; ``None``: it keeps none.
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
        kept: Path | None = None,
    ) -> None:
        translating.check_sampling(sampling)
        shown = shown_source(config, settings, game, source)
        labelled, self._classes = None, {}
        if any(metric.extractor == "classifier" for metric in metrics):
            assert isinstance(source, DomainSource)
            assert source.whole is not None
            labelled = labelled_images(source.whole)
            # The classes of another split may have other numbers.
            sides = {"a": source.a, "b": source.b}
            self._classes = {name: int(side.read_labels([0])[0]) for name, side in sides.items()}
        super().__init__(
            settings,
            metrics,
            game=game,
            source=shown,
            devices=devices,
            sampling=sampling,
            labelled=labelled,
            kept=kept,
        )
        self._game = game
        self._border = _border(settings, game)
        found = translating.data_points(shown, settings.num_real)
        self._sizes = found.sizes
        self._points = translating.fitting(found.batch, game)
        self._size = max(examples.shape[1:-1] for examples in self._points.values())
        self._field = specs.target(game.spec)
        if 0 in self._size:
            height, width, _ = specs.target(shown.spec).shape
            raise errors.ConfigError(
                f"data.resolution: images of {height}x{width} are too small for "
                "the networks to be evaluated"
            )
        how: dict[str, Any] = {"batch_size": settings.batch_size, "devices": devices}
        self._translators = {
            name: translating.Translator(game, name, **how) for name in game.directions
        }
        self._place = next(iter(self._translators.values())).place
        self._scores = None
        if isinstance(game, DetectionGame) and any(m.of == "scores" for m in metrics):
            assert found.labels is not None
            assert shown.class_names is not None
            anomalous = anomalous_classes(config, source, shown)
            self._anomalies = [shown.class_names[k] for k in anomalous]
            self._anomalous = np.isin(found.labels, anomalous)
            if self._anomalous.all() or not self._anomalous.any():
                raise errors.ConfigError(
                    f"eval.num_real = {found.sizes[0]}, eval.split = {settings.split!r}: of these "
                    f"images of split {shown.split!r} {self._anomalous.sum()} are anomalies; "
                    "accepted: images of which some are, and some are not"
                )
            detector, spec = game, game.spec
            self._scores = DeviceMap(
                lambda variables, batch: detector.anomaly_scores(
                    variables, specs.data(kinds.to_network(spec, batch), spec)
                ),
                **how,
            )
        # By extractor and direction.
        self._real: dict[tuple[str, str], statistics.Statistics] = {}

    def _details(self, normalised: bool) -> dict[str, Any]:
        details: dict[str, Any] = {
            "n_real": max(self._sizes),
            "size": list(self._size),
            "constants": compare.constants(self.metrics, *self._sizes),
        }
        if (degradation := self._game.degradation) is not None:
            details["degradation"] = {"name": degradation.name, **dataclasses.asdict(degradation)}
        if any(metric.of == "pairs" for metric in self.metrics):
            details["border"] = self._border
        if self._scores is not None:
            details["anomalies"] = self._anomalies
        return details

    def names_of(self, metric: Metric) -> list[str]:
        """Return the names of a metric's values, one for each direction."""
        return [name for way in self._translators for name in self._named({metric.name: 0.0}, way)]

    def reference(self, variables: Mapping[str, Any]) -> tuple[list[Column], str]:
        """Return columns of the metrics of outputs and of inputs, and a note on the data."""
        values, before = self._compare_all(self._place(variables), self._settings.seed)
        sizes = " and ".join(f"{size:,}" for size in dict.fromkeys(self._sizes))
        note = f"{sizes} of {self._source.name}{self._extractor_words()}"
        if self._scores is not None:
            return [("scores", values, {})], note
        columns: list[Column] = [("output", values, {}), ("input", before, {})]
        if any(metric.labelled for metric in self.metrics):
            columns.append(("real", self._classify_real(), {}))
        return columns, note

    def _measure(self, variables: Any, seed: int) -> dict[str, float]:
        return self._compare_all(variables, seed)[0]

    def _compare_all(self, variables: Any, seed: int) -> tuple[dict[str, float], dict[str, float]]:
        """Return the metrics of outputs, and of inputs as far as they can be compared."""
        values: dict[str, float] = {}
        before: dict[str, float] = {}
        if self._scores is not None:
            found = self._scores.on_host(variables, self._points)
            for metric in self.metrics:
                if metric.of == "scores":
                    statistic = getattr(detection, metric.statistic)
                    values[metric.name] = statistic(found, self._anomalous)
        if all(metric.of == "scores" for metric in self.metrics):
            return values, before
        for number, (way, translator) in enumerate(self._translators.items()):
            batch = {name: x[: self._sizes[number]] for name, x in self._points.items()}
            images = translator(variables, batch, seed=seed)
            compared = {"output": images.outputs}
            # Inputs are compared enlarged, and grey ones as grey colours.
            channels = self._game.directions[way].outputs
            if images.inputs.shape == images.outputs.shape:
                compared["input"] = images.inputs
            elif images.inputs.shape[-1] in (1, channels):
                larger = translating.bicubic(images.inputs, *images.outputs.shape[1:3])
                compared["input"] = translating.as_colour(larger, channels)
            for name, found in (("output", values), ("input", before)):
                if name in compared:
                    own = self._compare(images._replace(outputs=compared[name]), way)
                    found.update(self._named(own, way))
        return values, before

    def _named(self, values: Mapping[str, float], way: str) -> dict[str, float]:
        """Return metrics of a direction by their names."""
        suffix = "" if way == next(iter(self._translators)) else f"_{way}"
        return {f"{name}{suffix}": value for name, value in values.items()}

    def _classify_real(self) -> dict[str, float]:
        """Return the metrics that need classes, of real images of the target domains."""
        own = [metric for metric in self.metrics if metric.labelled]
        values: dict[str, float] = {}
        for way in self._translators:
            extraction = self._extractions["classifier"]
            real = self._collect(extraction, self._others(way), own, way, fake=True)
            values |= self._named(compare.compare(own, self._layers, real, real), way)
        return values

    def _compare(self, translated: translating.Translated, way: str) -> dict[str, float]:
        """Return the metrics of pairs and sets of some outputs."""
        values: dict[str, float] = {}
        inputs, images, targets = translated
        for metric in self.metrics:
            if metric.of in ("pairs", "sound_pairs", "video_pairs") and targets is not None:
                found = self._pairs(metric, images, inputs, targets)
                values[metric.name] = float(np.mean(np.minimum(found, similarity.IDENTICAL_DB)))
        for name, extraction in self._extractions.items():
            own = self._metrics_of(name)
            if (name, way) not in self._real:
                real = self._others(way) if targets is None else targets
                self._real[name, way] = self._collect(extraction, real, own, way, fake=False)
            fake = self._collect(extraction, images, own, way, fake=True)
            values |= compare.compare(own, self._layers, self._real[name, way], fake)
        return values

    def _others(self, way: str) -> np.ndarray:
        """Return real images of a direction's target domain, uint8."""
        name = _target(way)
        return self._points[name][: self._sizes["ab".index(name)]]

    def _pairs(
        self, metric: Metric, outputs: np.ndarray, inputs: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        size = self._settings.batch_size
        if (how := self._game.degradation) is not None:
            outputs, targets = how.measured(outputs), how.measured(targets)
        rows = []
        for first in range(0, len(outputs), size):
            made, given, clean = (x[first : first + size] for x in (outputs, inputs, targets))
            with jax.transfer_guard("allow"):
                if metric.of == "sound_pairs":
                    found = sounds.pair_values(metric.statistic, self._field, made, given, clean)
                elif self._field.kind == "video":
                    found = videos.pair_values(
                        metric.statistic, made, clean, similarity.IDENTICAL_DB
                    )
                else:
                    both = compare.pair_values(metric.statistic, made, clean, border=self._border)
                    found = np.asarray(both)
                rows.append(found)
        return np.concatenate(rows)

    def _collect(
        self,
        extraction: Extraction,
        images: np.ndarray,
        own: Sequence[Metric],
        way: str,
        *,
        fake: bool,
    ) -> statistics.Statistics:
        """Return statistics of images that are to be of a direction's target domain."""
        size = extraction.batch_size
        batches = (images[first : first + size] for first in range(0, len(images), size))
        needs = compare.needs(own, self._layers, fake=fake)
        found = statistics.collect(extraction, batches, len(images), needs)
        if not self._classes:
            return found
        labels = np.full(len(images), self._classes[_target(way)], np.int32)
        return dataclasses.replace(found, labels=labels)


def _target(way: str) -> str:
    """Return the domain into which a direction translates."""
    return "b" if way == A_TO_B else "a"
