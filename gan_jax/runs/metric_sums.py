"""Sums of the train step's metrics since the last log step, kept on the devices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


class MetricSums:
    """Adds the metrics of every call of the train step, without a transfer to the host.

    Args:
      steps_per_call: train steps over which the metrics of a call are means.
      fetch: returns arrays on the host (`gan_jax.training.parallel.Parallel.fetch`).
    """

    def __init__(self, steps_per_call: int, fetch: Callable[[Any], Any]) -> None:
        self._steps_per_call = steps_per_call
        self._fetch = fetch
        self._add = jax.jit(
            lambda sums, means: {n: sums.get(n, 0.0) + steps_per_call * x for n, x in means.items()}
        )
        self.restart()

    def restart(self, count: int = 0, sums: Mapping[str, jax.Array] | None = None) -> None:
        """Begin with sums over ``count`` train steps, as `fetch` returned them, or with none."""
        self._count, self._sums = count, dict(sums or {})

    def add(self, means: Mapping[str, jax.Array]) -> None:
        """Add the metrics of one call."""
        self._sums = self._add(self._sums, means)
        self._count += self._steps_per_call

    def fetch(self) -> tuple[int, dict[str, np.ndarray]]:
        """Return the number of train steps, and the sums over them as arrays on the host."""
        return self._count, self._fetch(self._sums)
