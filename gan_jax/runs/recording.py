"""Everything that one run reads and writes in its directory while it trains."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data.sources import Source
from gan_jax.evaluation import best, evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.game import images_per_step
from gan_jax.report import atomic, environment, evaluations, grids, provenance, status, writers
from gan_jax.runs import build, failures
from gan_jax.runs.checkpoint import Checkpoints, Restored
from gan_jax.runs.pictures import Draw
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training.sampling import chosen_variables, make_sampling
from gan_jax.training.state import TrainState

logger = logging.getLogger(__name__)

# Returns what a function returns; `None`: a signal has ended it.
Attempt = Callable[[Callable[[], Any]], Any]


class Record:
    """Records what a run directory is of, and how training in it goes and ends: its status.

    A context manager; all processes make the same calls, and process 0 writes.

    Attributes:
      run: the directory, which this process has locked.
      stopped: why the run has diverged; ``None``: it has not.
    """

    def __init__(self, config: ConfigDict, run: RunDirectory, training: build.Training) -> None:
        self.run = run
        self.stopped: str | None = None
        self._config = config
        self._training = training
        self._images = images_per_step(training.game, config.train.batch_size)
        self._primary = jax.process_index() == 0
        self._status = status.Status(run.path)
        self._started = False
        self._step: int | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Close what is open, and record an error in the status."""
        try:
            self._stack.__exit__(kind, error, trace)
        except BaseException as failure:
            if error is None:
                self._note_error(failure)
                raise
            if not isinstance(failure, errors.WorkdirError):
                raise
            # The error that ends the run is reported by itself.
            if str(failure) != str(error):
                logger.warning("%s", failure)
        if error is not None:
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        """Record an error of a run that has started; failing to write it must not hide it."""
        if not self._started:
            return
        explained = failures.explain(error, self._config, self._training.replication.sharing)
        with contextlib.suppress(errors.WorkdirError):
            self.note("failed", str(explained or error) or type(error).__name__)

    def note(self, state: str, reason: str = "", step: int | None = None) -> None:
        """Write the status, unless the run has diverged; ``step`` stays if it is not given."""
        self._step = self._step if step is None else step
        if self._primary and self.stopped is None:
            self._status.write(state, reason, self._step, self._config.train.steps)

    def stop(self, reason: str) -> NoReturn:
        """Record that the run has diverged, and raise a `DivergenceError`."""
        with contextlib.suppress(errors.WorkdirError):
            self.note("diverged", reason)
        self.stopped = reason
        raise errors.DivergenceError(reason)

    def kimg(self, step: int) -> float:
        """Return the thousands of real images that each run has seen by a train step."""
        return self.run.kimg(step, self._images)

    def start(self, source: Source, origin: Mapping[str, Any] | None) -> None:
        """Write what describes the run itself: configuration, data, environment.

        ``origin`` is the record of the run that it starts from, if it starts from one.
        """
        self._started = True
        self.note("running", "starting")
        if self._primary:
            self.run.write_config(self._config)
            self.run.write_data(source)
            if origin is not None:
                self.run.write_origin(origin)
            environment.record(self.run.path)

    def finish(self, state: str, reason: str, step: int) -> str:
        """Record how the run has ended; return the reason."""
        self.note(state, reason, step)
        return reason


class Recorder(Record):
    """Records one run: status, logs, pictures, checkpoints, evaluations.

    A run that diverges raises `errors.DivergenceError`, and its status says so.

    Args:
      config: the run's own configuration.
      run: its directory, which this process has locked.
      training: what the configuration describes, or what several replicas share.
      keep_latest: checkpoints to keep; ``None``: as many as the configuration says.
      name: the run's name in messages; "" for a program's only run.
    """

    def __init__(
        self,
        config: ConfigDict,
        run: RunDirectory,
        training: build.Training,
        *,
        keep_latest: int | None = None,
        name: str = "",
    ) -> None:
        super().__init__(config, run, training)
        self.name = name
        self._is_finite = jax.jit(_all_finite)
        self._judge: best.Judge | None = None
        self._evaluator: evaluators.Evaluator | None = None
        self._writer = writers.Writer()
        self._keep_latest = keep_latest or config.train.keep_latest

    def open(self) -> None:
        """Open the run's checkpoints; nothing that an earlier start has written changes."""
        self.checkpoints = self._stack.enter_context(
            Checkpoints(
                self.run.checkpoints,
                keep_latest=self._keep_latest,
                keep_every=self._config.train.keep_every,
            )
        )

    def restore(self) -> Restored | None:
        """Return the newest whole checkpoint; ``None``: there are none."""
        if not self.checkpoints.agreed_steps():
            return None
        return self.checkpoints.restore(self._training.abstract_member)

    def prepare_saves(self) -> None:
        """Open what only saves need, so that what is wrong with it is known before the first."""
        self.checkpoints.open()

    def begin(self, first: int, show: Callable[[str], None], attempt: Attempt) -> None:
        """Open the logs.

        Args:
          first: train step from which on.
          show: shows lines on evaluations.
          attempt: does work that a signal may end; see `gan_jax.runs.preemption`.
        """
        self._show, self._attempt = show, attempt
        if self._primary:
            self._writer = writers.make_writers(
                self.run.path, first or None, self._config.report.writers
            )
            self._stack.callback(self._writer.close)

    def log(self, step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Record the metrics of a train step, and return them as numbers.

        Raises:
          DivergenceError: one is not finite.
        """
        numbers = {name: float(value) for name, value in metrics.items()}
        self._writer.scalars(step, numbers, kimg=self.kimg(step))
        self.note("running", "", step)
        if bad := [name for name, value in numbers.items() if not np.isfinite(value)]:
            self.stop(f"{', '.join(bad)} is not finite by step {step}; {self._last_good()}")
        return numbers

    def draw(self, step: int, state: TrainState, picture: Draw) -> None:
        """Draw a state, and record the picture, or the lines of text."""
        image = picture(state, self._config.train.seed)
        if not self._primary:
            return
        if isinstance(image, str):
            atomic.write_text(self.run.samples / f"{step:08d}.txt", image)
        else:
            text = provenance.synthetic(self.run.path, step, seed=self._config.train.seed)
            grids.save_png(self.run.samples / f"{step:08d}.png", image, text)
            self._writer.image(step, "samples", image)

    def save(self, step: int, state: TrainState, meta: Mapping[str, Any]) -> None:
        """Start saving a state; one that is not finite raises a `DivergenceError`."""
        self._check_finite(step, state)
        self.checkpoints.save(step, self._training.parallel.whole(state), meta)

    def _check_finite(self, step: int, state: TrainState) -> None:
        if not jax.device_get(self._is_finite(state.networks)):
            self.stop(f"the state of step {step} is not finite; {self._last_good()}")

    def _last_good(self) -> str:
        """Return, for a message, the newest checkpoint, and what to do."""
        # One that is being written counts.
        with contextlib.suppress(errors.CheckpointError):
            self.checkpoints.wait()
        steps = self.checkpoints.steps()
        last = (
            f"the last good checkpoint is of step {steps[-1]}"
            if steps
            else "no checkpoint was made"
        )
        return (
            f"{last}; rerunning this command will diverge again: use a new --workdir with a "
            "smaller learning rate, or with optimizer.*.clip_norm"
        )

    def resume_evaluations(
        self, evaluator: evaluators.Evaluator, step: int, state: TrainState, due: bool
    ) -> None:
        """Read the evaluations up to train step ``step``; if that is due and has none, evaluate."""
        self._evaluator = evaluator
        settings = make_settings(self._config)
        by_name = {metric.name: metric for metric in self._evaluator.metrics}
        chosen = by_name[settings.best] if settings.best else self._evaluator.metrics[0]
        self._judge = best.Judge(
            self.run.path,
            chosen,
            self._evaluator.names_of(chosen),
            settings.alarm,
            settings.patience,
            primary=self._primary,
        )
        protocol = self._evaluator.protocol(self._variables(state))
        measured = self._judge.resume(protocol, step, self.checkpoints.steps())
        if due and not measured:
            self.evaluate(step, state)
        self.keep_best()

    def evaluate(self, step: int, state: TrainState) -> bool | None:
        """Evaluate a state, record the numbers, and return whether it is the best so far.

        ``None``: a signal has ended the evaluation. A run that resumes at this step repeats it.

        Raises:
          DivergenceError: the state is not finite, or far worse than the best one, where
            ``eval.on_alarm`` is ``"stop"``.
        """
        assert self._evaluator is not None
        assert self._judge is not None
        self._check_finite(step, state)
        evaluator, variables = self._evaluator, self._variables(state)
        result = self._attempt(lambda: evaluator(variables))
        if result is None:
            return None
        better, alarm = self._judge.add(result, step, self.kimg(step))
        self._writer.curves(step, {f"eval/{name}": x for name, x in result.values.items()})
        numbers = [f"{name} {evaluations.format_value(x)}" for name, x in result.values.items()]
        whose = f" of {self.name}" if self.name else ""
        self._show("  ".join([f"evaluation of step {step}{whose}:", *numbers]))
        if alarm is None:
            return better
        if make_settings(self._config).on_alarm == "stop":
            self.stop(alarm)
        self.note("running", f"alarm: {alarm}", step)
        if self._primary:
            logger.warning("%s%s", f"{self.run.path}: " if self.name else "", alarm)
        return better

    @property
    def exhausted(self) -> str:
        """Why training ends early, by the last evaluation; empty: it goes on."""
        return self._judge.exhausted if self._judge is not None else ""

    def keep_best(self) -> None:
        """Keep the checkpoint of the best evaluation, which is complete or being saved."""
        assert self._judge is not None
        if self._judge.best is not None:
            self.checkpoints.wait()
            self._judge.write()
            self.checkpoints.keep(self._judge.best.step)

    def reference(self, state: TrainState) -> tuple[list[tuple[str, Any, Any]], str]:
        """Return the columns of the final table of metrics, and a note on it."""
        assert self._evaluator is not None
        return self._evaluator.reference(self._variables(state))

    def _variables(self, state: TrainState) -> dict[str, Any]:
        """Return the variables that are evaluated."""
        return chosen_variables(state, make_sampling(self._config))

    def wait(self) -> None:
        """Wait for the last save."""
        self.checkpoints.wait()


def _all_finite(tree: Any) -> jax.Array:
    """Return whether every number in ``tree`` is finite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in floats]))
