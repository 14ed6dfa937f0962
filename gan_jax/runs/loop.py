"""A run from start to end: build, restore, compile, train, record."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.data.pipeline import Pipeline, make_pipeline
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.result import mean_and_spread
from gan_jax.evaluation.settings import Settings, make_settings
from gan_jax.games.game import images_per_step, owner_starts
from gan_jax.games.translation import TranslationGame
from gan_jax.metrics import compare, extractors, names
from gan_jax.report import environment, evaluations, progress, status
from gan_jax.runs import build, failures, pictures, plan, replicas, run_directory
from gan_jax.runs.checkpoint import Restored
from gan_jax.runs.metric_sums import MetricSums
from gan_jax.runs.preemption import StopRequest
from gan_jax.runs.recording import Recorder, restore
from gan_jax.training import sampling, translating
from gan_jax.training.parallel import on_host
from gan_jax.training.state import TrainState


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
) -> Result:
    """Train ``config`` in ``workdir``, going on where a run of it stopped.

    Side effects: writes the run directory (process 0 alone), prints progress, handles SIGTERM and
    Ctrl-C.

    Args:
      config: a configuration, see `gan_jax.runs.config`.
      workdir: the run directory.
      dry_run: build and compile everything, print the plan, train nothing and write nothing.

    Raises:
      GanJaxError: with a reason of one line. ``status.json`` has it too, once the directory is
      ours.
    """
    # --- Everything that can be wrong with the configuration fails here. ------------------------
    build.set_precision(config)
    source = sources.make_source(config.data)
    training = build.make_training(config, source.shape, source.num_classes)
    pipelines = _pipelines(config, training, source)
    how = sampling.make_sampling(config)
    if isinstance(training.game, TranslationGame):
        translating.check_sampling(how)
    _check_evaluation(config, training, source)
    if dry_run:
        plan.show(config, training, pipelines[0], _compile(training, pipelines[0]))
        plan.show_parameters(training)
        return Result("planned", 0, None)
    run = run_directory.RunDirectory(workdir)
    owned = replicas.folders(run.path, training.replicas)
    runs = [run, *(run_directory.RunDirectory(path) for path in owned if path != run.path)]
    primary = jax.process_index() == 0
    with ExitStack() as stack:
        for each in runs:
            _together(each.claim if primary else None)
            stack.callback(each.release)
        run.check_config(config)
        for each, own in zip(runs[-len(owned) :], replicas.configs(config), strict=True):
            each.check_config(own)

        # --- From here on the directory is ours, and its status tells how the run ended. ---------
        record = status.Status(run.path)

        last: int | None = None

        def note(state: str, reason: str = "", step: int | None = None) -> None:
            nonlocal last
            last = last if step is None else step
            if primary:
                record.write(state, reason, last, config.train.steps)

        try:
            result = _run(config, training, pipelines, runs, note)
        except errors.DivergenceError as error:
            with contextlib.suppress(errors.WorkdirError):
                note("diverged", str(error))
            raise
        except BaseException as error:
            told = failures.explain(error, config, training.sharing)
            # A status that cannot be written must not hide why.
            with contextlib.suppress(errors.WorkdirError):
                note("failed", str(told or error) or type(error).__name__)
            if told is not None:
                raise told from error
            raise
        note(result.state, result.reason, result.step)
        return result


def _run(
    config: ConfigDict,
    training: build.Training,
    pipelines: Sequence[Pipeline],
    runs: Sequence[run_directory.RunDirectory],
    note: Callable[..., None],
) -> Result:
    """Train from the newest checkpoint, or from the start, to the end or until asked to stop.

    Args:
      config: of the whole.
      training: what it describes.
      pipelines: the batches of each replica that this process feeds.
      runs: the run's directory, and behind it, where there are several, those of its replicas.
      note: writes the status of the whole.
    """
    primary = jax.process_index() == 0
    settings, evaluating = config.train, make_settings(config)
    parallel, source = training.parallel, pipelines[0].source
    configs = replicas.configs(config)
    several = len(configs) > 1
    note("running", "starting")

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        # --- Who writes what: one recorder per replica, mostly one in all. -----------------------
        records = [
            stack.enter_context(Recorder(own, each, alone=not several, devices=training.sharing))
            for own, each in zip(configs, runs[-len(configs) :], strict=True)
        ]
        if primary and several:
            runs[0].write_config(config)
            runs[0].write_data(source)
            environment.record(runs[0].path)
        for record in records:
            record.describe(source)

        # --- The state: the newest checkpoint that is whole, else a fresh one. -------------------
        training_on = [i for i, record in enumerate(records) if record.stopped is None]
        _check_alive(records)
        restored = restore([records[i] for i in training_on], training.abstract_member)
        metric_sums = MetricSums(settings.steps_per_call, parallel.fetch)
        if restored is not None:
            first, seconds = restored[0].step, max(r.meta["seconds"] for r in restored)
            for found in restored:
                _check_continues(found.step, found.meta, config, source)
            members = dict(zip(training_on, restored, strict=True))
            state = _stacked(training, members)
            _resume_sums(metric_sums, training, members)
        else:
            state, first, seconds = training.init_state(), 0, 0.0

        # --- Compile, and place what stays on the devices. ---------------------------------------
        compiled = _compile(training, pipelines[0])
        if primary:
            plan.show(config, training, pipelines[0], compiled)
        data = parallel.put_replicated(pipelines[0].data)
        if primary and evaluating.every:
            print("preparing the evaluation ...", flush=True)
        evaluator = _evaluator(config, evaluating, training, pipelines[0])
        picture = pictures.make_picture(config, training, pipelines[0])
        seeds = [own.train.seed for own in configs]
        is_finite = jax.jit(_all_finite)
        fingerprint = source.fingerprint()
        rates = {name: jax.jit(o.learning_rate) for name, o in training.optimizers.items()}
        starts = owner_starts(training.game)

        # --- What watches the run. ---------------------------------------------------------------
        for record in records:
            record.start(first)
        images = images_per_step(training.game, settings.batch_size)
        clock = progress.Clock(seconds)
        bar = stack.enter_context(
            progress.Progress(
                settings.steps,
                images * len(records),
                start_step=first,
                clock=clock,
                enabled=primary,
            )
        )
        profiler = stack.enter_context(_profiler(config, runs[0].path, enabled=primary))

        def each(state: TrainState) -> Iterator[tuple[int, Recorder, TrainState]]:
            """Yield the replicas that still train: number, recorder, state."""
            for i, record in enumerate(records):
                if record.stopped is None:
                    yield i, record, parallel.member(state, i)

        def finite(own: TrainState) -> bool:
            return bool(jax.device_get(is_finite(own.networks)))

        def log(step: int, state: TrainState) -> None:
            taken = parallel.fetch(state.step)
            count, sums = metric_sums.fetch()
            if step % settings.log_every == 0:
                metric_sums.restart()
            with jax.transfer_guard("allow"):
                decayed = {
                    n: float(rate(max(0, taken - 1 - starts[n]))) for n, rate in rates.items()
                }
            shown: list[dict[str, float]] = []
            for i, record in enumerate(records):
                if record.stopped is not None:
                    continue
                metrics = {
                    n: float(np.ravel(total)[i] / np.float32(count)) for n, total in sums.items()
                }
                shown.append(metrics)
                factor = float(training.settings.get("learning_rate", np.ones(i + 1))[i])
                rated = {f"{name}/learning_rate": x * factor for name, x in decayed.items()}
                record.log(step, metrics | rated, step * images / 1000)
            losses = [n for n in shown[0] if n.endswith(("loss", "penalty"))]
            bar.update(step, {n: float(np.mean([row[n] for row in shown])) for n in losses})
            note("running", _stopped(records), step)
            _check_alive(records)

        def draw(step: int, state: TrainState) -> None:
            with clock.pause():
                for i, record, own in each(state):
                    record.draw(step, picture(own, seeds[i]))

        def save(step: int, state: TrainState) -> None:
            # The save before is whole in every replica before any of them drops an older one.
            for record in records:
                record.checkpoints.wait()
            meta = {"seconds": clock.seconds, "fingerprint": fingerprint}
            count, sums = metric_sums.fetch()
            for i, record, own in each(state):
                own_sums = {name: float(np.ravel(x)[i]) for name, x in sums.items()}
                pending = {"count": count, "sums": own_sums}
                record.save(step, parallel.whole(own), meta | {"metrics": pending}, finite(own))
                if several and jax.process_count() > 1:
                    # Orbax's processes would take one save's barriers for another's.
                    record.checkpoints.wait()
            _check_alive(records)

        def evaluate(step: int, state: TrainState, chosen: Sequence[int]) -> list[Recorder]:
            """Measure the chosen replicas; return those that are at their best so far."""
            better = []
            for i, record, own in each(state):
                if evaluator is None or i not in chosen:
                    continue
                if not record.goes_on(step, finite(own)):
                    continue
                with clock.pause(), jax.transfer_guard("allow"):
                    result = evaluator(own)
                    improved, alarm = record.evaluated(step, result, step * images / 1000)
                    name = f" of replica {i}" if several else ""
                    numbers = [
                        f"{n} {evaluations.format_value(x)}" for n, x in result.values.items()
                    ]
                    bar.tell("  ".join([f"evaluation of step {step}{name}:", *numbers]))
                if alarm and not several:
                    note("running", f"alarm: {alarm}", step)
                if improved:
                    better.append(record)
            _check_alive(records)
            return better

        # --- What was measured before this process. ----------------------------------------------
        everyone = range(len(records))
        if evaluator is not None:
            due = bool(first) and _is_due(first, evaluating.every, settings.steps)
            for i, record, own in each(state):
                if not record.judge_by(evaluator, evaluator.protocol(own), first) and due:
                    evaluate(first, state, [i])
            for _, record, _ in each(state):
                if record.judge is not None and record.judge.best is not None:
                    record.keep_best()

        # --- The loop. ---------------------------------------------------------------------------
        step, reason = first, None
        with (
            replicas.batches(pipelines, first, several) as batches,
            jax.transfer_guard("disallow"),
        ):
            if step == 0:
                draw(step, state)
            while step < settings.steps and not (reason := stop.reason()):
                profiler(step)
                batch = parallel.put_batch(next(batches))
                state, metrics = parallel(state, data, batch)
                metric_sums.add(metrics)
                step += config.train.steps_per_call
                last = step == settings.steps
                if last or step % settings.log_every == 0:
                    log(step, state)
                if last or step % settings.sample_every == 0:
                    draw(step, state)
                better = []
                if _is_due(step, evaluating.every, settings.steps):
                    better = evaluate(step, state, everyone)
                if better or last or step % settings.checkpoint_every == 0:
                    save(step, state)
                for record in better:
                    if record.stopped is None:
                        record.keep_best()
            if reason and step > first and step % settings.checkpoint_every:
                save(step, state)
            for record in records:
                record.checkpoints.wait()
        if evaluator is not None and not reason and step > first:
            tables = [evaluator.reference(own) for _, _, own in each(state)]
            if primary:
                evaluations.table(
                    _mean_columns([columns for columns, _ in tables]), note=tables[0][1]
                )
        outcome = "preempted" if reason else "done"
        for record in records:
            record.note(outcome, reason or "", step)
    return Result(outcome, step, runs[0].path, reason or _stopped(records), primary)


def _check_alive(records: Sequence[Recorder]) -> None:
    """Raise a `DivergenceError` if no run of those recorded trains any longer."""
    reasons = [record.stopped for record in records]
    if all(reasons):
        several = f"all {len(reasons)} replicas have diverged, the first: " if reasons[1:] else ""
        raise errors.DivergenceError(f"{several}{reasons[0]}")


def _stopped(records: Sequence[Recorder]) -> str:
    """Return which replicas have diverged, or ""."""
    names = [record.run.path.name for record in records if record.stopped is not None]
    return f"diverged: {', '.join(names)}" if names else ""


def _stacked(training: build.Training, found: Mapping[int, Restored]) -> TrainState:
    """Return the state of all replicas; those that have diverged begin anew, unheeded."""
    if training.replicas == 1:
        return found[0].state
    parallel = training.parallel
    members = {i: restored.state for i, restored in found.items()}
    if len(members) < training.replicas:
        fresh = training.init_state()
        step = next(iter(members.values())).step
        for i in set(range(training.replicas)) - set(members):
            members[i] = on_host(parallel.member(fresh, i)).replace(step=step)
    return parallel.stack([members[i] for i in range(training.replicas)], training.settings)


def _resume_sums(sums: MetricSums, training: build.Training, found: Mapping[int, Restored]) -> None:
    """Continue with the sums of metrics that the checkpoints hold."""
    pending = {i: restored.meta["metrics"] for i, restored in found.items()}
    first = next(iter(pending.values()))
    own: Any = {name: np.zeros(training.replicas, np.float32) for name in first["sums"]}
    for i, one in pending.items():
        for name, value in one["sums"].items():
            own[name][i] = value
    if training.replicas == 1:
        own = {name: x[0] for name, x in own.items()}
    sums.restart(first["count"], training.parallel.put_replicated(own))


def _mean_columns(
    tables: Sequence[Sequence[tuple[str, Any, Any]]],
) -> list[tuple[str, Any, Any]]:
    """Return the columns of several runs' tables as one: means and deviations over the runs."""
    if len(tables) == 1:
        return list(tables[0])
    columns = []
    for same in zip(*tables, strict=True):
        heading, values, spread = same[0]
        if any(other != values for _, other, _ in same):
            heading = f"{heading}, {len(same)} replicas"
            values, spread = mean_and_spread([values for _, values, _ in same])
        columns.append((heading, values, spread))
    return columns


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


def _pipelines(
    config: ConfigDict, training: build.Training, source: sources.Source
) -> list[Pipeline]:
    """Return the batches that ``training`` will ask for, of each replica fed by this process."""
    own = training.parallel.local()
    return [
        make_pipeline(
            source,
            seed=config.train.seed + replica,
            global_batch=config.train.batch_size,
            batches_per_step=build.data_batches(training),
            steps_per_call=config.train.steps_per_call,
            process_index=own.share,
            process_count=own.shares,
            device_cache_gib=config.data.device_cache_gib,
            workers=config.data.workers,
            prefetch=config.data.prefetch,
        )
        for replica in own.replicas
    ]


def _compile(training: build.Training, pipeline: Pipeline) -> Any:
    """Compile the train step for the shapes that will come; return JAX's compiled object."""
    abstract_batch = replicas.abstract_batch(pipeline, training.replicas)
    data, batch = (
        {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in abstract.items()}
        for abstract in (pipeline.abstract_data(), abstract_batch)
    )
    return training.parallel.compile(training.abstract_state, data, batch)


def _check_evaluation(config: ConfigDict, training: build.Training, source: sources.Source) -> None:
    """Check what can be wrong with ``config.eval`` before any work."""
    settings = make_settings(config)
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
    settings: Settings,
    training: build.Training,
    pipeline: Pipeline,
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
