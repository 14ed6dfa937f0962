"""The metrics and the evaluator of a game: of samples, or of translated images."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gan_jax.data.sources import Source, check_normal
from gan_jax.evaluation import generative, translation
from gan_jax.evaluation.evaluator import Evaluator
from gan_jax.evaluation.real_images import real_source
from gan_jax.evaluation.settings import Settings
from gan_jax.games.anomaly import DetectionGame
from gan_jax.games.game import Game, as_generative
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics import compare, extractors, names
from gan_jax.metrics.names import Metric
from gan_jax.training.sampling import Sampling

logger = logging.getLogger(__name__)


def choose_metrics(config: Any, settings: Settings, game: Game, source: Source) -> list[Metric]:
    """Return the metrics to compute, ``auto`` replaced by what suits game and data; maybe none.

    Raises:
      ConfigError: a name is unknown, does not suit, or ``eval.best`` is not among them.
      MetricError: the images are too small for a metric.
    """
    if isinstance(game, TranslationGame):
        return translation.choose_metrics(config, settings, game, source)
    game = as_generative(game, "evaluation by samples")
    return generative.choose_metrics(settings, source, game.num_classes)


def check(config: Any, settings: Settings, game: Game, source: Source) -> None:
    """Check, before any work, what can be wrong with the evaluation of a run while it trains.

    Raises:
      ConfigError: as for `choose_metrics`, Inception's weights do not reach a metric's layer, or a
        game that detects anomalies would be trained on unknown classes.
      MetricError: Inception's weights are missing, or the images are too small for a metric.
    """
    if isinstance(game, DetectionGame):
        check_normal(config.data, source)
    if not settings.every:
        return
    metrics = choose_metrics(config, settings, game, source)
    if own := [metric for metric in metrics if metric.extractor == names.INCEPTION]:
        setting = extractors.Setting(None, settings.inception)
        inception = extractors.make_extractor(names.INCEPTION, setting)
        for metric in own:
            compare.layer_of(metric, inception)


def make_evaluator(
    config: Any,
    settings: Settings,
    *,
    game: Game,
    source: Source,
    devices: Sequence[jax.Device],
    sampling: Sampling,
    data: Mapping[str, np.ndarray] | None = None,
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

    Raises:
      ConfigError: a setting cannot work.
      DataError: the other split cannot be read.
      MetricError: an extractor's weights are missing.
    """
    metrics = choose_metrics(config, settings, game, source)
    if not metrics:
        logger.info("no evaluation: no metric in eval.metrics = 'auto' suits %s", source.name)
        return None
    how: dict[str, Any] = {"devices": devices, "sampling": sampling}
    if isinstance(game, TranslationGame):
        return translation.TranslationEvaluator(
            config, settings, metrics, game=game, source=source, **how
        )
    return generative.GenerativeEvaluator(
        settings,
        metrics,
        game=as_generative(game, "evaluation by samples"),
        source=real_source(config, settings, source),
        labelled=source,
        data=data,
        **how,
    )
