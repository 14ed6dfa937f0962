"""Evaluation of a run from its directory: one checkpoint, or each as it comes."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.result import Result
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.game import images_per_step
from gan_jax.report import curves, evaluations, grids, status
from gan_jax.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

# Statistics that are shares, and drawn beside each other.
_SHARES = ("precision", "recall", "density", "coverage", "accuracy")
# The states in which a run has ended; a preempted one may continue.
ENDED = ("done", "diverged", "failed")


class RunEvaluator:
    """Measures the checkpoints of a run, on all devices of this machine.

    The constructor prepares everything that does not depend on the checkpoint. Its arguments and
    errors are those of `gan_jax.runs.run.Run.evaluate`, of which ``changes`` are the settings and
    ``data`` the fields of ``config.data``; ``None`` for a field changes nothing.

    Attributes:
      file: where the rows are recorded.
    """

    def __init__(
        self,
        run: "Run",
        *,
        changes: Mapping[str, Any],
        data: Mapping[str, Any],
        average: bool = True,
        batch_norm: str | None = None,
        truncation: float | None = None,
    ) -> None:
        self._run = run
        self.file = run.path / evaluations.EVALUATIONS
        config = ConfigDict(run.config.to_dict())
        config.data.update({name: value for name, value in data.items() if value is not None})
        source = run.source(**data)
        self._sampling = run.sampling(average=average, batch_norm=batch_norm, truncation=truncation)
        settings = make_settings(config, **changes)
        chosen = evaluators.choose(config, settings, run.game, source)
        kept = RunDirectory(run.path).classifier
        with run.precision():
            evaluator = evaluators.make_evaluator(
                config,
                settings,
                game=run.game,
                source=source,
                devices=jax.devices(),
                sampling=self._sampling,
                chosen=chosen,
                kept=kept if kept.exists() else None,
            )
        if evaluator is None:
            raise errors.ConfigError(
                f"metrics is missing: {chosen.reason}; accepted: names of Inception's metrics, "
                "such as fid"
            )
        self._evaluator = evaluator
        self._images = images_per_step(run.game, config.train.batch_size)

    def measure(self, step: int | str | None = None) -> tuple[int, Result]:
        """Return the train step of a checkpoint and its metrics; ``step`` as for `Run`."""
        weights = self._run.load(step, self._sampling, raw=self._evaluator.raw_networks)
        with self._run.precision():
            return weights.step, self._evaluator(weights.variables)

    def record(self, step: int | str | None = None, *, reference: bool = False) -> evaluations.Row:
        """Measure a checkpoint, record the result in ``eval.jsonl`` and print it.

        Args:
          step: as for `measure`.
          reference: also print the metrics of real images against other real images.

        Returns:
          The row of ``eval.jsonl``.
        """
        step, result = self.measure(step)
        row = self.append(step, result)
        columns = [(f"step {step}", result.values, result.spread)]
        evaluations.table(columns, note=words(result.protocol))
        if reference:
            weights = self._run.load(step, self._sampling)
            with self._run.precision():
                columns, note = self._evaluator.reference(weights.variables)
            print()
            evaluations.table(columns, note=note)
        return row

    def append(self, step: int, result: Result) -> evaluations.Row:
        """Record the result of a checkpoint in ``eval.jsonl``; return its row."""
        row = result.row(step, RunDirectory(self._run.path).kimg(step, self._images))
        evaluations.append(self.file, row)
        return row

    def curves(self, results: Sequence[Result]) -> list[dict[str, list[float]]]:
        """Return the metrics of several results, by panel: the shares in one, others alone."""
        values = {m: [one.values[m.name] for one in results] for m in self._evaluator.metrics}
        shares = {m.name: own for m, own in values.items() if m.statistic in _SHARES}
        others = [{m.name: own} for m, own in values.items() if m.statistic not in _SHARES]
        return [*others, *([shares] if shares else [])]

    def follow(
        self,
        *,
        poll: float = 10.0,
        patience: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> int:
        """Record every checkpoint that was not measured, and new ones, until the run has ended.

        Args:
          poll: seconds between two looks.
          patience: seconds without a new checkpoint after which to give up; ``None``: never.
          sleep: waits for a number of seconds.

        Returns:
          How many were measured.
        """
        passed: set[int] = set()
        measured, waited = 0, 0.0
        while True:
            # Read before the checkpoints are: a run that has ended writes no more of them.
            ended = self._has_ended()
            fresh = [step for step in self._run.steps if step not in passed]
            for step in fresh:
                passed.add(step)
                waited = 0.0
                if self._is_measured(step):
                    continue
                try:
                    self.record(step)
                    measured += 1
                except errors.CheckpointError as error:
                    if step in self._run.steps:
                        raise
                    # Training has removed it since it was listed; there are newer ones.
                    print(f"step {step} is gone: {error}", flush=True)
            if fresh:
                continue
            if ended or (patience is not None and waited >= patience):
                return measured
            sleep(poll)
            waited += poll

    def _is_measured(self, step: int) -> bool:
        """Return whether there is a row of this step and this protocol."""
        protocol = self._evaluator.protocol(self._run.abstract_variables())
        rows = evaluations.read(self.file)
        return any(row["step"] == step and row["protocol"] == protocol for row in rows)

    def _has_ended(self) -> bool:
        found = status.Status(self._run.path).read()
        return found is not None and found["state"] in ENDED


def sweep(
    run: "Run", truncations: Sequence[float], step: int | str | None = None, **how: Any
) -> Path:
    """Measure one checkpoint at several truncations, record and print all results.

    Args:
      run: the run.
      truncations: as `Run.evaluate` takes one; two or more.
      step: as for `Run`.
      **how: the other arguments of `RunEvaluator`.

    Returns:
      A picture of the metrics over the truncations in the run directory.
    """
    errors.require(
        len(set(truncations)) > 1, "truncation", truncations, "two different numbers or more"
    )
    results = []
    for limit in truncations:
        evaluator = RunEvaluator(run, **how, truncation=limit)
        # The first number may mean the newest checkpoint of a run that goes on.
        step, result = evaluator.measure(step)
        evaluator.append(step, result)
        results.append(result)
    headings = [f"{limit:g}" for limit in truncations]
    columns = [
        (heading, result.values, result.spread)
        for heading, result in zip(headings, results, strict=True)
    ]
    evaluations.table(columns, note=f"step {step}; {words(results[0].protocol)}")
    out = run.path / f"truncation{'_'.join(headings)}-step{step:08d}.png"
    grids.save_png(out, curves.panels(truncations, "truncation", evaluator.curves(results)))
    return out


def words(protocol: Mapping[str, Any]) -> str:
    """Return a protocol in one line."""
    parts = [
        f"{protocol['n_fake']:,} generated against {protocol['n_real']:,} of {protocol['data']}"
        if "n_fake" in protocol
        else f"{protocol['n_real']:,} of {protocol['data']}",
        f"weights {protocol['weights']}",
        f"batch-norm {protocol['batch_norm']}",
        f"seed {protocol['seed']}"
        if protocol["seeds"] == 1
        else f"mean ± standard deviation of {protocol['seeds']} seeds from {protocol['seed']}",
    ]
    if held_out := protocol.get("held_out"):
        parts.append(
            f"{held_out['n_train']:,} training images, {held_out['n_members']:,} of them as "
            f"members, and {held_out['n_held_out']:,} of {held_out['data']}"
        )
    for extractor in protocol.get("extractors", {}).values():
        parts.append(f"{extractor['extractor']} {extractor.get('weights', '')}".rstrip())
    return "; ".join(parts)
