"""Parallel execution of a sweep on Ray Tune, on a local cluster or an existing one.

Ray assigns runs to machines and devices, restarts a run whose machine is lost, and stops runs of a
search early by asynchronous successive halving ("A System for Massively Parallel Hyperparameter
Tuning", Li et al. 2018). Ray's own records are never read: a sweep resumes from its directory.
"""

import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import socket
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from gan_jax import errors
from gan_jax.report import lock
from gan_jax.sweeps import definition, execution, record, summary
from gan_jax.sweeps.agenda import Agenda

# Turns off Ray's usage reports, dashboards and unused log files.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Without this, Ray's workers, and so the runs, have a lower CPU priority than other programs.
    "RAY_worker_niceness": "0",
    # Otherwise a worker that ends kills its run with SIGKILL; the run gets SIGTERM and saves.
    "RAY_kill_child_processes_on_worker_exit": "false",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
}
try:
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import Searcher
except ImportError as _error:
    raise errors.SweepError(
        "Sweeps run on Ray, which is missing; install it with: pip install -e '.[sweep]'"
    ) from _error

_POLL_SECONDS = 0.5
_CONNECT_SECONDS = 10.0
_OBJECT_STORE_BYTES = 100 * 2**20  # Only short strings pass through it.
# One of this number of trials continues at each rung of successive halving.
_REDUCTION = 3


class Failed(Exception):
    """A run has failed and may be retried; Ray retries it."""


class RunTrainable(tune.Trainable):
    """A run as a Ray Tune trainable: each step lasts until the run reports something."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the execution of a run without starting it."""
        self._task = execution.Task(**config["task"])
        self._metric: str | None = config["metric"]
        self._total: int = config["total"]
        self._folder = record.Folder(self._task.folder)
        self._execution = execution.Execution(self._task)
        self._reported = 0

    def step(self) -> dict[str, Any]:
        """Wait for the next evaluation, or the end of the run, and return it.

        Raises:
          Failed: the run must be retried.
        """
        while True:
            for step, value in self._news():
                return {"step": step, "value": value, "state": "running", "reason": ""}
            stopping = self._folder.asked_to_stop()
            outcome = self._execution.stop() if stopping else self._execution.poll()
            if outcome is not None:
                if not stopping and not outcome.final:
                    raise Failed(outcome.reason)
                return {**dataclasses.asdict(outcome), tune.result.DONE: True}
            time.sleep(_POLL_SECONDS)

    def cleanup(self) -> None:
        """Make a run that is still in progress save and stop."""
        self._execution.stop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the run saves itself."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: the run resumes by itself."""

    def _news(self) -> list[tuple[int, float]]:
        """Return evaluations that have not been reported, except that of the last step.

        A run that has finished its last step must end by itself and not be stopped while it saves.
        """
        if self._metric is None:
            return []
        points = summary.series(self._folder.run(self._task.name), self._metric).points
        news = [point for point in points if self._reported < point[0] < self._total]
        if news:
            self._reported = news[0][0]
        return news


class _Runs(Searcher):
    """The agenda as a search algorithm of Ray Tune."""

    def __init__(
        self,
        agenda: Agenda,
        folder: record.Folder,
        make_task: Callable[[definition.Run], execution.Task],
        metric: str | None,
        total: int,
    ) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._agenda = agenda
        self._folder = folder
        self._make_task = make_task
        self._settings = {"metric": metric, "total": total}
        self._trials: dict[str, definition.Run] = {}
        self._attempts: dict[str, int] = {}

    def run_of(self, trial_id: str) -> definition.Run:
        """Return the run of a trial."""
        return self._trials[trial_id]

    def why(self, run: definition.Run) -> str:
        """Return why the last attempt at a run failed; call it once per attempt."""
        attempts = execution.read_attempts(self._folder, run.name)
        known, self._attempts[run.name] = self._attempts[run.name], len(attempts)
        lost = "its process was lost"
        return attempts[-1].get("reason", lost) if len(attempts) > known else lost

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next run as a trial's configuration."""
        with self._noting():
            run = self._agenda.next()
            if run is not None:
                self._trials[trial_id] = run
                attempts = execution.read_attempts(self._folder, run.name)
                self._attempts[run.name] = len(attempts)
                return {"task": dataclasses.asdict(self._make_task(run)), **self._settings}
        return cast(Any, Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report to the agenda how a run ended."""
        run = self._trials[trial_id]
        outcome = None
        if error:
            outcome = execution.Outcome("failed", self.why(run))
        elif result is not None and result["state"] != "running":
            outcome = execution.Outcome(result["state"], result["reason"])
        with self._noting():
            self._agenda.end(run, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's directory is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the sweep's directory is the record."""

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Store an error, to be raised after Ray Tune has ended, and stop the sweep."""
        try:
            yield
        except Exception as error:  # Any: Ray Tune would log it and go on.
            self.error = self.error or error
            self._agenda.stopped = True
            self._folder.ask(stop=True)


class _Progress(tune.Callback):
    """Reports the start and restart of runs."""

    def __init__(self, runs: _Runs, agenda: Agenda) -> None:
        self._runs = runs
        self._agenda = agenda

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report the run to the agenda."""
        run = self._runs.run_of(trial.trial_id)
        if trial.num_failures:
            self._agenda.again(run, self._runs.why(run))
        else:
            self._agenda.begin(run)


def run(
    sweep: record.Sweep, folder: record.Folder, plan: execution.Plan, address: str | None = None
) -> tuple[Agenda, str | None]:
    """Execute the remaining runs of a sweep, whose folder the caller has locked.

    Side effects: starts a Ray cluster or connects to one; writes run directories; on SIGTERM and
    Ctrl-C the runs save and stop.

    Args:
      sweep: the sweep.
      folder: its directory.
      plan: its program accepts ``--config``, ``--config.FIELD`` and ``--workdir``.
      address: address of a Ray cluster; ``None``: start one on this machine.

    Returns:
      The agenda at the end, and the signal that ended the sweep early, if any.

    Raises:
      SweepError: no cluster can be reached, or none of its machines is large enough for a run; or
        a search cannot continue.
      WorkdirError: the sweep's directory cannot be written.
    """
    agenda = Agenda(sweep, folder)
    if not agenda.left:
        return agenda, None
    folder.ask(stop=False)
    cpus = 1.0 if plan.cpus is None else plan.cpus
    with _cluster(address, plan.environment):
        gpus = _check_resources(plan.gpus, cpus, own=address is None)
        plan = dataclasses.replace(plan, environment=plan.environment | _devices(gpus, cpus))
        asha = sweep.search.method == "asha"
        total = int(sweep.fields.get("train.steps", 0))
        runs = _Runs(
            agenda,
            folder,
            lambda one: execution.make_task(sweep, folder, one, plan),
            sweep.search.metric if asha else None,
            total,
        )
        scheduler = None
        if asha:
            scheduler = ASHAScheduler(
                time_attr="step",
                metric="value",
                mode="min" if sweep.search.lower_is_better else "max",
                max_t=total + 1,
                grace_period=int(sweep.fields["eval.every"]),
                reduction_factor=_REDUCTION,
            )
            _recall(scheduler, sweep, folder, total)
        with _signals(agenda, folder) as asked:
            tuner = tune.Tuner(
                tune.with_resources(RunTrainable, {"cpu": cpus, "gpu": gpus}),
                tune_config=tune.TuneConfig(
                    search_alg=runs,
                    scheduler=scheduler,
                    num_samples=-1,
                    max_concurrent_trials=plan.num_parallel,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    storage_path=str(folder.path),
                    name=".ray",
                    verbose=0,
                    callbacks=[_Progress(runs, agenda)],
                    failure_config=tune.FailureConfig(max_failures=plan.retries),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            try:
                tuner.fit()
            finally:
                shutil.rmtree(folder.path / ".ray", ignore_errors=True)
            _await_saves(agenda, folder)
        if runs.error is not None:
            raise runs.error
        return agenda, asked[0] if asked else None


def _recall(
    scheduler: ASHAScheduler, sweep: record.Sweep, folder: record.Folder, total: int
) -> None:
    """Report to successive halving the results of runs that ended in an earlier process."""
    assert sweep.search.metric is not None
    for entry in sweep.entries:
        run = folder.run(entry.run.name)
        if entry.stopped or execution.read_status(run).get("state") in execution.SETTLED:
            trial = cast(Any, types.SimpleNamespace(trial_id=entry.run.name))
            scheduler.on_trial_add(cast(Any, None), trial)
            for step, value in summary.series(run, sweep.search.metric).points:
                if step < total:
                    result = {"step": step, "value": value}
                    scheduler.on_trial_result(cast(Any, None), trial, result)


def _await_saves(agenda: Agenda, folder: record.Folder) -> None:
    """Wait for runs that are still saving, for which Ray would wait only seconds."""
    deadline = time.monotonic() + execution.GRACE_SECONDS
    for one in agenda.sweep.runs:
        while lock.holder(folder.run(one.name)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _cluster(address: str | None, environment: Mapping[str, str]) -> Iterator[None]:
    """Connect to a Ray cluster for the duration of the context."""
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        # The workers inherit the variables of this process.
        os.environ.update(environment)
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        _check_address(address)
        options |= {"address": address, "runtime_env": {"env_vars": dict(environment)}}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        what = "one on this machine" if address is None else f"--address={address}"
        reason = " ".join(str(error).split())
        raise errors.SweepError(f"No Ray cluster: {what}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise `SweepError` unless a server listens at an address; Ray would retry for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise errors.SweepError(f"--address={address}; accepted: auto, or host:port of Ray's head")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise errors.SweepError(f"No Ray cluster: --address={address}: {error}") from error


def _check_resources(gpus: float | None, cpus: float, *, own: bool) -> float:
    """Return the GPUs per run, if some machine is large enough or an existing cluster may grow.

    Raises:
      SweepError: the runs do not fit on this machine, whose cluster is ``own``.
    """
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [(one.get("GPU", 0.0), one.get("CPU", 0.0)) for one in resources]
    if gpus is None:
        gpus = 1.0 if any(most for most, _ in nodes) else 0.0
    if any(most_gpus >= gpus and most_cpus >= cpus for most_gpus, most_cpus in nodes):
        return gpus
    asked = f"--gpus-per-run={gpus:g} --cpus-per-run={cpus:g}"
    if own:
        ((most_gpus, most_cpus),) = nodes
        raise errors.SweepError(
            f"{asked}; this machine has {most_gpus:g} GPUs and {most_cpus:g} CPUs"
        )
    print(f"{asked}; no machine of the cluster has that now: the runs wait for one", flush=True)
    return gpus


def _devices(gpus: float, cpus: float) -> dict[str, str]:
    """Return variables that limit a run to its share of a machine; Ray selects the GPUs."""
    if gpus == 0:
        threads = str(max(1, int(cpus)))
        # NPROC is the number of threads that XLA starts.
        return {"JAX_PLATFORMS": "cpu", "NPROC": threads, "OMP_NUM_THREADS": threads}
    if gpus < 1:
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:.3f}"}
    return {}


@contextlib.contextmanager
def _signals(agenda: Agenda, folder: record.Folder) -> Iterator[list[str]]:
    """Turn the first SIGTERM or Ctrl-C into a graceful stop; the second takes effect at once."""
    asked: list[str] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: Any) -> None:
        asked.append(signal.Signals(number).name)
        agenda.stopped = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(f"{asked[0]}: the runs save and stop ...", flush=True)
        folder.ask(stop=True)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
