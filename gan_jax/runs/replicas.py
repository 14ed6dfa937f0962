"""Several independent runs in one program: their configurations, batches, directories and records.

Replica ``i`` is the run of seed ``train.seed + i``. It leaves an ordinary run directory,
``replica_<i>``, whose configuration has that seed and the replica's own numbers. The loop is that
of one run: its pipeline gives stacked batches, and its recorder records each replica by itself.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import pipeline
from gan_jax.data.pipeline import Batch, Pipeline
from gan_jax.data.sources import Source
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.result import mean_and_spread
from gan_jax.report import status
from gan_jax.runs import build
from gan_jax.runs.checkpoint import Restored
from gan_jax.runs.pictures import Draw
from gan_jax.runs.recording import Attempt, Record, Recorder
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training.replication import on_host
from gan_jax.training.state import TrainState


def configs(config: ConfigDict) -> list[ConfigDict]:
    """Return the configuration of each replica as a run of its own; of one run: it alone."""
    count = config.train.replicas
    if count == 1:
        return [config]
    found = []
    for i in range(count):
        own = ConfigDict(config.to_dict())
        own.train.update(seed=config.train.seed + i, replicas=1)
        own.train.update(dict.fromkeys(build.REPLICA_SETTINGS, ()))
        if rates := config.train.replica_learning_rates:
            for optimizer in own.optimizer.values():
                optimizer.learning_rate *= float(rates[i])
        if weights := config.train.replica_penalty_weights:
            own.penalty.weight = float(weights[i])
        found.append(own)
    return found


def folders(workdir: Path, count: int) -> list[Path]:
    """Return each replica's run directory; of one run: its own."""
    if count == 1:
        return [workdir]
    digits = len(str(count - 1))
    return [workdir / f"replica_{i:0{digits}d}" for i in range(count)]


def directories(config: ConfigDict, workdir: str | Path) -> list[tuple[RunDirectory, ConfigDict]]:
    """Return the directory of a run with its configuration, and those of its replicas, if any."""
    run = RunDirectory(workdir)
    owned = zip(folders(run.path, config.train.replicas), configs(config), strict=True)
    return [(run, config), *((RunDirectory(path), own) for path, own in owned if path != run.path)]


def make_recorder(
    owned: Sequence[tuple[RunDirectory, ConfigDict]], training: build.Training
) -> "Recorder | ReplicaRecorder":
    """Return the recorder of a run, or of all of its replicas, which `directories` returns."""
    (run, config), *members = owned
    if not members:
        return Recorder(config, run, training)
    return ReplicaRecorder(run, config, members, training)


def make_pipeline(config: ConfigDict, training: build.Training, source: Source) -> Pipeline:
    """Return the batches of a run, or of its replicas, as far as this process feeds them."""
    own = training.replication.local()
    each = [
        pipeline.make_pipeline(
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
    return each[0] if training.replicas == 1 else cast(Pipeline, _Stacked(each, training.replicas))


class _Stacked:
    """The batches of several runs stacked along their second axis; used as a `Pipeline`."""

    def __init__(self, pipelines: Sequence[Pipeline], count: int) -> None:
        self._pipelines, self._count = pipelines, count

    def __getattr__(self, name: str) -> Any:
        # The data set is the same for all.
        return getattr(self._pipelines[0], name)

    def abstract_batch(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of one call's batches for all replicas over all processes."""
        own = self._pipelines[0].abstract_batch()
        return {
            name: ((shape[0], self._count, *shape[1:]), dtype)
            for name, (shape, dtype) in own.items()
        }

    @contextmanager
    def batches(self, start_step: int) -> Iterator[Iterator[Batch]]:
        """Give the batches from a train step on, until the ``with`` block ends."""
        with ExitStack() as stack:
            each = [stack.enter_context(one.batches(start_step)) for one in self._pipelines]
            yield (
                {name: np.stack([batch[name] for batch in batches], axis=1) for name in batches[0]}
                for batches in zip(*each, strict=True)
            )


class ReplicaRecorder(Record):
    """Records several runs that are trained in one program, each as `Recorder` does.

    A replica that has diverged is computed, but not recorded, until all have diverged. The run's
    own directory holds a status, the configuration and the environment.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: ConfigDict,
        members: Sequence[tuple[RunDirectory, ConfigDict]],
        training: build.Training,
    ) -> None:
        super().__init__(config, run, training)
        # Between the saves of two replicas, the step before is what they have in common.
        keep = max(2, config.train.keep_latest)
        self._members = [
            Recorder(own, directory, training, keep_latest=keep, name=f"replica {i}")
            for i, (directory, own) in enumerate(members)
        ]
        self._better: list[Recorder] = []

    def _each(self, action: Callable[[int, Recorder], Any]) -> list[Any]:
        """Return what ``action`` returns for each replica that is left; stop if none is."""
        found = []
        for i, member in enumerate(self._members):
            if member.stopped is None:
                with contextlib.suppress(errors.DivergenceError):
                    found.append(action(i, member))
        self._check_alive()
        return found

    def _check_alive(self) -> None:
        reasons = [member.stopped for member in self._members]
        if all(reasons):
            self.stop(f"all {len(reasons)} replicas have diverged, the first: {reasons[0]}")

    def _member(self, state: TrainState, replica: int) -> TrainState:
        return self._training.replication.member(state, replica)

    def open(self) -> None:
        """Open every replica; those that an earlier process has recorded as diverged stay so."""
        for member in self._members:
            last = status.Status(member.run.path).read()
            if last is not None and last["state"] == "diverged":
                member.stopped = last["reason"]
            self._stack.enter_context(member)
            member.open()
        self._check_alive()

    def start(self, source: Source, origin: Mapping[str, Any] | None) -> None:
        """Write what describes the run and each replica; see `Record.start`."""
        super().start(source, origin)
        for member in self._members:
            member.start(source, origin)

    def restore(self) -> Restored | None:
        """Return the newest step that is whole in every replica; diverged ones start anew.

        A kill between two replicas' saves leaves the later ones a checkpoint behind. Damaged
        checkpoints are set aside, as by `Checkpoints.restore`.

        Raises:
          CheckpointError: no step is whole in every replica.
        """
        alive = {i: member for i, member in enumerate(self._members) if member.stopped is None}
        restored: dict[int, Restored] = {}
        while len(restored) < len(alive):
            step = _common_step(list(alive.values()))
            if step is None:
                return None
            restored = _restore(alive, step, self._training.abstract_member)
        replication, order = self._training.replication, range(len(self._members))
        first = next(iter(restored.values()))
        states = {i: one.state for i, one in restored.items()}
        if len(states) < len(order):
            fresh = self._training.init_state()
            for i in set(order) - set(states):
                states[i] = on_host(replication.member(fresh, i)).replace(step=first.state.step)
        sums = [restored.get(i, first).meta["metrics"]["sums"] for i in order]
        metrics = {
            "count": first.meta["metrics"]["count"],
            "sums": {name: [own[name] for own in sums] for name in sums[0]},
        }
        seconds = max(one.meta["seconds"] for one in restored.values())
        state = replication.stack([states[i] for i in order], self._training.settings)
        meta = {**first.meta, "seconds": seconds, "metrics": metrics}
        return Restored(first.step, state, meta, [])

    def prepare_saves(self) -> None:
        """See `Recorder.prepare_saves`."""
        self._each(lambda i, member: member.prepare_saves())

    def begin(self, first: int, show: Callable[[str], None], attempt: Attempt) -> None:
        """Open every replica's logs; see `Recorder.begin`."""
        self._each(lambda i, member: member.begin(first, show, attempt))

    def log(self, step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Record every replica's metrics, ``[replicas]`` or one for all; return their means."""
        each = self._each(
            lambda i, member: member.log(
                step, {n: np.broadcast_to(x, len(self._members))[i] for n, x in metrics.items()}
            )
        )
        self.note("running", self._diverged(), step)
        return {name: float(np.mean([own[name] for own in each])) for name in metrics}

    def draw(self, step: int, state: TrainState, picture: Draw) -> None:
        """Record a picture of every replica."""
        self._each(lambda i, member: member.draw(step, self._member(state, i), picture))

    def save(self, step: int, state: TrainState, meta: Mapping[str, Any]) -> None:
        """Start saving every replica; the metrics' sums in ``meta`` are ``[replicas]``."""
        # The save before is whole in every replica before any of them drops an older one.
        self.wait()
        count, sums = meta["metrics"]["count"], meta["metrics"]["sums"]

        def save(i: int, member: Recorder) -> None:
            pending = {"count": count, "sums": {name: values[i] for name, values in sums.items()}}
            member.save(step, self._member(state, i), {**meta, "metrics": pending})
            if jax.process_count() > 1:
                # Orbax's processes would take one save's barriers for another's.
                member.wait()

        self._each(save)

    def resume_evaluations(
        self, evaluator: evaluators.Evaluator, step: int, state: TrainState, due: bool
    ) -> None:
        """Read every replica's evaluations; make up for those that are missing."""
        self._each(
            lambda i, member: member.resume_evaluations(
                evaluator, step, self._member(state, i), due
            )
        )

    def evaluate(self, step: int, state: TrainState) -> bool | None:
        """Evaluate every replica; return whether any is at its best so far.

        ``None``: a signal has ended it, and no replica is.
        """
        self._better = []

        def evaluate(i: int, member: Recorder) -> bool | None:
            if better := member.evaluate(step, self._member(state, i)):
                self._better.append(member)
            return better

        ended = None in self._each(evaluate)
        return bool(self._better) or (None if ended else False)

    @property
    def exhausted(self) -> str:
        """Why training ends early: the patience with every replica is exhausted."""
        each = [member.exhausted for member in self._members if member.stopped is None]
        return each[0] if all(each) else ""

    def keep_best(self) -> None:
        """Keep the checkpoints of those that the last evaluation found at their best."""
        self._each(lambda i, member: member.keep_best() if member in self._better else None)

    def reference(self, state: TrainState) -> tuple[list[tuple[str, Any, Any]], str]:
        """Return the columns of all replicas' tables as one: means and deviations."""
        tables = self._each(lambda i, member: member.reference(self._member(state, i)))
        columns = []
        for same in zip(*(columns for columns, _ in tables), strict=True):
            heading, values, spread = same[0]
            if any(other != values for _, other, _ in same):
                heading = f"{heading}, {len(same)} replicas"
                values, spread = mean_and_spread([values for _, values, _ in same])
            columns.append((heading, values, spread))
        return columns, tables[0][1]

    def wait(self) -> None:
        """Wait for every replica's last save."""
        for member in self._members:
            member.wait()

    def finish(self, state: str, reason: str, step: int) -> str:
        """Record how all have ended; return the reason, or which replicas have diverged."""
        self._each(lambda i, member: member.finish(state, reason, step))
        return super().finish(state, reason or self._diverged(), step)

    def _diverged(self) -> str:
        """Return which replicas have diverged, or ""."""
        names = [m.run.path.name for m in self._members if m.stopped is not None]
        return f"diverged: {', '.join(names)}" if names else ""


def _common_step(members: Sequence[Recorder]) -> int | None:
    """Return the newest step of which every run has a checkpoint; ``None``: some run has none yet.

    Raises:
      CheckpointError: there is no such step.
    """
    each = [set(member.checkpoints.agreed_steps()) for member in members]
    # A kill between the first saves leaves some replicas one checkpoint, and others none.
    if not all(each) and max(map(len, each)) <= 1:
        return None
    if common := set.intersection(*each):
        return max(common)
    found = "; ".join(
        f"{member.run.path.name}: {', '.join(map(str, sorted(steps))) or 'none'}"
        for member, steps in zip(members, each, strict=True)
    )
    raise errors.CheckpointError(f"The replicas have checkpoints of no step in common: {found}.")


def _restore(
    members: Mapping[int, Recorder], step: int, abstract: TrainState
) -> dict[int, Restored]:
    """Return the checkpoints of a step on the host, up to the first that is damaged."""
    restored = {}
    for i, member in members.items():
        try:
            one = member.checkpoints.restore(abstract, step)
        except errors.CheckpointError:
            # This sets a damaged checkpoint aside, and raises for any other reason.
            if member.checkpoints.restore(abstract).step >= step:
                raise
            break
        # All states at once may be more than a device holds.
        restored[i] = dataclasses.replace(one, state=on_host(one.state))
    return restored
