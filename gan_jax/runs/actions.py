"""What a run does at intervals: logs, pictures, evaluations and checkpoints."""

import dataclasses
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax.data.pipeline import Pipeline
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.game import owner_starts
from gan_jax.report import evaluations, progress
from gan_jax.runs import build, pictures, replicas
from gan_jax.runs.metric_sums import MetricSums
from gan_jax.runs.preemption import StopRequest
from gan_jax.runs.recording import Recorder
from gan_jax.training import sampling
from gan_jax.training.state import TrainState


@dataclasses.dataclass
class Actions:
    """The actions of a run; those with an interval take the train step and its state.

    Attributes:
      abandoned: whether a signal has ended an evaluation, or its preparation.
    """

    config: ConfigDict
    training: build.Training
    recorder: Recorder | replicas.ReplicaRecorder
    sums: MetricSums
    bar: progress.Progress
    picture: pictures.Draw
    pipeline: Pipeline
    stop: StopRequest
    measured: evaluators.Chosen | None
    abandoned: bool = False

    def __post_init__(self) -> None:
        self._evaluator: evaluators.Evaluator | None = None
        self._fingerprint = self.pipeline.source.fingerprint()
        self._rates = {n: jax.jit(o.learning_rate) for n, o in self.training.optimizers.items()}

    def log(self, step: int, state: TrainState) -> None:
        """Record the means of the metrics since the last log step, and the learning rates."""
        del state
        metrics = {**self.sums.means(), **self._learning_rates(step)}
        if step % self.config.train.log_every == 0:
            self.sums.restart()
        logged = self.recorder.log(step, metrics)
        losses = {n: x for n, x in logged.items() if n.endswith(("loss", "penalty"))}
        self.bar.update(step, losses)

    def _learning_rates(self, step: int) -> dict[str, Any]:
        """Return the learning rate that each network was last updated with."""
        factor = np.asarray(self.training.settings.get("learning_rate", 1.0), np.float64)
        starts = owner_starts(self.training.game)
        with jax.transfer_guard("allow"):
            return {
                f"{name}/learning_rate": factor * float(rate(max(0, step - 1 - starts[name])))
                for name, rate in self._rates.items()
            }

    def draw(self, step: int, state: TrainState) -> None:
        """Record a picture."""
        with self.bar.doing("drawing"):
            self.recorder.draw(step, state, self.picture)

    def prepare(self, first: int, state: TrainState, *, due: bool = False) -> None:
        """Prepare the evaluation once, and go on from the evaluations up to train step ``first``.

        ``due``: that step, which ``state`` is of, is evaluated if it was not.
        """
        if self._evaluator is not None or self.abandoned:
            return
        source = self.pipeline.source

        def make() -> evaluators.Evaluator | None:
            return evaluators.make_evaluator(
                self.config,
                make_settings(self.config),
                game=self.training.game,
                source=source,
                devices=self.training.devices,
                sampling=sampling.make_sampling(self.config),
                data=self.pipeline.data,
                chosen=self.measured,
                kept=self.recorder.run.classifier,
            )

        with self.bar.doing("preparing the evaluation"), jax.transfer_guard("allow"):
            self._evaluator = self.stop.attempt(make)
            if self._evaluator is None:
                self.abandoned = True
                return
            self.recorder.resume_evaluations(self._evaluator, first, state, due)

    def evaluate(self, step: int, state: TrainState) -> None:
        """Record an evaluation, and keep a checkpoint of the best one."""
        if self._evaluator is None:
            return
        with self.bar.doing("evaluating"), jax.transfer_guard("allow"):
            better = self.recorder.evaluate(step, state)
        if better is None:
            self.abandoned = True
        elif better:
            self.save(step, state)
            self.recorder.keep_best()

    def compare(self, state: TrainState) -> None:
        """Show a table that puts the last metrics into perspective."""
        if self._evaluator is None:
            return
        with self.bar.doing("evaluating"):
            found = self.stop.attempt(lambda: self.recorder.reference(state))
        if found is not None and jax.process_index() == 0:
            columns, note = found
            evaluations.table(columns, note=note)

    def save(self, step: int, state: TrainState) -> None:
        """Save a checkpoint."""
        meta = {
            "seconds": self.bar.clock.seconds,
            "fingerprint": self._fingerprint,
            "metrics": self.sums.pending(),
        }
        self.recorder.save(step, state, meta)
