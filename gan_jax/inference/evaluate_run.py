"""Evaluation of a run from its directory: one checkpoint, or each as it comes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.game import images_per_step
from gan_jax.report import evaluations, status
from gan_jax.runs import restore
from gan_jax.training import sampling

# How a run ends; a preempted one may go on.
ENDED = ("done", "diverged", "failed")


class Evaluated:
    """A run whose checkpoints can be measured, on all devices that are here.

    Making it prepares everything that does not depend on the checkpoint.

    Args:
      run: the opened run.
      changes: of ``config.eval``; ``None`` for a field changes nothing.
      data: of ``config.data``, likewise: where the images are now.
      raw: measure the raw weights, not their moving average.
      batch_norm: one of `sampling.BATCH_NORM`, in place of the run's.

    Attributes:
      file: where the rows are recorded.

    Raises:
      ConfigError: a setting cannot work, or no metric suits the data.
      DataError: the data set is missing, or is not the one that the run was trained with.
      MetricError: an extractor's weights are missing.
    """

    def __init__(
        self,
        run: restore.OpenRun,
        *,
        changes: Mapping[str, Any],
        data: Mapping[str, Any],
        raw: bool = False,
        batch_norm: str | None = None,
    ) -> None:
        self._run = run
        self.file = run.path / evaluations.EVALUATIONS
        config = ConfigDict(run.config.to_dict())
        config.data.update({name: value for name, value in data.items() if value is not None})
        if batch_norm is not None:
            config.sample.batch_norm = batch_norm
        source = sources.make_source(config.data)
        if source.fingerprint() != run.data["fingerprint"]:
            raise errors.DataError(
                f"the data set is not the one of the run: {source.fingerprint()} is here, "
                f"{run.data['fingerprint']} was there"
            )
        evaluator = evaluators.make_evaluator(
            config,
            make_settings(config, **changes),
            game=run.training.game,
            source=source,
            devices=jax.devices(),
            sampling=sampling.make_sampling(config, raw=raw),
        )
        if evaluator is None:
            raise errors.ConfigError(
                f"--metrics is missing: nothing can be measured of {source.name} but by Inception; "
                "accepted: such as --metrics=fid"
            )
        self._evaluator = evaluator
        self._images = images_per_step(run.training.game, config.train.batch_size)

    def measure(self, step: int | None, *, reference: bool = False) -> evaluations.Row:
        """Measure a checkpoint, record and print the result.

        Args:
          step: its train step; ``None``: the newest that is whole.
          reference: print, too, how real images do against real images.

        Returns:
          The row of ``eval.jsonl``.

        Raises:
          CheckpointError: there is no such checkpoint, or it is damaged.
        """
        run = self._run.restore(step)
        result = self._evaluator(run.state)
        row = result.row(run.step, run.step * self._images / 1000)
        evaluations.append(self.file, row)
        columns = [(f"step {run.step}", result.values, result.spread)]
        evaluations.table(columns, note=words(result.protocol))
        if reference:
            columns, note = self._evaluator.reference(run.state)
            print()
            evaluations.table(columns, note=note)
        return row

    def follow(
        self,
        *,
        poll: float = 10.0,
        patience: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> int:
        """Measure every checkpoint that is not yet, and those to come, until the run has ended.

        Args:
          poll: seconds between two looks.
          patience: seconds without a new checkpoint after which to give up; ``None``: never.
          sleep: waits for so many seconds.

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
                    self.measure(step)
                    measured += 1
                except errors.CheckpointError as error:
                    if step in self._run.steps:
                        raise
                    # Training has removed it in the meantime; there are newer ones.
                    print(f"step {step} is gone: {error}", flush=True)
            if fresh:
                continue
            if ended or (patience is not None and waited >= patience):
                return measured
            sleep(poll)
            waited += poll

    def _is_measured(self, step: int) -> bool:
        """Return whether there is a row of this step and this protocol."""
        state = self._run.training.abstract_state
        protocol = self._evaluator.protocol(state)
        rows = evaluations.read(self.file)
        return any(row["step"] == step and row["protocol"] == protocol for row in rows)

    def _has_ended(self) -> bool:
        found = status.Status(self._run.path).read()
        return found is not None and found["state"] in ENDED


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
    for extractor in protocol.get("extractors", {}).values():
        parts.append(f"{extractor['extractor']} {extractor.get('weights', '')}".rstrip())
    return "; ".join(parts)
