"""A sweep as a SLURM job array, without Ray: one task for each run."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from gan_jax import errors
from gan_jax.sweeps import record

# A run saves, and ends, within this time after SLURM's notice.
_NOTICE_SECONDS = 120


def script(
    sweep: record.Sweep,
    folder: record.Folder,
    program: Sequence[str],
    *,
    environment: Mapping[str, str],
    options: str = "",
    num_parallel: int | None = None,
    gpus: float | None = None,
    cpus: float | None = None,
    retries: int = 2,
) -> str:
    """Return an ``sbatch`` script that executes the runs of a grid.

    Args:
      sweep: the grid; its record must have been written.
      folder: its directory.
      program: the sweep's own command, which takes ``--workdir`` and ``--only``.
      environment: variables that it needs.
      options: of ``sbatch``, as on a command line; later ones prevail, so these over the script's.
      num_parallel: tasks at a time; ``None``: as many as SLURM admits.
      gpus: of each task; ``None``: left to the options.
      cpus: of each task; ``None``: left to the options.
      retries: attempts after a failed one, within a task.

    Raises:
      SweepError: a search, which has no runs before it begins; or a part of a device.
    """
    if sweep.search.method != "grid":
        raise errors.SweepError(
            f"--slurm with --search={sweep.search.method}; accepted: grid, whose runs are known"
        )
    for name, number in (("gpus", gpus), ("cpus", cpus)):
        if number is not None and number != int(number):
            raise errors.SweepError(f"--{name}-per-run={number} with --slurm; accepted: integers")
    numbers = [index for index, entry in enumerate(sweep.entries) if entry.defined]
    limit = f"%{num_parallel}" if num_parallel else ""
    # SLURM replaces what stands behind a single %.
    logs = Path(str(folder.path).replace("%", "%%")) / "logs"
    directives = [
        f"--job-name=sweep-{_word(folder.path.name)}",
        f"--array={_ranges(numbers)}{limit}",
        f"--output={_quoted(logs / 'slurm-%A_%a.txt')}",
        # To the batch shell, which becomes the program below.
        f"--signal=B:TERM@{_NOTICE_SECONDS}",
        "--requeue",
        *([f"--gpus={int(gpus)}"] if gpus else []),
        *([f"--cpus-per-task={int(cpus)}"] if cpus else []),
        *_split(options),
    ]
    command = [*program, f"--workdir={folder.path}", f"--retries={retries}"]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        "#",
        f"# A sweep of {len(numbers)} runs of {sweep.config}.",
        "# Submit it again to go on: what is done is not repeated, what was stopped is continued.",
        "set -euo pipefail",
        f"cd {shlex.quote(sweep.cwd)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        f'exec {shlex.join(command)} --only="$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def _split(options: str) -> list[str]:
    """Return the options of a command line, each with its value."""
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise errors.SweepError(f"--slurm-options={options!r}: {error}") from error
    joined: list[str] = []
    for word in words:
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            joined.append(f"{name}{equals}{_quoted(value)}")
        elif joined:
            joined[-1] += f" {_quoted(word)}"  # As in ``-p debug``.
        else:
            raise errors.SweepError(
                f"--slurm-options={options!r}; accepted: options of sbatch, such as --time=04:00:00"
            )
    return joined


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-2,5`` for 0, 1, 2 and 5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def _word(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


def _quoted(value: object) -> str:
    """Return a directive's value; SLURM understands quotation marks there."""
    text = str(value)
    if not re.search(r"[\s\"'#\\]", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
