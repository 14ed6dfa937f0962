"""The result of one evaluation: values, their spread over seeds, and the protocol."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_jax.report import evaluations


@dataclasses.dataclass(frozen=True)
class Result:
    """What one evaluation has measured.

    Attributes:
      values: by metric; the mean over the seeds.
      spread: standard deviation over the seeds by metric; empty for one seed.
      protocol: how, JSON-able.
    """

    values: dict[str, float]
    spread: dict[str, float]
    protocol: dict[str, Any]

    def row(self, step: int, kimg: float) -> evaluations.Row:
        """Return the row of ``eval.jsonl``."""
        spread = {f"{name}_std": value for name, value in self.spread.items()}
        return {"step": step, "kimg": kimg, **self.values, **spread, "protocol": self.protocol}


def mean_and_spread(
    runs: Sequence[Mapping[str, float]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and sample standard deviation by metric; no deviations for one run."""
    values = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    if len(runs) == 1:
        return values, {}
    spread = {name: float(np.std([run[name] for run in runs], ddof=1)) for name in runs[0]}
    return values, spread
