"""Writers of metrics and images; ``config.report.writers`` chooses among `WRITERS`.

``metrics.jsonl`` is the primary record, from which runs are resumed and reports are made. A writer
imports its library when it is opened.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from gan_jax import errors
from gan_jax.report.writers.csv import TABLE, CsvWriter
from gan_jax.report.writers.jsonl import (
    METRICS,
    JsonlWriter,
    has_records,
    read_rows,
    truncate_after,
)
from gan_jax.report.writers.mlflow import MlflowWriter
from gan_jax.report.writers.tensorboard import TENSORBOARD, TensorBoardWriter
from gan_jax.report.writers.wandb import WandbWriter
from gan_jax.report.writers.writer import Writer, Writers

__all__ = [
    "DEFAULT",
    "METRICS",
    "TENSORBOARD",
    "WRITERS",
    "CsvWriter",
    "JsonlWriter",
    "MlflowWriter",
    "TensorBoardWriter",
    "WandbWriter",
    "Writer",
    "Writers",
    "check",
    "has_records",
    "make_writers",
    "read_rows",
    "truncate_after",
]

DEFAULT = ("jsonl", "tensorboard")
# Each opens a writer of a run directory, from a step on. ``jsonl`` is opened first.
WRITERS: Mapping[str, Callable[[Path, int | None], Writer]] = {
    "jsonl": lambda workdir, step: JsonlWriter(workdir / METRICS),
    "tensorboard": lambda workdir, step: TensorBoardWriter(workdir / TENSORBOARD, step),
    "csv": lambda workdir, step: CsvWriter(workdir / TABLE, workdir / METRICS),
    "wandb": lambda workdir, step: WandbWriter(workdir),
    "mlflow": lambda workdir, step: MlflowWriter(workdir),
}
# Those that need a library, which is an extra of the same name.
_LIBRARIES = ("wandb", "mlflow")


def check(names: Sequence[str]) -> None:
    """Check ``config.report.writers``.

    Raises:
      ConfigError: a name is unknown or repeated, ``"jsonl"`` is missing, or a library is.
    """
    field = "report.writers"
    for name in names:
        errors.lookup(WRITERS, name, field)
    errors.require(len(set(names)) == len(names), field, tuple(names), "each writer once")
    accepted = "'jsonl' and others, since runs are resumed and reported from metrics.jsonl"
    errors.require("jsonl" in names, field, tuple(names), accepted)
    for name in _LIBRARIES:
        # A folder of this name in the working directory is found without an origin.
        spec = importlib.util.find_spec(name)
        if name in names and (spec is None or spec.origin is None):
            raise errors.ConfigError(
                f"{field} has {name!r}, whose library {name} is not installed: "
                f"pip install -e '.[{name}]'"
            )


def make_writers(
    workdir: str | Path, resume_step: int | None = None, names: Sequence[str] = DEFAULT
) -> Writers:
    """Return the writers of a run directory.

    Side effect: removes records of steps after ``resume_step``, since these steps are trained and
    recorded again.

    Args:
      workdir: the run directory.
      resume_step: the step from which training continues; None: the beginning.
      names: keys of `WRITERS`, with ``"jsonl"`` among them.

    Raises:
      WorkdirError: a file cannot be written.
      ConfigError: a service cannot be used.
    """
    workdir = Path(workdir)
    truncate_after(workdir / METRICS, resume_step)
    with ExitStack() as opened:
        found = []
        for name in sorted(names, key=list(WRITERS).index):
            found.append(WRITERS[name](workdir, resume_step))
            opened.callback(found[-1].close)
        opened.pop_all()
    return Writers(found)
