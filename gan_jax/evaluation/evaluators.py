"""The metrics and the evaluator of a game: of samples, or of translated images."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors, installation
from gan_jax.data.sources import Source, check_normal
from gan_jax.evaluation import choosing, generative, held_out, translation
from gan_jax.evaluation.evaluator import Evaluator
from gan_jax.evaluation.real_images import real_source
from gan_jax.evaluation.settings import AUTO, Settings
from gan_jax.games.anomaly import DetectionGame
from gan_jax.games.game import Game, as_generative
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics import compare, extractors, names
from gan_jax.metrics.names import Metric
from gan_jax.training.sampling import Sampling


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What an evaluation measures.

    Attributes:
      metrics: the metrics; maybe none.
      real: the real images that samples are measured against.
      reason: why there are no metrics.
      unseen: images that were not trained on; ``None``: no metric needs them.
    """

    metrics: list[Metric]
    real: Source
    reason: str = ""
    unseen: Source | None = None


def choose(config: Any, settings: Settings, game: Game, source: Source) -> Chosen:
    """Return what is measured, ``auto`` replaced by the metrics that suit game and data.

    Raises:
      ConfigError: a name is unknown, does not suit, or ``eval.best`` is not among them.
      MetricError: the images are too small for a metric.
      DataError: the other split cannot be read.
    """
    unsuited = f"no metric in eval.metrics = {AUTO!r} suits {source.name}"
    if isinstance(game, TranslationGame):
        return Chosen(translation.choose_metrics(config, settings, game, source), source, unsuited)
    game = as_generative(game, "evaluation by samples")
    real = real_source(config, settings, source)
    field = game.attributes
    captioned = field is not None and field.kind == "caption"
    metrics = choosing.choose_metrics(settings, source, game.num_classes, real, captioned=captioned)
    metrics, unseen = held_out.choose(config, settings, game, source, metrics)
    reason = choosing.refusal(settings, source, real) or unsuited
    return Chosen(metrics, real, reason, unseen)


def check(config: Any, settings: Settings, game: Game, source: Source) -> Chosen | None:
    """Check, before any work, what can be wrong with the evaluation of a run while it trains.

    Returns:
      What will be measured; ``None`` if the run is not evaluated.

    Raises:
      ConfigError: as for `choose`, ``eval.patience`` has nothing to judge by, Inception's weights
        do not reach a metric's layer, a metric is not for runs that train, or a game that detects
        anomalies would be trained on unknown classes.
      MetricError: Inception's weights are missing, or the images are too small for a metric.
      DataError: the other split cannot be read.
    """
    if isinstance(game, DetectionGame):
        check_normal(config.data, source)
    if not settings.every:
        given = settings.patience
        errors.require(not given, "eval.patience", given, "0, with eval.every = 0")
        return None
    chosen = choose(config, settings, game, source)
    if settings.patience and not chosen.metrics:
        raise errors.ConfigError(
            f"eval.patience = {settings.patience}, but nothing is measured: {chosen.reason}; "
            "accepted: 0, or other eval.metrics"
        )
    if apart := [metric.name for metric in chosen.metrics if metric.of == "held_out"]:
        raise errors.ConfigError(
            f"eval.metrics has {apart[0]!r}, which is measured after training; accepted with "
            f"eval.every = {settings.every}: other metrics, and {apart[0]} by "
            f"{installation.command('evaluate')}"
        )
    if own := [metric for metric in chosen.metrics if metric.extractor == names.INCEPTION]:
        setting = extractors.Setting(None, settings.inception)
        inception = extractors.make_extractor(names.INCEPTION, setting)
        for metric in own:
            compare.layer_of(metric, inception)
    return chosen


def make_evaluator(
    config: Any,
    settings: Settings,
    *,
    game: Game,
    source: Source,
    devices: Sequence[jax.Device],
    sampling: Sampling,
    data: Mapping[str, np.ndarray] | None = None,
    chosen: Chosen | None = None,
    kept: Path | None = None,
) -> Evaluator | None:
    """Return the evaluator that a configuration asks for; ``None`` where no metric suits.

    Args:
      config: a run's configuration.
      settings: its evaluation settings.
      game: what it trains.
      source: its training data.
      devices: over which the work is split.
      sampling: how samples are made, and from which weights.
      data: the arrays of ``source``, where they are in memory anyway.
      chosen: what `choose` returns for them, where it is known.
      kept: the folder of the run's classifier, which is written there if it is missing.

    Raises:
      ConfigError: a setting cannot work.
      DataError: the other split cannot be read.
      MetricError: an extractor's weights are missing.
    """
    chosen = chosen or choose(config, settings, game, source)
    if not (metrics := chosen.metrics):
        return None
    how: dict[str, Any] = {"devices": devices, "sampling": sampling}
    if isinstance(game, TranslationGame):
        return translation.TranslationEvaluator(
            config, settings, metrics, game=game, source=source, kept=kept, **how
        )
    game = as_generative(game, "evaluation by samples")
    apart = None
    if chosen.unseen is not None:
        apart = held_out.HeldOut(
            metrics,
            settings,
            game=game,
            source=source,
            unseen=chosen.unseen,
            devices=devices,
            mirror=bool(config.data.flip),
        )
    return generative.GenerativeEvaluator(
        settings,
        metrics,
        game=game,
        held_out=apart,
        source=chosen.real,
        labelled=source,
        data=data,
        kept=kept,
        **how,
    )
