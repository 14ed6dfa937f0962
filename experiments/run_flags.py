"""Flags of the programs that use a trained run."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from experiments import command_line
from gan_jax import errors

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

RUN = flags.DEFINE_string("run", None, "The run directory.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a train step.")
RAW = flags.DEFINE_bool("raw", False, "Use the raw weights instead of their moving average.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Images at a time. Default: 64 samples, 8 translations, or the run's number in evaluations.",
    lower_bound=1,
)
IMPORT = flags.DEFINE_multi_string(
    "import",
    [],
    "A Python file to import first, such as the configuration file that registers a network of the "
    "run's own. No code of a run directory is imported without this flag.",
)


def open_run() -> "Run":
    """Return the run that ``--run`` names.

    Side effects and errors are those of `open_runs`; a `ConfigError` if ``--run`` is not given.
    """
    (run,) = open_runs(command_line.require(run="a run directory"))
    return run


def open_runs(paths: Sequence[str]) -> "list[Run]":
    """Return the runs in some directories.

    Side effects: imports the files of ``--import``, switches the compilation cache on, and keeps
    freed memory (see `allocator`).

    Raises:
      ConfigError: a file of ``--import`` does not exist.
      WorkdirError: one of the directories is no run.
    """
    # Imported late, so that a mistyped flag is reported at once.
    from gan_jax.runs import allocator, compilation_cache, run

    compilation_cache.enable()
    allocator.keep_freed_memory()
    for file in map(Path, IMPORT.value):
        if not file.is_file():
            raise errors.ConfigError(f"--import={file}; accepted: an existing Python file")
        sys.path.insert(0, str(file.parent.resolve()))
        importlib.import_module(file.stem)  # noqa: TID251  The user asked for this file.
    return [run.open_run(path) for path in paths]
