"""A sweep as a SLURM job array, without Ray: one task per run."""

import re
import shlex
from collections.abc import Sequence

from gan_jax import errors
from gan_jax.sweeps import execution, record

# Time between SLURM's SIGTERM and the time limit, within which a run saves and exits.
_NOTICE_SECONDS = 120


def script(sweep: record.Sweep, folder: record.Folder, plan: execution.Plan) -> str:
    """Return an ``sbatch`` script that executes the runs of a grid.

    Args:
      sweep: the grid; it must have been recorded.
      folder: its directory.
      plan: its program accepts ``--workdir``, ``--retries`` and ``--only``.

    Raises:
      SweepError: the sweep is a search, whose runs are not known in advance; or a number of devices
        is not an integer.
    """
    gpus, cpus = plan.gpus, plan.cpus
    if sweep.search.method != "grid":
        raise errors.SweepError(
            f"--slurm with --search={sweep.search.method}; accepted: grid, whose runs are known"
        )
    for name, number in (("gpus", gpus), ("cpus", cpus)):
        if number is not None and number != int(number):
            raise errors.SweepError(f"--{name}-per-run={number} with --slurm; accepted: integers")
    numbers = [index for index, entry in enumerate(sweep.entries) if entry.defined]
    limit = f"%{plan.num_parallel}" if plan.num_parallel else ""
    # SLURM expands patterns that begin with a single %.
    logs = str(folder.path).replace("%", "%%")
    directives = [
        f"--job-name=sweep-{re.sub(r'[^A-Za-z0-9._-]', '-', folder.path.name)}",
        f"--array={_ranges(numbers)}{limit}",
        f"--output={_quoted(f'{logs}/logs/slurm-%A_%a.txt')}",
        # B: signal the batch shell, which is replaced by the program below.
        f"--signal=B:TERM@{_NOTICE_SECONDS}",
        "--requeue",
        *([f"--gpus={int(gpus)}"] if gpus else []),
        *([f"--cpus-per-task={int(cpus)}"] if cpus else []),
    ]
    command = [*plan.program, f"--workdir={folder.path}", f"--retries={plan.retries}"]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        "#",
        f"# A sweep of {len(numbers)} runs of {sweep.config}.",
        "# Submit it again to resume it: finished runs are not repeated.",
        "set -euo pipefail",
        f"cd {shlex.quote(sweep.cwd)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in plan.environment.items()),
        f'exec {shlex.join(command)} --only="$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-2,5`` for 0, 1, 2 and 5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def _quoted(text: str) -> str:
    """Return a value of a directive, in quotes where SLURM needs them."""
    if not re.search(r"[\s\"'#\\]", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
