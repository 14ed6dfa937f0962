"""A run from start to end: build, restore, compile, train, record."""

import dataclasses
import gc
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.data.pipeline import Pipeline
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.game import images_per_step
from gan_jax.games.translation import TranslationGame
from gan_jax.report import heartbeat, progress, writers
from gan_jax.runs import (
    branch,
    build,
    failures,
    fitting,
    initialization,
    pictures,
    plan,
    rehearsal,
    replicas,
)
from gan_jax.runs.actions import Actions
from gan_jax.runs.config import with_local_paths
from gan_jax.runs.metric_sums import MetricSums
from gan_jax.runs.pace import Pace
from gan_jax.runs.preemption import StopRequest
from gan_jax.runs.recording import Recorder
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training import sampling, translating
from gan_jax.training.parallel import of_first_process
from gan_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
      state: ``"done"``, ``"preempted"`` or ``"planned"`` (a dry run).
      step: train steps taken since the start of the run.
      workdir: the run directory, ``None`` for a dry run.
      reason: the signal that preempted it, or why it was done early.
      primary: whether this is process 0, the one that writes.
    """

    state: str
    step: int
    workdir: Path | None
    reason: str = ""
    primary: bool = True


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    dry_run: rehearsal.DryRun | None = None,
    continue_from: str | None = None,
) -> Result:
    """Train ``config`` in ``workdir``; a run that is in it already is continued.

    Side effects: writes the run directory (process 0 alone), prints progress, handles SIGTERM and
    Ctrl-C.

    Args:
      config: a configuration, see `gan_jax.runs.config`.
      workdir: the run directory.
      dry_run: build and compile everything, and print the plan; nothing is kept of the few train
        steps that are timed, and nothing is written but the preview.
      continue_from: ``RUN@STEP``, another run that a new run continues with other settings.

    Raises:
      GanJaxError: with a reason of one line. ``status.json`` has it too, unless the directory
        cannot be trained in as it is: a run that is refused stays unchanged.
    """
    config = with_local_paths(config)
    with build.matmul_precision(config):
        return _train(config, workdir, dry_run, continue_from)


def _train(
    config: ConfigDict,
    workdir: str | Path,
    dry_run: rehearsal.DryRun | None,
    continue_from: str | None,
) -> Result:
    """Do what `train` does, in JAX's current precision of matrix products."""
    # --- Every mistake in the configuration is found here. --------------------------------------
    primary = jax.process_index() == 0
    writers.check(config.report.writers)
    with heartbeat.working("scanning the data set", enabled=primary):
        config, source = fitting.fitted(config)
        source.fingerprint()
    training = build.make_training(config, source.spec)
    pipeline = replicas.make_pipeline(config, training, source)
    if isinstance(training.game, TranslationGame):
        translating.check_sampling(sampling.make_sampling(config))
    measured = evaluators.check(config, make_settings(config), training.game, source)
    owned = replicas.directories(config, workdir)
    runs = [run for run, _ in owned]
    origin = None
    if dry_run is not None or _is_new(runs, config, continue_from):
        origin = _read_origin(config, training, source, continue_from)
    if dry_run is not None:
        with _explained(config, training):
            rehearsal.show(config, training, pipeline, Path(workdir), dry_run, origin, measured)
        return Result("planned", 0, None)

    # --- Lock the directory, and train in it. ---------------------------------------------------
    with ExitStack() as stack:
        for run in runs:
            _claim(run)
            stack.callback(run.release)
        for run, own in owned:
            run.check_config(own)
        with _explained(config, training), replicas.make_recorder(owned, training) as recorder:
            return _run(config, training, pipeline, recorder, origin, measured)


@contextmanager
def _explained(config: ConfigDict, training: build.Training) -> Iterator[None]:
    """Explain errors of JAX to the user of a run."""
    try:
        yield
    except Exception as error:
        if explained := failures.explain(error, config, training.replication.sharing):
            raise explained from error
        raise


def _is_new(runs: list[RunDirectory], config: ConfigDict, continue_from: str | None) -> bool:
    """Return whether nothing has been saved yet of a run, which may continue another one."""
    count = config.train.replicas
    single = count == 1 or continue_from is None
    errors.require(single, "train.replicas", count, "1, with --continue_from")
    runs[0].check_origin(continue_from)
    return not any(run.has_checkpoints() for run in runs)


def _read_origin(
    config: ConfigDict, training: build.Training, source: sources.Source, continue_from: str | None
) -> initialization.Weights | branch.Parent | None:
    """Return what a new run starts from; ``None``: random weights."""
    if continue_from is None:
        return initialization.read_weights(config, training)
    return branch.read_parent(continue_from, config, training, source)


def _run(
    config: ConfigDict,
    training: build.Training,
    pipeline: Pipeline,
    recorder: Recorder | replicas.ReplicaRecorder,
    origin: initialization.Weights | branch.Parent | None,
    measured: evaluators.Chosen | None,
) -> Result:
    """Train to the end or until asked to stop.

    The first state is the newest checkpoint; without one, that of ``origin``, or a random one.
    """
    primary = jax.process_index() == 0
    settings = config.train
    parallel, source = training.parallel, pipeline.source
    evaluate_every = config.eval.every if measured is not None and measured.metrics else 0

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())

        # --- The state: the newest whole checkpoint, or a fresh one. -----------------------------
        recorder.open()
        sums = MetricSums(settings.steps_per_call, parallel.fetch)
        with heartbeat.working("preparing the first state", enabled=primary):
            fresh, first_state, first, seconds = _first_state(
                config, training, recorder, sums, source, origin
            )
        # Only what has been accepted is written.
        recorder.start(source, origin.record if origin is not None else None)
        recorder.begin(first, lambda line: bar.log(line), stop.attempt)
        picture = pictures.make_picture(config, training, pipeline)

        # --- Compile, and place what stays on the devices. ---------------------------------------
        # XLA does not hold Python's lock: the step is compiled, or read from the cache, during the
        # other work.
        compiler = stack.enter_context(futures.ThreadPoolExecutor(1))

        def prepare() -> tuple[TrainState, Any, Any]:
            with heartbeat.working("compiling the train step", enabled=primary), _uncollected():
                compiling = compiler.submit(training.lower_step(pipeline))
                if primary:
                    plan.show(plan.rows(config, training, pipeline, origin, measured))
                state = first_state()
                compiled = compiling.result()
            with heartbeat.working("reading the data set", enabled=primary) as count:
                return state, compiled, parallel.put_replicated(pipeline.read(count))

        if (prepared := stop.attempt(prepare)) is None:
            signal = recorder.finish("preempted", stop.reason() or "", first)
            return Result("preempted", first, recorder.run.path, signal, primary)
        state, compiled, data = prepared

        # --- The actions, with their intervals in train steps. -----------------------------------
        images = images_per_step(training.game, settings.batch_size) * training.replicas
        bar = stack.enter_context(
            progress.Progress(
                settings.steps,
                images,
                start_step=first,
                start_kimg=recorder.kimg(first) * training.replicas,
                clock=progress.Clock(seconds),
                enabled=primary,
            )
        )
        profiler = stack.enter_context(_profiler(config, recorder.run.path, enabled=primary))
        actions = Actions(config, training, recorder, sums, bar, picture, pipeline, stop, measured)
        hooks = (
            (settings.log_every, actions.log),
            (settings.sample_every, actions.draw),
            (evaluate_every, actions.evaluate),
            (settings.checkpoint_every, actions.save),
        )

        # --- The loop. ---------------------------------------------------------------------------
        step, reason, pace = first, None, Pace()
        # The first state is drawn after a step, which is what the user waits for.
        undrawn = pictures.kept(state, parallel) if fresh and not first else None
        with pipeline.batches(first) as batches, jax.transfer_guard("disallow"):
            if fresh and first:
                actions.draw(step, state)
                actions.save(step, state)  # From here on, the other run is not needed.
            if first > 0 and _is_due(first, evaluate_every, settings.steps):
                actions.prepare(first, state, due=True)
            while step < settings.steps and not recorder.exhausted:
                if reason := stop.reason():
                    break
                profiler(step)
                try:
                    state, metrics = parallel(state, data, parallel.put_batch(next(batches)))
                finally:
                    # Found while the devices compute; shown, too, where they have too little of it.
                    if compiled is not None and primary:
                        for row in plan.memory_rows(compiled):
                            bar.log(plan.line(*row))
                    compiled = None
                sums.add(metrics)
                step += settings.steps_per_call
                bar.reach(step - settings.steps_per_call * pace.add(metrics))
                if undrawn is not None:
                    actions.draw(first, undrawn)
                    undrawn = None
                    recorder.prepare_saves()
                if evaluate_every:
                    actions.prepare(first, state)
                for every, action in hooks:
                    if _is_due(step, every, settings.steps):
                        action(step, state)
            if actions.abandoned:
                reason = reason or stop.reason()
            early = recorder.exhausted if step < settings.steps else ""
            if (reason or early) and step > first and step % settings.checkpoint_every:
                actions.save(step, state)
            recorder.wait()
        if not reason and step > first:
            actions.compare(state)
        outcome = "preempted" if reason else "done"
        reason = recorder.finish(outcome, reason or early, step)
    return Result(outcome, step, recorder.run.path, reason, primary)


class _First(NamedTuple):
    """The first state of a process: whether no process had it before, its step, and the seconds."""

    fresh: bool
    state: Callable[[], TrainState]
    step: int
    seconds: float


def _first_state(
    config: ConfigDict,
    training: build.Training,
    recorder: Recorder | replicas.ReplicaRecorder,
    sums: MetricSums,
    source: sources.Source,
    origin: initialization.Weights | branch.Parent | None,
) -> _First:
    """Return the newest checkpoint, whose metrics continue in ``sums``, or a fresh state.

    The program that makes a fresh one is compiled when it is asked for.
    """
    if (restored := recorder.restore()) is not None:
        _check_continues(restored.step, restored.meta, config, source)
        sums.resume(restored.meta["metrics"], training.parallel.put_replicated)
        return _First(False, lambda: restored.state, restored.step, restored.meta["seconds"])
    if isinstance(origin, branch.Parent):
        _check_calls(config, origin.step)
        return _First(True, lambda: origin.state, origin.step, 0.0)

    def fresh() -> TrainState:
        state = training.init_state()
        return state if origin is None else origin.put(state)

    return _First(True, fresh, 0, 0.0)


def _claim(run: RunDirectory) -> None:
    """Lock a run directory in process 0, and let every process fail if that does."""
    error: errors.WorkdirError | None = None
    if jax.process_index() == 0:
        try:
            run.claim()
        except errors.WorkdirError as caught:
            error = caught
    if of_first_process(error is not None) and error is None:
        raise errors.WorkdirError("process 0 could not lock the run directory, and reports why")
    if error is not None:
        raise error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not look for garbage: what is traced is much, and stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _is_due(step: int, every: int, last: int) -> bool:
    """Return whether an action with an interval, done after the last step too, is due."""
    return bool(every) and (step == last or step % every == 0)


def _check_continues(
    step: int, meta: dict[str, Any], config: ConfigDict, source: sources.Source
) -> None:
    """Check that what was restored is this run's past."""
    if step > config.train.steps:
        raise errors.WorkdirError(
            f"train.steps = {config.train.steps}, but this run has taken {step} steps already; "
            "accepted: that many or more"
        )
    _check_calls(config, step)
    if meta["fingerprint"] != source.fingerprint():
        raise errors.WorkdirError(
            f"the data set has changed since the checkpoint of step {step}: it was "
            f"{meta['fingerprint']}, it is {source.fingerprint()}"
        )


def _check_calls(config: ConfigDict, step: int) -> None:
    """Check that the calls of a run that goes on from a step end at its intervals."""
    if step % config.train.steps_per_call:
        raise errors.ConfigError(
            f"train.steps_per_call = {config.train.steps_per_call}, but this run goes on from step "
            f"{step}; accepted: a divisor of {step}"
        )


@contextmanager
def _profiler(config: ConfigDict, path: Path, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Give a function to be called before every step: it traces those in the profile window."""
    start, running = config.profile.start, False

    def at(step: int) -> None:
        nonlocal running
        if not enabled or start is None:
            return
        inside = start <= step < start + config.profile.steps
        if inside and not running:
            jax.profiler.start_trace(str(path / "profile"))
        if running and not inside:
            jax.profiler.stop_trace()
        running = inside

    try:
        yield at
    finally:
        if running:
            jax.profiler.stop_trace()
