"""The next run: the remaining runs of a grid, or the suggestions of a search.

A run is recorded before it is scheduled, so that a sweep that was killed resumes the runs that it
had begun, and a search uses the results of the finished ones.
"""

import statistics
from collections.abc import Callable

from gan_jax import errors
from gan_jax.report import evaluations
from gan_jax.sweeps import execution, record, search, summary
from gan_jax.sweeps.definition import SEED, Run


class Agenda:
    """Schedules the runs of a sweep, each once, and records how they ended.

    Attributes:
      sweep: the recorded sweep, with all suggestions so far.
      stopped: whether no further runs are scheduled.

    Args:
      folder: the sweep's directory, locked by the caller.
      report: receives one line per event of a run.
    """

    def __init__(
        self,
        sweep: record.Sweep,
        folder: record.Folder,
        report: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self.sweep = sweep
        self.stopped = False
        self._folder = folder
        self._report = report
        self._scheduled: set[str] = set()
        self._outcomes: dict[str, execution.Outcome] = {}

    @property
    def total(self) -> int:
        """Number of runs of the whole sweep."""
        plan = self.sweep.search
        if plan.method == "grid":
            return len(self.sweep.runs)
        return max(plan.num_samples * (plan.seeds or 1), len(self.sweep.runs))

    @property
    def left(self) -> int:
        """Number of runs that are not finished."""
        ended = sum(entry.defined and not self._remains(entry) for entry in self.sweep.entries)
        return self.total - ended

    def next(self) -> Run | None:
        """Return the next run, or ``None`` at the end.

        Side effect: records a search's suggestion.

        Raises:
          WorkdirError: the record cannot be written.
        """
        while not self.stopped:
            for entry in self.sweep.entries:
                if entry.run.name not in self._scheduled:
                    self._scheduled.add(entry.run.name)
                    if self._remains(entry):
                        return entry.run
            plan = self.sweep.search
            groups = {run.group for run in self.sweep.runs}
            if plan.method == "grid" or len(groups) >= plan.num_samples:
                return None
            self.sweep = self.sweep.adding(self._suggest(len(groups)))
            self._folder.write(self.sweep)
        return None

    def begin(self, run: Run) -> None:
        """Report that a run starts."""
        self._report(f"{self._count(run.name)} {run.name}: starts")

    def again(self, run: Run, reason: str) -> None:
        """Report that a run has failed and resumes from its checkpoint."""
        self._report(f"{self._count(run.name)} {run.name}: {reason}; retrying")

    def end(self, run: Run, outcome: execution.Outcome | None) -> None:
        """Record and report how a run ended; ``None``: the search stopped it early.

        Raises:
          SweepError: the run has no evaluation by the metric of the search.
        """
        name = run.name
        if outcome is None:
            self.sweep = self.sweep.stopping(name)
            self._folder.write(self.sweep)
            self._report(f"{self._count(name)} {name}: stopped early{self._value(run)}")
            return
        self._outcomes[name] = outcome
        reason = f": {outcome.reason}" if outcome.reason else ""
        self._report(f"{self._count(name)} {name}: {outcome.state}{reason}{self._value(run)}")
        if self.sweep.search.method != "grid" and outcome.state == "done":
            self._check_measured(run)

    def _state(self, run: Run) -> str:
        return execution.read_status(self._folder.run(run.name)).get("state", "running")

    def _remains(self, entry: record.Entry) -> bool:
        ended = entry.stopped or self._state(entry.run) in execution.SETTLED
        return entry.defined and not ended

    def _count(self, name: str) -> str:
        number = [run.name for run in self.sweep.runs].index(name) + 1
        return f"[{number}/{self.total}]"

    def _series(self, run: Run) -> summary.Series:
        if (metric := self.sweep.search.metric) is None:
            return summary.Series("", [])
        return summary.series(self._folder.run(run.name), metric)

    def _value(self, run: Run) -> str:
        words, points = self._series(run)
        return f", {words} {evaluations.format_value(points[-1][1])}" if points else ""

    def _check_measured(self, run: Run) -> None:
        if not self._series(run).points:
            rows = evaluations.read(self._folder.run(run.name) / evaluations.EVALUATIONS)
            names = ", ".join(summary.metrics_of(rows)) or "nothing: it was not evaluated"
            raise errors.SweepError(
                f"--metric={self.sweep.search.metric}: {run.name} was not measured by it; "
                f"accepted: {names}; see config.eval.metrics"
            )

    def _suggest(self, number: int) -> list[Run]:
        """Return the runs of the next suggestion, one per seed."""
        plan = self.sweep.search
        values = search.suggest(
            plan.parameters,
            self._trials(),
            method=plan.method,
            lower_is_better=plan.lower_is_better,
            seed=plan.seed,
        )
        group = f"trial-{number:04d}"
        if plan.seeds is None:
            return [Run(group, group, values)]
        return [
            Run(f"{group}_seed={seed}", group, {**values, SEED: seed}) for seed in range(plan.seeds)
        ]

    def _trials(self) -> list[search.Trial]:
        """Return all suggestions with their results."""
        groups: dict[str, list[Run]] = {}
        for run in self.sweep.runs:
            groups.setdefault(run.group, []).append(run)
        return [self._trial(runs) for runs in groups.values()]

    def _trial(self, runs: list[Run]) -> search.Trial:
        values = runs[0].group_overrides
        states = [self._state(run) for run in runs]
        if "diverged" in states:
            return search.Trial(values, "diverged")
        if all(state == "done" for state in states):
            found = [self._series(run).points for run in runs]
            if not all(found):
                return search.Trial(values, "failed")
            return search.Trial(values, "done", statistics.fmean(s[-1][1] for s in found))
        ended = [self._outcomes[run.name].state for run in runs if run.name in self._outcomes]
        failed = not {"failed", "refused"}.isdisjoint(ended)
        return search.Trial(values, "failed" if failed else "running")
