"""Run a sweep: ``python -m experiments.sweep --config=configs/wgan_gp.py --workdir=sweeps/first``.

The configuration file defines the runs (``def sweep(add)``), or the space of a search (``def
search(space)``). See ``docs/sweeps.md``.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import command_line
from gan_jax import errors, installation
from gan_jax.report import atomic
from gan_jax.sweeps import definition, execution, record, search, slurm, space, summary, tables

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The configuration that the runs change: NAME, NAME:ARG, FILE or FILE:ARG. "
    "--config.FIELD=VALUE sets a field for all of them.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The sweep's directory; one that holds this sweep is continued."
)
_SEARCH = flags.DEFINE_string(
    "search",
    "grid",
    "grid: the runs of sweep(add). random, tpe (a model of the results so far) or asha (random, "
    "most runs are stopped early): a search of search(space).",
)
_METRIC = flags.DEFINE_string(
    "metric",
    None,
    "The metric that ranks the runs, as in eval.jsonl: classifier_fid, fid, ...; of runs that "
    "translate in several directions, its mean over them.",
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", None, "Total number of trials of a search. Default: 20.", lower_bound=1
)
_SEARCH_SEED = flags.DEFINE_integer("search_seed", 0, "Seed of the search itself.", lower_bound=0)
_SEEDS = flags.DEFINE_integer(
    "seeds", None, "Repeat every run with train.seed 0 to SEEDS - 1.", lower_bound=1
)
_NUM_PARALLEL = flags.DEFINE_integer(
    "num_parallel",
    None,
    "Number of concurrent runs. Default: as many as the resources allow.",
    lower_bound=1,
)
_ADDRESS = flags.DEFINE_string(
    "address",
    None,
    'A running Ray cluster, host:port or "auto". Default: start one on this machine.',
)
_GPUS = flags.DEFINE_float(
    "gpus_per_run",
    None,
    "GPUs per run; 0.5: two runs share one. Default: 1 if there are any.",
    lower_bound=0.0,
)
_CPUS = flags.DEFINE_float("cpus_per_run", None, "CPU cores per run. Default: 1.", lower_bound=0.01)
_RETRIES = flags.DEFINE_integer(
    "retries", 2, "Number of further attempts for a run that fails.", lower_bound=0
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs, start nothing, write nothing.")
_SLURM = flags.DEFINE_string(
    "slurm", None, "Write a script for sbatch, which executes the runs without Ray; start none."
)
_ONLY = flags.DEFINE_integer(
    "only",
    None,
    "Execute one run of the sweep in --workdir, by its number, as the script does.",
    lower_bound=0,
)
_SUMMARIZE = flags.DEFINE_bool(
    "summarize", False, "Print and write the current table of the sweep in --workdir."
)

# Groups of fields that define the protocol of an evaluation.
_MEASURING = ("eval.", "sample.")


def _main() -> None:
    if not _WORKDIR.value:
        raise errors.ConfigError("--workdir is missing; for example --workdir=sweeps/first")
    _check_flags()
    folder = record.Folder(_WORKDIR.value)
    if _SUMMARIZE.value:
        _summarize(_recorded(folder), folder)
    elif _ONLY.value is not None:
        _run_one(folder, _ONLY.value)
    elif _CONFIG.value is None:
        raise errors.ConfigError("--config is missing; for example --config=wgan_gp")
    elif _DRY_RUN.value:
        _show(folder, *_merged(folder, _defined()))
    elif _SLURM.value:
        _write_script(folder, Path(_SLURM.value))
    else:
        _run_all(folder)


def _check_flags() -> None:
    """Check the flags that need neither a configuration nor a directory."""
    errors.lookup(dict.fromkeys(("grid", *search.METHODS)), _SEARCH.value, "--search")
    if _GPUS.value is not None and _GPUS.value > 1 and _GPUS.value % 1:
        raise errors.ConfigError(
            f"--gpus-per-run={_GPUS.value}; accepted: a fraction below 1, or an integer"
        )
    if _SEARCH.value == "grid" and _NUM_SAMPLES.value is not None:
        raise errors.ConfigError(
            f"--num-samples={_NUM_SAMPLES.value} is for --search=random, tpe or asha; a grid has "
            "the runs that sweep(add) names"
        )


def _defined() -> record.Sweep:
    """Return the sweep that the flags and the configuration file define."""
    method = _SEARCH.value
    config = _CONFIG.value
    name = config_flags.get_config_filename(flags.FLAGS["config"])
    path, _, arg = name.partition(":")
    common = config_flags.get_override_values(flags.FLAGS["config"])
    module = definition.load(path)
    metric = _METRIC.value
    lower = metric is None or _parse(metric)
    runs: list[definition.Run] = []
    parameters: list[space.Parameter] = []
    if method == "grid":
        runs = definition.collect(
            lambda add: definition.call(module, "sweep", add, arg), config, common, _SEEDS.value
        )
    else:
        search.load_optuna()
        definition.check_seeds(_SEEDS.value, common)
        parameters = space.collect(
            lambda names: definition.call(module, "search", names, arg), config, common
        )
        _check_search(method, metric, config)
        _check_parameters(method, parameters)
    fields = definition.leaves(config)
    varied = [dict(run.overrides) for run in runs] or [{p.field: 0} for p in parameters]
    if any({**fields, **values}.get("train.replicas", 1) != 1 for values in varied):
        raise errors.ConfigError(
            "config.train.replicas in a sweep; accepted: 1, as a sweep's seeds are runs of their "
            "own (--seeds=N)"
        )
    settings = record.Search(
        method=method,
        metric=metric,
        lower_is_better=lower,
        parameters=parameters,
        num_samples=0 if method == "grid" else (_NUM_SAMPLES.value or 20),
        seeds=_SEEDS.value,
        seed=_SEARCH_SEED.value,
    )
    return record.Sweep(
        config=str(Path(path).resolve()) + (f":{arg}" if arg else ""),
        common=json.loads(json.dumps(common)),
        fields=json.loads(json.dumps(fields)),
        search=settings,
        entries=tuple(map(record.Entry, runs)),
        cwd=str(Path.cwd()),
    )


def _parse(metric: str) -> bool:
    """Return whether smaller values of a metric are better."""
    from gan_jax.metrics import extractors, names

    return names.parse(metric, extractors.EXTRACTORS, "--metric").lower_is_better


def _lower_is_better(metric: str) -> bool | None:
    """Return whether smaller values are better; ``None`` if a metric cannot be ranked."""
    try:
        return _parse(metric)
    except errors.ConfigError:
        return None


def _check_search(method: str, metric: str | None, config: ConfigDict) -> None:
    """Check that the runs of a search are measured by its metric."""
    if metric is None:
        raise errors.ConfigError(
            f"--search={method} needs --metric, for example --metric=classifier_fid"
        )
    if config.eval.every <= 0:
        raise errors.ConfigError(
            f"--search={method} needs evaluations, but config.eval.every = {config.eval.every}; "
            "accepted: train steps between them, 1 or more"
        )
    measured = config.eval.metrics
    if "auto" not in measured and metric not in measured:
        raise errors.ConfigError(
            f"--metric={metric} is not measured: config.eval.metrics = {tuple(measured)}"
            f"{errors.suggestion(metric, measured)}"
        )
    if method == "asha":
        if _SEEDS.value is not None:
            raise errors.ConfigError(
                f"--seeds={_SEEDS.value} with --search=asha, which compares single runs; "
                "repeat the best ones afterwards"
            )
        if config.eval.every >= config.train.steps:
            raise errors.ConfigError(
                f"--search=asha stops runs at their evaluations, but config.eval.every = "
                f"{config.eval.every} of config.train.steps = {config.train.steps}; accepted: less"
            )


def _check_parameters(method: str, parameters: Sequence[space.Parameter]) -> None:
    """Check that the runs of a search remain comparable under the fields that it varies."""
    for parameter in parameters:
        if parameter.field.startswith(_MEASURING):
            raise errors.ConfigError(
                f"search: {parameter.field} is part of the protocol; a search compares runs "
                "of one protocol"
            )
        if method == "asha" and parameter.field == "train.steps":
            raise errors.ConfigError(
                "search: train.steps with --search=asha, which compares runs of one length"
            )


def _recorded(folder: record.Folder) -> record.Sweep:
    """Return the sweep that a directory records."""
    sweep = folder.read()
    if sweep is None:
        raise errors.WorkdirError(f"--workdir={folder.path} holds no sweep: it has no sweep.json")
    return sweep


def _merged(folder: record.Folder, sweep: record.Sweep) -> tuple[record.Sweep, list[str]]:
    """Return a sweep merged with the recorded one, and lines that report the changes."""
    from gan_jax.runs import run_directory

    old = folder.read()
    free: tuple[str, ...] = run_directory.OPERATIONAL
    if sweep.search.method != "grid":
        # A search compares numbers, which must be measured by one protocol.
        free = tuple(field for field in free if field not in _MEASURING)
    merged, added, vanished = record.merge(old, sweep, free)
    notes = []
    if old is not None and added:
        notes.append(f"new in this sweep: {', '.join(added)}")
    if vanished:
        notes.append(f"no longer defined, so not run: {', '.join(vanished)}")
    return merged, notes


def _show(folder: record.Folder, sweep: record.Sweep, notes: list[str]) -> None:
    """Print the runs."""
    for index, (entry, state) in enumerate(
        zip(sweep.entries, summary.look(sweep, folder), strict=True)
    ):
        if entry.defined:
            words = " ".join(definition.flag(f, v) for f, v in entry.run.overrides.items())
            print(f"{index} {entry.run.name} ({state.state})")
            print(f"    {words or 'no overrides'}")
            print(f"    {folder.run(entry.run.name)}")
    common = " ".join(definition.flag(field, value) for field, value in sweep.common.items())
    if sweep.search.method == "grid":
        print(f"{len(sweep.runs)} runs of {sweep.config}")
    else:
        for parameter in sweep.search.parameters:
            span = parameter.values or (parameter.low, parameter.high)
            print(f"{parameter.field}: {parameter.kind} {', '.join(map(str, span))}")
        each = f", {sweep.search.seeds} runs each" if sweep.search.seeds else ""
        print(
            f"{sweep.search.num_samples} trials of {sweep.config} by {sweep.search.method}{each}; "
            f"{len(sweep.runs)} runs so far"
        )
    if common:
        print(f"all with {common}")
    for line in notes:
        print(line)


def _plan(command: str) -> execution.Plan:
    """Return how to execute runs by a command of `gan_jax.console`."""
    # Which every machine must see.
    paths = [
        str(installation.FOLDER),
        *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
    ]
    return execution.Plan(
        program=[sys.executable, "-m", "gan_jax", command],
        environment={"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
        num_parallel=_NUM_PARALLEL.value,
        gpus=_GPUS.value,
        cpus=_CPUS.value,
        retries=_RETRIES.value,
    )


def _write_script(folder: record.Folder, path: Path) -> None:
    """Record the sweep, and write the script that executes it."""
    defined = _defined()
    with folder.claim():
        sweep, notes = _merged(folder, defined)
        script = slurm.script(sweep, folder, _plan("sweep"))
        folder.write(sweep)
        # SLURM opens its own log before the script can create the folder.
        folder.log("_").parent.mkdir(exist_ok=True)
        atomic.write_text(path, script)
    for line in notes:
        print(line)
    print(f"{len(sweep.runs)} runs: sbatch {path}")
    print(f"the table: {installation.command('sweep')} --workdir={folder.path} --summarize")


def _run_one(folder: record.Folder, index: int) -> None:
    """Execute one run of a recorded sweep in this process's allocation."""
    _recorded(folder)  # Do not create a folder that holds no sweep.
    with folder.claim(shared=True):
        sweep = _recorded(folder)
        if index >= len(sweep.entries):
            raise errors.SweepError(
                f"--only={index}; accepted: 0 to {len(sweep.entries) - 1}, of the sweep's runs"
            )
        entry = sweep.entries[index]
        if not entry.defined:
            print(f"{entry.run.name} is no longer defined")
            return
        asked: list[str] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda n, frame: asked.append(signal.Signals(n).name))
        task = execution.make_task(sweep, folder, entry.run, _plan("train"))
        print(f"{entry.run.name}: starts", flush=True)
        outcome = execution.execute(task, _RETRIES.value, lambda: bool(asked))
        reason = f": {outcome.reason}" if outcome.reason else ""
        if outcome.state != "done":
            again = "; the same command resumes it" if outcome.state == "preempted" else ""
            raise errors.SweepError(f"{entry.run.name} is {outcome.state}{reason}{again}")
        print(f"{entry.run.name}: done")


def _run_all(folder: record.Folder) -> None:
    """Execute the remaining runs of the sweep on Ray."""
    sweep = _defined()
    # Imported late: it needs Ray.
    from gan_jax.sweeps import ray_tune

    with folder.claim():
        sweep, notes = _merged(folder, sweep)
        folder.write(sweep)
        for line in notes:
            print(line, flush=True)
        agenda, asked = ray_tune.run(sweep, folder, _plan("train"), _ADDRESS.value)
        states = _summarize(agenda.sweep, folder)
    # In a search a diverged run is a result; in a grid it is a missing one.
    good = ("done", "stopped") if sweep.search.method == "grid" else ("done", "stopped", "diverged")
    names = {run.name for run in agenda.sweep.runs}
    bad = [s for s in states if s.run.name in names and s.state not in good]
    done = len(names) - len(bad)
    if asked is not None:
        raise errors.SweepError(
            f"stopped by {asked}; {done} of {agenda.total} runs are done; "
            "the same command resumes the sweep"
        )
    if bad:
        listed = "; ".join(f"{s.run.name} ({s.state}: {s.reason})" for s in bad)
        raise errors.SweepError(f"{len(bad)} of {len(names)} runs are not done: {listed}")


def _summarize(sweep: record.Sweep, folder: record.Folder) -> list[summary.State]:
    """Print and write the table; return the states of the runs."""
    states = summary.look(sweep, folder)
    found = summary.summarise(states, _METRIC.value or sweep.search.metric, _lower_is_better)
    tables.write(found, folder.path)
    tables.show(found)
    print(f"{folder.path / 'summary.md'}, {folder.path / 'summary.csv'}")
    return states


if __name__ == "__main__":
    command_line.run(_main)
