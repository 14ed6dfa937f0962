"""The evaluator of a game: of samples, or of translated images."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from gan_jax.data.sources import Source
from gan_jax.evaluation import generative, translation
from gan_jax.evaluation.result import Result
from gan_jax.evaluation.settings import Settings
from gan_jax.games.game import Game, as_generative
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics.names import Metric
from gan_jax.training.sampling import Sampling


class Evaluator(Protocol):
    """Measures the variables of a run.

    Attributes:
      metrics: the metrics it measures; the first one chooses the best checkpoint.
    """

    metrics: list[Metric]

    def __call__(self, variables: Mapping[str, Any]) -> Result:
        """Return the metrics of some variables, as `sampling.chosen_variables` returns them."""
        ...

    def protocol(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol by which variables, or their shapes, are measured, JSON-able."""
        ...

    def reference(self, variables: Mapping[str, Any]) -> tuple[list[tuple[str, Any, Any]], str]:
        """Return columns of a table that puts the metrics into perspective, and a note on it."""
        ...


def choose_metrics(config: Any, settings: Settings, game: Game, source: Source) -> list[Metric]:
    """Return the metrics to compute, ``auto`` replaced by what suits game and data; maybe none.

    Raises:
      ConfigError: a name means nothing, does not suit, or ``eval.best`` is not among them.
    """
    if isinstance(game, TranslationGame):
        return translation.choose_metrics(config, settings, game, source)
    game = as_generative(game, "evaluation by samples")
    return generative.choose_metrics(settings, source, game.num_classes)


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
      sampling: how samples are made, and of which weights.
      data: the arrays of ``source``, where they are in memory anyway.

    Raises:
      ConfigError: a setting cannot work.
      DataError: the other split cannot be read.
      MetricError: an extractor's weights are missing.
    """
    how: dict[str, Any] = {"source": source, "devices": devices, "sampling": sampling}
    if isinstance(game, TranslationGame):
        return translation.make_evaluator(config, settings, game=game, **how)
    game = as_generative(game, "evaluation by samples")
    return generative.make_evaluator(config, settings, game=game, data=data, **how)
