"""A dry run: the plan of a run, the time of its step, and the data as networks see them."""

import dataclasses
import shutil
import statistics
import time
from concurrent import futures
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import Source
from gan_jax.data.spec import LABEL
from gan_jax.evaluation import evaluators
from gan_jax.games import draws
from gan_jax.games.game import images_per_step
from gan_jax.report import grids, heartbeat
from gan_jax.runs import branch, build, initialization, plan
from gan_jax.training.parallel import of_first_process

# Calls of the step that are timed: at least the first number, then others for some seconds.
_LEAST, _MOST, _SECONDS = 3, 50, 3.0
# Examples of a preview.
_SHOWN = 64


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a dry run shows beside the plan.

    Attributes:
      parameters: every array of parameters; otherwise how many each module of a network has.
      preview: the PNG file of training examples as networks see them; of pairs, two files, whose
        names end in ``_a.png`` and ``_b.png``; ``None``: there is none.
    """

    parameters: bool = False
    preview: Path | None = None


def show(
    config: ConfigDict,
    training: build.Training,
    pipeline: Pipeline,
    workdir: Path,
    dry_run: DryRun,
    origin: initialization.Weights | branch.Parent | None,
    measured: evaluators.Chosen | None,
) -> None:
    """Print the plan of a run, and write its preview.

    Side effect: compiles the step, and makes some from a random state, which is thrown away.

    Args:
      config: the run's configuration.
      training: what it describes.
      pipeline: its batches.
      workdir: the run directory, which need not exist.
      dry_run: what is shown.
      origin: as for `plan.rows`.
      measured: as for `plan.rows`.

    Raises:
      ConfigError: there is to be a preview of data that cannot be shown.
      WorkdirError: the preview cannot be written.
    """
    primary = jax.process_index() == 0
    if dry_run.preview is not None and primary:
        pictures = previews(config, training, pipeline.source)
        for name, picture in pictures.items():
            path = dry_run.preview
            named = path if len(pictures) == 1 else path.with_stem(f"{path.stem}_{name}")
            grids.save_png(named, picture)
    with futures.ThreadPoolExecutor(1) as compiler:
        compiling = compiler.submit(training.lower_step(pipeline))
        training.init_state()  # Compiled meanwhile.
        compiled = compiling.result()
    shown = plan.rows(config, training, pipeline, origin, measured) + plan.memory_rows(compiled)
    shown += rows(config, training, pipeline, workdir)
    if primary:
        plan.show(shown)
        plan.show_parameters(training, every=dry_run.parameters)


def rows(
    config: ConfigDict, training: build.Training, pipeline: Pipeline, workdir: Path
) -> list[tuple[str, str]]:
    """Return how long a run will take, and how much it will save, as rows of its plan.

    Some train steps are made from a random state, which is then thrown away.

    Args:
      config: the run's configuration.
      training: what it describes, whose step has been compiled.
      pipeline: its batches.
      workdir: the run directory, which need not exist.
    """
    length = config.train
    # From some steps on more players play.
    starts = sorted({p.start for p in training.game.players if p.start < length.steps} | {0})
    seconds, phases = 0.0, []
    for start, end in zip(starts, [*starts[1:], length.steps], strict=True):
        per_step = _seconds_per_call(training, pipeline, start) / length.steps_per_call
        seconds += per_step * (end - start)
        since = f"from step {start:,} on" if start else "per train step"
        phases.append(f"{1e3 * per_step:,.3g} ms {since}")
    images = images_per_step(training.game, length.batch_size) * training.replicas
    stages = len(training.game.stages)
    of = f" of the first of {stages} stages" if stages > 1 else ""
    return [
        (
            "time",
            f"{words(seconds)} at {', '.join(phases)}{of} "
            f"({images * length.steps / seconds:,.0f} examples per second), without pictures and "
            "evaluations",
        ),
        ("disk", _disk(config, training, workdir)),
    ]


def _seconds_per_call(training: build.Training, pipeline: Pipeline, start: int = 0) -> float:
    """Return the median of the seconds of some calls of the compiled step from step ``start`` on.

    The first call is left out.
    """
    step = training.parallel
    state = training.init_state()
    state = state.replace(step=state.step + start)
    with heartbeat.working("reading the data set") as count:
        data = step.put_replicated(pipeline.read(count))
    taken: list[float] = []
    with heartbeat.working("timing the train step"), pipeline.batches(0) as batches:
        # The first call is not counted. All processes must call the step equally often.
        while of_first_process(
            len(taken) <= _LEAST or (len(taken) <= _MOST and sum(taken) < _SECONDS)
        ):
            started = time.perf_counter()
            state, _ = step(state, data, step.put_batch(next(batches)))
            jax.block_until_ready(state)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def _disk(config: ConfigDict, training: build.Training, workdir: Path) -> str:
    """Return the size of the checkpoints that a run keeps, and the space that there is."""
    length = config.train
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(training.abstract_state))
    every = length.checkpoint_every or length.steps
    saved = sorted({*range(every, length.steps + 1, every), length.steps})
    forever = [step for step in saved if length.keep_every and step % length.keep_every == 0]
    # The best one is kept, too.
    kept = len({*saved[-length.keep_latest :], *forever}) + bool(config.eval.every)
    place = workdir.absolute()
    there = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return (
        f"{_mib(size)} per checkpoint, of which up to {kept:,} are kept: {_mib(kept * size)} of "
        f"{_mib(free)} that are free"
    )


def previews(config: ConfigDict, training: build.Training, source: Source) -> dict[str, np.ndarray]:
    """Return pictures of training examples as networks see them, by field: without labels.

    They are scaled, cropped, mirrored and augmented as at the first train step.

    Returns:
      uint8 ``[height, width, 1 or 3]``.

    Raises:
      ConfigError: the data are of a kind that is not shown as pictures.
    """
    prepare = build.make_prepare(config, source.spec)
    for name, field in prepare.spec.items():
        if name != LABEL and kinds.of(field).sheet != ".png":
            raise errors.ConfigError(
                f"--preview, but the data are of kind {field.kind!r}; accepted: data that are "
                "shown as pictures"
            )
    key = jax.random.key(config.train.seed)
    chosen = np.random.default_rng(config.train.seed).permutation(len(source))[:_SHOWN]
    stored = source.read(sorted(chosen.tolist()))
    shown = prepare({name: jnp.asarray(x) for name, x in stored.items()}, key, None)
    found = {}
    for name, field in prepare.spec.items():
        if name == LABEL:
            continue
        x = shown[name]
        for augmentation in getattr(training.game, "augment", {}).values():
            keys = draws.example_keys(draws.named(key, augmentation.draws), len(x))
            x = augmentation(keys, x, augmentation.init(), jnp.int32(0))
        kind = kinds.of(field)
        real = np.asarray(kind.to_stored(x))
        found[name] = kind.picture(real, real=real[: kind.backdrop] if kind.backdrop else None)
    return found


def words(seconds: float) -> str:
    """Return a duration for people: "3 min 20 s"."""
    whole = max(1, round(seconds))
    units = (("d", whole // 86_400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60))
    shown = [f"{count} {unit}" for unit, count in (*units, ("s", whole % 60)) if count]
    return " ".join(shown[:2])


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"
