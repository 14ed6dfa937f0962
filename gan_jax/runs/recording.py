"""What is kept of one run while it trains: its directory, checkpoints, logs, best evaluation."""

import contextlib
import dataclasses
import logging
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data.sources import Source
from gan_jax.evaluation import best
from gan_jax.evaluation.evaluators import Evaluator
from gan_jax.evaluation.result import Result
from gan_jax.evaluation.settings import make_settings
from gan_jax.report import environment, grids, status, writers
from gan_jax.runs import failures
from gan_jax.runs.checkpoint import Checkpoints, Restored
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training.parallel import on_host
from gan_jax.training.state import TrainState

logger = logging.getLogger(__name__)


class Recorder:
    """Keeps one run's records; a context manager. All processes call alike, and process 0 writes.

    Args:
      config: the run's own.
      run: its directory, which this process holds.
      alone: the run is a program's only one, whose status is told elsewhere; else it is one of
        several replicas, and has a status of its own.
      devices: over which its batch is split.

    Attributes:
      config: as given.
      run: as given.
      checkpoints: of the run.
      stopped: why it trains no longer while others do; ``None``: it does.
      judge: of its evaluations, once `judge_by` was called.
    """

    def __init__(self, config: ConfigDict, run: RunDirectory, *, alone: bool, devices: int) -> None:
        self.config = config
        self.run = run
        self.stopped: str | None = None
        self.judge: best.Judge | None = None
        self._devices = devices
        self._step: int | None = None
        self._primary = jax.process_index() == 0
        self._status = None if alone else status.Status(run.path)
        self._writer: writers.Writer = writers.NullWriter()
        self._stack = ExitStack()
        last = None if self._status is None else self._status.read()
        if last is not None and last["state"] == "diverged":
            self.stopped = last["reason"]
        settings = config.train
        # Between the saves of two replicas, the step before is what they have in common.
        keep = settings.keep_latest if alone else max(2, settings.keep_latest)
        self.checkpoints = self._stack.enter_context(
            Checkpoints(run.checkpoints, keep_latest=keep, keep_every=settings.keep_every)
        )
        self._stack.callback(lambda: self._writer.close())

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        """Close the logs, and wait for the last save."""
        try:
            self._stack.__exit__(kind, error, trace)
        except errors.WorkdirError as failure:
            if error is None:
                raise
            # What ended the run is told by itself, and once.
            if str(failure) != str(error):
                logger.warning("%s", failure)
        if error is not None:
            told = failures.explain(error, self.config, self._devices)
            with contextlib.suppress(errors.WorkdirError):
                self.note("failed", str(told or error) or type(error).__name__)

    def describe(self, source: Source) -> None:
        """Write what tells of the run itself: configuration, data, environment."""
        if self._primary:
            self.run.write_config(self.config)
            self.run.write_data(source)
            environment.record(self.run.path)
        self.note("running", "starting")

    def note(self, state: str, reason: str = "", step: int | None = None) -> None:
        """Write what this replica is doing; nothing for one that has stopped, or a run alone.

        Args:
          state: as in `status.Status.write`.
          reason: why.
          step: the last finished one; ``None``: that of the note before.
        """
        self._step = self._step if step is None else step
        if self._status is not None and self._primary and self.stopped is None:
            self._status.write(state, reason, self._step, self.config.train.steps)

    def stop(self, reason: str) -> None:
        """Note that this run has diverged: it trains no longer."""
        self.note("diverged", reason)
        self.stopped = reason

    def start(self, first: int) -> None:
        """Open the logs, from train step ``first`` on."""
        if self._primary and self.stopped is None:
            self._writer = writers.make_writers(self.run.path, first or None)

    def log(self, step: int, metrics: Mapping[str, float], kimg: float) -> None:
        """Record the metrics of a train step; a number that is not finite stops the run."""
        self._writer.scalars(step, dict(metrics), kimg=kimg)
        self.note("running", "", step)
        if bad := [name for name, value in metrics.items() if not np.isfinite(value)]:
            self.stop(f"{', '.join(bad)} is not finite by step {step}; {self.last_good()}")

    def draw(self, step: int, image: np.ndarray) -> None:
        """Record a picture, uint8 ``[height, width, channels]``."""
        if self._primary:
            grids.save_png(self.run.samples / f"{step:08d}.png", image)
            self._writer.image(step, "samples", image)

    def save(self, step: int, state: TrainState, meta: Mapping[str, Any], finite: bool) -> None:
        """Start saving a state; one that is not ``finite`` stops the run instead."""
        if self.goes_on(step, finite):
            self.checkpoints.save(step, state, meta)

    def goes_on(self, step: int, finite: bool) -> bool:
        """Return ``finite``: whether the state of a step is; one that is not stops the run."""
        if not finite:
            self.stop(f"the state of step {step} is not finite; {self.last_good()}")
        return finite

    def last_good(self) -> str:
        """Return, for a message, which checkpoint there is, and what to do."""
        # One that is being written counts.
        with contextlib.suppress(errors.CheckpointError):
            self.checkpoints.wait()
        steps = self.checkpoints.steps()
        there = "no checkpoint was made"
        if steps:
            there = f"the last good checkpoint is of step {steps[-1]}"
        return (
            f"{there}; the same command would come to the same: use a new --workdir with a smaller "
            "learning rate, or with optimizer.*.clip_norm"
        )

    def judge_by(self, evaluator: Evaluator, protocol: Mapping[str, Any], first: int) -> bool:
        """Take up what was measured up to step ``first``; return whether that step itself was."""
        settings = make_settings(self.config)
        by_name = {metric.name: metric for metric in evaluator.metrics}
        chosen = by_name[settings.best] if settings.best else evaluator.metrics[0]
        self.judge = best.Judge(self.run.path, chosen, settings.alarm, primary=self._primary)
        return self.judge.resume(protocol, first, self.checkpoints.steps())

    def evaluated(self, step: int, result: Result, kimg: float) -> tuple[bool, str]:
        """Record an evaluation.

        Returns:
          Whether it is the best so far, and an alarm, or "". With ``eval.on_alarm = "stop"`` an
          alarm stops the run.
        """
        assert self.judge is not None
        better, alarm = self.judge.add(result, step, kimg)
        self._writer.curves(step, {f"eval/{name}": x for name, x in result.values.items()})
        if alarm is None:
            return better, ""
        if make_settings(self.config).on_alarm == "stop":
            self.stop(alarm)
            return better, ""
        self.note("running", f"alarm: {alarm}", step)
        if self._primary:
            logger.warning("%s%s", "" if self._status is None else f"{self.run.path}: ", alarm)
        return better, alarm

    def keep_best(self) -> None:
        """Make the newest checkpoint, of the best evaluation so far, one that stays."""
        assert self.judge is not None
        assert self.judge.best is not None
        self.checkpoints.wait()
        self.judge.write()
        self.checkpoints.keep(self.judge.best.step)


def restore(records: Sequence[Recorder], abstract: TrainState) -> list[Restored] | None:
    """Return the newest state that every run has whole; ``None``: some have no checkpoint yet.

    A kill between two replicas' saves leaves the later ones a checkpoint behind. What is damaged is
    set aside, as `Checkpoints.restore` does. Of several runs, the states are on the host.

    Raises:
      CheckpointError: there is none that is whole in all.
    """
    if len(records) == 1:
        only = records[0].checkpoints
        return [only.restore(abstract)] if only.agreed_steps() else None
    while True:
        each = [set(record.checkpoints.agreed_steps()) for record in records]
        # A kill between the first saves leaves some replicas one checkpoint, and others none.
        if not all(each) and max(map(len, each)) <= 1:
            return None
        if not (common := set.intersection(*each)):
            there = "; ".join(
                f"{record.run.path.name}: {', '.join(map(str, sorted(steps))) or 'none'}"
                for record, steps in zip(records, each, strict=True)
            )
            raise errors.CheckpointError(
                f"The replicas have checkpoints of no step in common: {there}."
            )
        found = []
        for record in records:
            try:
                one = record.checkpoints.restore(abstract, max(common))
                # All states at once may be more than a device holds.
                found.append(dataclasses.replace(one, state=on_host(one.state)))
            except errors.CheckpointError:
                # This sets it aside, or tells what else is wrong with it.
                if record.checkpoints.restore(abstract).step >= max(common):
                    raise
                break
        else:
            return found
