"""Several independent runs in one program: what differs between them, their data, their folders.

Replica ``i`` is the run of seed ``train.seed + i``. What it leaves behind is an ordinary run
directory, ``replica_<i>``, whose configuration names that seed and its own numbers.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data.pipeline import Batch, Pipeline

# A field of `config.train` with a number for each replica, and the setting it is to the train step.
SETTINGS = {
    "replica_learning_rates": "learning_rate",
    "replica_penalty_weights": "penalty_weight",
}


def make_settings(config: Any) -> dict[str, np.ndarray]:
    """Return what differs between the replicas of a run, float32 ``[replicas]`` by setting.

    Raises:
      ConfigError: a field has a number too many or too few, or one that cannot work.
    """
    count = config.train.get("replicas", 1)
    found = {}
    for field, setting in SETTINGS.items():
        values = tuple(config.train.get(field, ()))
        if not values:
            continue
        if count == 1 or len(values) != count:
            raise errors.ConfigError(
                f"train.{field} has {len(values)} numbers; accepted: none, or one for each of "
                f"train.replicas = {count}, which must be above 1"
            )
        least = "above 0" if setting == "learning_rate" else "from 0 on"
        for value in values:
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if not is_number or value < 0 or (value == 0 and setting == "learning_rate"):
                raise errors.ConfigError(f"train.{field} has {value!r}; accepted: numbers {least}")
        found[setting] = np.asarray(values, np.float32)
    if "penalty_weight" in found and config.penalty.name == "none":
        raise errors.ConfigError(
            "train.replica_penalty_weights is given with penalty.name = 'none'; accepted: ()"
        )
    return found


def configs(config: ConfigDict) -> list[ConfigDict]:
    """Return the configuration of each replica as a run of its own; of one run: it alone."""
    count = config.train.replicas
    if count == 1:
        return [config]
    found = []
    for i in range(count):
        own = ConfigDict(config.to_dict())
        own.train.update(seed=config.train.seed + i, replicas=1)
        own.train.update(dict.fromkeys(SETTINGS, ()))
        if rates := config.train.replica_learning_rates:
            for optimizer in own.optimizer.values():
                optimizer.learning_rate *= float(rates[i])
        if weights := config.train.replica_penalty_weights:
            own.penalty.weight = float(weights[i])
        found.append(own)
    return found


def folders(workdir: Path, count: int) -> list[Path]:
    """Return each replica's run directory; of one run: its own."""
    if count == 1:
        return [workdir]
    digits = len(str(count - 1))
    return [workdir / f"replica_{i:0{digits}d}" for i in range(count)]


@contextmanager
def batches(pipelines: Sequence[Pipeline], first: int, stacked: bool) -> Iterator[Iterator[Batch]]:
    """Give the batches of several runs from a train step on, until the ``with`` block ends.

    Args:
      pipelines: one for each replica that this process feeds.
      first: the number of the first step.
      stacked: the batches have the replicas in front; else there is one, and they are its own.
    """
    with ExitStack() as stack:
        each = [stack.enter_context(pipeline.batches(first)) for pipeline in pipelines]
        yield map(_stack, zip(*each, strict=True)) if stacked else each[0]


def abstract_batch(pipeline: Pipeline, count: int) -> Mapping[str, tuple[tuple[int, ...], Any]]:
    """Return shape and dtype of one call's batches for all replicas over all processes."""
    front = (count,) if count > 1 else ()
    return {
        name: ((*front, *shape), dtype)
        for name, (shape, dtype) in pipeline.abstract_batch().items()
    }


def _stack(batches: Sequence[Batch]) -> Batch:
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
