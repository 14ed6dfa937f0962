"""The best evaluation of a run so far: the checkpoint to keep, the alarm, and early stopping."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax.errors import WorkdirError
from gan_jax.evaluation.result import Result
from gan_jax.metrics.names import Metric
from gan_jax.report import atomic, evaluations
from gan_jax.training.parallel import of_first_process

FILE = "best.json"


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation so far.

    Attributes:
      step: the train step that was evaluated; its checkpoint is kept.
      metric: what chose it, in words: a metric, or the mean of those of several directions.
      value: what it was.
      protocol: how it was measured.
    """

    step: int
    metric: str
    value: float
    protocol: Mapping[str, Any]


def read(path: str | os.PathLike[str]) -> Best | None:
    """Return the content of a run's ``best.json``; ``None`` if it has none.

    Raises:
      WorkdirError: the file is damaged.
    """
    file = Path(path) / FILE
    try:
        return Best(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WorkdirError(f"{file} is damaged: {error}") from error


class Judge:
    """Records a run's evaluations, and knows its best one; all processes call alike.

    Args:
      path: the run directory.
      metric: the metric that chooses.
      names: of its values in an evaluation (`Evaluator.names_of`), whose mean counts.
      factor: a value this factor worse than the best raises an alarm.
      patience: train steps without a new best value after which training ends; 0: it goes on.
      primary: whether this process writes.

    Attributes:
      best: the best evaluation so far, by the metric that was chosen; ``None``: there is none.
      exhausted: why training ends early; empty: it goes on.
    """

    def __init__(
        self,
        path: str | Path,
        metric: Metric,
        names: Sequence[str],
        factor: float,
        patience: int,
        *,
        primary: bool,
    ) -> None:
        self.best: Best | None = None
        self.exhausted = ""
        self._path = Path(path)
        self._metric = metric
        self._names = names
        self._words = evaluations.mean_words(names)
        self._factor = factor
        self._patience = patience
        self._primary = primary

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return True
        return value < self.best.value if self._metric.lower_is_better else value > self.best.value

    def _is_alarming(self, value: float) -> bool:
        # KID and ratios in dB can be negative, and no multiple of such a value is worse.
        if self.best is None or self.best.value <= 0:
            return False
        if self._metric.lower_is_better:
            return value > self._factor * self.best.value
        return value < self.best.value / self._factor

    def _check_patience(self, step: int) -> None:
        """Note whether the run has been evaluated at ``step`` with its patience exhausted."""
        since = 0 if self.best is None else step - self.best.step
        self.exhausted = ""
        if of_first_process(0 < self._patience <= since):
            assert self.best is not None
            self.exhausted = (
                f"{self._words} has not improved since step {self.best.step}; "
                f"eval.patience = {self._patience}"
            )

    def resume(self, protocol: Mapping[str, Any], step: int, checkpoints: Sequence[int]) -> bool:
        """Read the evaluations up to ``step``; return whether that step itself was evaluated.

        Numbers of another protocol than the present one do not count, and neither do steps whose
        checkpoint has been removed.
        """
        measured = False
        for row in evaluations.read(self._path / evaluations.EVALUATIONS):
            value = evaluations.mean(row, self._names)
            if row["protocol"] != protocol or row["step"] > step or value is None:
                continue
            measured |= row["step"] == step
            if row["step"] in checkpoints and self._is_better(value):
                self.best = Best(row["step"], self._words, value, protocol)
        if measured := of_first_process(measured):
            self._check_patience(step)
        return measured

    def add(self, result: Result, step: int, kimg: float) -> tuple[bool, str | None]:
        """Record an evaluation.

        Returns:
          Whether it is the best so far, and the text of the alarm if it is far worse than that.
        """
        value = evaluations.mean(result.values, self._names)
        assert value is not None
        if self._primary:
            evaluations.append(self._path / evaluations.EVALUATIONS, result.row(step, kimg))
        alarm = None
        if of_first_process(self._is_alarming(value)):
            assert self.best is not None
            alarm = (
                f"{self._words} = {value:.4g} at step {step}; "
                f"its best was {self.best.value:.4g}, at step {self.best.step}"
            )
        if better := of_first_process(self._is_better(value)):
            self.best = Best(step, self._words, value, result.protocol)
        self._check_patience(step)
        return better, alarm

    def write(self) -> None:
        """Record the best evaluation; its checkpoint must be complete."""
        if self._primary and self.best is not None:
            text = json.dumps(dataclasses.asdict(self.best), indent=2, sort_keys=True) + "\n"
            atomic.write_text(self._path / FILE, text)
