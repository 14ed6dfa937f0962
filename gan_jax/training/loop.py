"""A run from start to end: build, restore, compile, train, record."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import pipeline as pipelines
from gan_jax.data import sources
from gan_jax.games.game import images_per_step, owner_starts
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics import compare, extractors, names
from gan_jax.report import environment, evaluations, grids, progress, status, writers
from gan_jax.training import (
    best,
    build,
    evaluation,
    evaluators,
    pictures,
    plan,
    run_directory,
    sampling,
    translating,
)
from gan_jax.training.checkpoint import Checkpoints
from gan_jax.training.preemption import StopRequest
from gan_jax.training.state import TrainState

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
      state: ``"done"``, ``"preempted"`` or ``"planned"`` (a dry run).
      step: train steps taken since the start of the run.
      workdir: the run directory, ``None`` for a dry run.
      reason: the signal that preempted it.
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
    dry_run: bool = False,
    defaults: ConfigDict | None = None,
) -> Result:
    """Train ``config`` in ``workdir``, going on where a run of it stopped.

    Side effects: writes the run directory (process 0 alone), prints progress, handles SIGTERM and
    Ctrl-C.

    Args:
      config: a configuration with every field of ``configs/base.py``.
      workdir: the run directory.
      dry_run: build and compile everything, print the plan, train nothing and write nothing.
      defaults: the fields that a run of an older version may lack, as they were then; see
        `run_directory.RunDirectory.check_config`.

    Raises:
      GanJaxError: with a reason of one line. ``status.json`` has it too, once the directory is
      ours.
    """
    # --- Everything that can be wrong with the configuration fails here. ------------------------
    build.set_precision(config)
    source = sources.make_source(config.data)
    training = build.make_training(config, source.shape, source.num_classes)
    pipeline = _pipeline(config, training, source)
    how = sampling.make_sampling(config)
    if isinstance(training.game, TranslationGame):
        translating.check_sampling(how)
    _check_evaluation(config, training, source)
    if dry_run:
        plan.show(config, training, pipeline, _compile(config, training, pipeline))
        plan.show_parameters(training)
        return Result("planned", 0, None)
    run = run_directory.RunDirectory(workdir)
    primary = jax.process_index() == 0
    with ExitStack() as stack:
        _together(run.claim if primary else None)
        stack.callback(run.release)
        run.check_config(config, defaults)

        # --- From here on the directory is ours, and its status tells how the run ended. ---------
        record = status.Status(run.path)

        def note(state: str, reason: str = "", step: int | None = None) -> None:
            if primary:
                record.write(state, reason, step, config.train.steps)

        try:
            result = _run(config, training, pipeline, run, note)
        except errors.DivergenceError as error:
            note("diverged", str(error))
            raise
        except BaseException as error:
            note("failed", str(error) or type(error).__name__)
            raise
        note(result.state, result.reason, result.step)
        return result


def _run(
    config: ConfigDict,
    training: build.Training,
    pipeline: pipelines.Pipeline,
    run: run_directory.RunDirectory,
    note: Callable[..., None],
) -> Result:
    """Train from the newest checkpoint, or from the start, to the end or until asked to stop."""
    primary = jax.process_index() == 0
    settings, evaluating = config.train, evaluation.make_settings(config)
    source, parallel = pipeline.source, training.parallel
    if primary:
        run.write_config(config)
        run.write_data(source)
        environment.record(run.path)
    note("running", "starting")

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        # --- The state: the newest checkpoint that is whole, else a fresh one. -------------------
        checkpoints = stack.enter_context(
            Checkpoints(
                run.checkpoints, keep_latest=settings.keep_latest, keep_every=settings.keep_every
            )
        )
        if checkpoints.steps():
            restored = checkpoints.restore(training.abstract_state)
            _check_continues(restored.step, restored.meta, config, source)
            state, first, seconds = restored.state, restored.step, restored.meta["seconds"]
        else:
            state, first, seconds = training.init_state(), 0, 0.0

        # --- Compile, and place what stays on the devices. ---------------------------------------
        compiled = _compile(config, training, pipeline)
        if primary:
            plan.show(config, training, pipeline, compiled)
        data = parallel.put_replicated(pipeline.data)
        if primary and evaluating.every:
            print("preparing the evaluation ...", flush=True)
        evaluator = _evaluator(config, evaluating, training, pipeline)
        picture = pictures.make_picture(config, training, pipeline)
        is_finite = jax.jit(_all_finite)
        rates = {name: jax.jit(o.learning_rate) for name, o in training.optimizers.items()}
        starts = owner_starts(training.game)

        # --- What watches the run. ---------------------------------------------------------------
        writer: writers.Writer = writers.NullWriter()
        if primary:
            writer = writers.make_writers(run.path, first if first else None)
        stack.callback(writer.close)
        images = images_per_step(training.game, settings.batch_size)
        clock = progress.Clock(seconds)
        bar = stack.enter_context(
            progress.Progress(
                settings.steps, images, start_step=first, clock=clock, enabled=primary
            )
        )
        profiler = stack.enter_context(_profiler(config, run.path, enabled=primary))

        def log(step: int, state: TrainState) -> None:
            sums, count = jax.device_get((state.metrics, state.count))
            metrics = {name: float(total / count) for name, total in sums.items()}
            last_step = jax.device_get(state.step) - 1
            with jax.transfer_guard("allow"):
                for name, rate in rates.items():
                    metrics[f"{name}/learning_rate"] = float(rate(max(0, last_step - starts[name])))
            writer.scalars(step, metrics, kimg=step * images / 1000)
            bar.update(step, {n: v for n, v in metrics.items() if n.endswith(("loss", "penalty"))})
            note("running", "", step)
            if bad := [name for name, value in metrics.items() if not np.isfinite(value)]:
                raise errors.DivergenceError(
                    f"{', '.join(bad)} is not finite by step {step}; {_last_good(checkpoints)}"
                )

        def draw(step: int, state: TrainState) -> None:
            with clock.pause():
                image = picture(state)
                if primary:
                    grids.save_png(run.samples / f"{step:08d}.png", image)
                    writer.image(step, "samples", image)

        def save(step: int, state: TrainState) -> None:
            if not bool(jax.device_get(is_finite(state.networks))):
                raise errors.DivergenceError(
                    f"the state of step {step} is not finite; {_last_good(checkpoints)}"
                )
            meta = {"seconds": clock.seconds, "fingerprint": source.fingerprint()}
            checkpoints.save(step, state, meta)

        def evaluate(step: int, state: TrainState) -> bool:
            """Measure a state; return whether it is the best so far."""
            if evaluator is None:
                return False
            with clock.pause(), jax.transfer_guard("allow"):
                result = evaluator(state)
                better, alarm = judge.add(result, step, step * images / 1000)
                writer.curves(step, {f"eval/{name}": x for name, x in result.values.items()})
                numbers = [f"{n} {evaluations.format_value(x)}" for n, x in result.values.items()]
                bar.tell("  ".join([f"evaluation of step {step}:", *numbers]))
            if alarm is not None:
                if evaluating.on_alarm == "stop":
                    raise errors.DivergenceError(alarm)
                note("running", f"alarm: {alarm}", step)
                if primary:
                    logger.warning("%s", alarm)
            return better

        def keep_best() -> None:
            """Make the newest checkpoint, of the best evaluation so far, one that stays."""
            assert judge.best is not None
            checkpoints.wait()
            judge.write()
            checkpoints.keep(judge.best.step)

        # --- What was measured before this process. ----------------------------------------------
        if evaluator is not None:
            chosen = _chosen_metric(evaluating, evaluator)
            judge = best.Judge(run.path, chosen, evaluating.alarm, primary=primary)
            measured = judge.resume(evaluator.protocol(state), first, checkpoints.steps())
            if first and not measured and _is_due(first, evaluating.every, settings.steps):
                evaluate(first, state)
            if judge.best is not None:
                keep_best()

        # --- The loop. ---------------------------------------------------------------------------
        step, reason = first, None
        with pipeline.batches(first) as batches, jax.transfer_guard("disallow"):
            if step == 0:
                draw(step, state)
            while step < settings.steps and not (reason := stop.reason(step)):
                profiler(step)
                batch = parallel.put_batch(next(batches))
                state = parallel(state, data, batch)
                step += config.train.steps_per_call
                last = step == settings.steps
                if last or step % settings.log_every == 0:
                    log(step, state)
                if last or step % settings.sample_every == 0:
                    draw(step, state)
                better = _is_due(step, evaluating.every, settings.steps) and evaluate(step, state)
                if better or last or step % settings.checkpoint_every == 0:
                    save(step, state)
                if better:
                    keep_best()
            if reason and step > first and step % settings.checkpoint_every:
                save(step, state)
            checkpoints.wait()
        if evaluator is not None and not reason and step > first:
            columns, words = evaluator.reference(state)
            if primary:
                evaluations.table(columns, note=words)
    if reason:
        return Result("preempted", step, run.path, reason, primary)
    return Result("done", step, run.path, "", primary)


def _together(action: Callable[[], None] | None) -> None:
    """Run ``action``, which process 0 alone is given, and let every process fail if it does."""
    error: errors.GanJaxError | None = None
    try:
        if action is not None:
            action()
    except errors.GanJaxError as caught:
        error = caught
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.int32(error is not None))
        if failed and error is None:
            raise errors.WorkdirError("process 0 could not take the run directory, and says why")
    if error is not None:
        raise error


def _pipeline(
    config: ConfigDict, training: build.Training, source: sources.Source
) -> pipelines.Pipeline:
    """Return the batches that ``training`` will ask for."""
    return pipelines.make_pipeline(
        source,
        seed=config.train.seed,
        global_batch=config.train.batch_size,
        batches_per_step=build.data_batches(training),
        steps_per_call=config.train.steps_per_call,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        device_cache_gib=config.data.device_cache_gib,
        workers=config.data.workers,
        prefetch=config.data.prefetch,
    )


def _compile(config: ConfigDict, training: build.Training, pipeline: pipelines.Pipeline) -> Any:
    """Compile the train step for the shapes that will come; return JAX's compiled object."""
    data, batch = (
        {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in abstract.items()}
        for abstract in (pipeline.abstract_data(), pipeline.abstract_batch())
    )
    return training.parallel.compile(training.abstract_state, data, batch)


def _check_evaluation(config: ConfigDict, training: build.Training, source: sources.Source) -> None:
    """Check what can be wrong with ``config.eval`` before any work."""
    settings = evaluation.make_settings(config)
    if not settings.every:
        return
    metrics = evaluators.choose_metrics(config, settings, training.game, source)
    if own := [metric for metric in metrics if metric.extractor == names.INCEPTION]:
        setting = extractors.Setting(None, settings.inception)
        inception = extractors.make_extractor(names.INCEPTION, setting)
        for metric in own:
            compare.layer_of(metric, inception)


def _evaluator(
    config: ConfigDict,
    settings: evaluation.Settings,
    training: build.Training,
    pipeline: pipelines.Pipeline,
) -> evaluators.Evaluator | None:
    """Return what evaluates the run while it trains; ``None``: nothing does."""
    if not settings.every:
        return None
    return evaluators.make_evaluator(
        config,
        settings,
        game=training.game,
        source=pipeline.source,
        devices=training.devices,
        sampling=sampling.make_sampling(config),
        data=pipeline.data,
    )


def _chosen_metric(settings: evaluation.Settings, evaluator: evaluators.Evaluator) -> names.Metric:
    """Return the metric by which the best checkpoint is chosen."""
    by_name = {metric.name: metric for metric in evaluator.metrics}
    return by_name[settings.best] if settings.best else evaluator.metrics[0]


def _is_due(step: int, every: int, last: int) -> bool:
    """Return whether ``step`` is to be evaluated."""
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
    if step % config.train.steps_per_call:
        raise errors.ConfigError(
            f"train.steps_per_call = {config.train.steps_per_call}, but this run goes on from step "
            f"{step}; accepted: a divisor of {step}"
        )
    if meta["fingerprint"] != source.fingerprint():
        raise errors.WorkdirError(
            f"the data set has changed since the checkpoint of step {step}: it was "
            f"{meta['fingerprint']}, it is {source.fingerprint()}"
        )


def _all_finite(tree: Any) -> jax.Array:
    """Return whether every number in ``tree`` is finite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in floats]))


def _last_good(checkpoints: Checkpoints) -> str:
    steps = checkpoints.steps()
    return f"the last good checkpoint is of step {steps[-1]}" if steps else "no checkpoint was made"


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
