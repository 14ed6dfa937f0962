"""Sums of the train step's metrics since the last log step, kept on the devices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


class MetricSums:
    """Adds the metrics of every call of the train step, without a transfer to the host.

    ``fetch`` returns arrays on the host (`gan_jax.training.parallel.Parallel.fetch`).
    """

    def __init__(self, steps_per_call: int, fetch: Callable[[Any], Any]) -> None:
        self._steps_per_call = steps_per_call
        self._fetch = fetch
        self._add = jax.jit(
            lambda sums, means: {n: sums.get(n, 0.0) + steps_per_call * x for n, x in means.items()}
        )
        self.restart()

    def restart(self, count: int = 0, sums: Mapping[str, jax.Array] | None = None) -> None:
        """Begin with sums over ``count`` train steps, or with none."""
        self._count, self._sums = count, dict(sums or {})

    def add(self, means: Mapping[str, jax.Array]) -> None:
        """Add the metrics of one call."""
        self._sums = self._add(self._sums, means)
        self._count += self._steps_per_call

    def means(self) -> dict[str, np.ndarray]:
        """Return the means since the start, float32 scalars or ``[replicas]``."""
        return {name: x / np.float32(self._count) for name, x in self._fetch(self._sums).items()}

    def pending(self) -> dict[str, Any]:
        """Return the sums for a checkpoint: float32 as JSON numbers, which represent it exactly."""
        sums = self._fetch(self._sums)
        return {"count": self._count, "sums": {name: x.tolist() for name, x in sums.items()}}

    def resume(self, pending: Mapping[str, Any], put: Callable[[Any], Any]) -> None:
        """Continue with what `pending` returned; ``put`` places arrays on every device."""
        sums = {name: np.asarray(x, np.float32) for name, x in pending["sums"].items()}
        self.restart(pending["count"], put(sums))
