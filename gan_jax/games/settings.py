"""What the builders of all games share: groups of a configuration as arguments, checked."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.losses import penalties

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "highest": jnp.float32}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a game is built for.

    Attributes:
      shape: of one data point.
      axis_name: the mapped axis of the train step, for synchronised batch statistics.
      num_classes: of the data; ``None``: they have no labels.
    """

    shape: tuple[int, ...]
    axis_name: str | None
    num_classes: int | None


def options(group: Any, *without: str) -> dict[str, Any]:
    """Return the options of what a configuration group names.

    These are the group's own fields and those of its sub-group of that name, as far as they are
    set. Lists, as a configuration read back from JSON has them, become tuples.

    Args:
      group: has a field ``name``, and may have a sub-group for each name.
      without: fields of the group that are no options.
    """
    own = {k: v for k, v in group.items() if k not in ("name", *without)}
    shared = {k: v for k, v in own.items() if not isinstance(v, ConfigDict)}
    chosen = {**shared, **(own.get(group.name) or {})}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items() if v is not None}


def given(config: Any, setting: Setting) -> dict[str, Any]:
    """Return what every network of a run is given beside its own options."""
    return {
        "shape": setting.shape,
        "num_classes": setting.num_classes,
        "dtype": errors.lookup(PRECISIONS, config.precision, "precision"),
        "param_dtype": jnp.float32,
        "axis_name": setting.axis_name,
    }


def check_weights(fields: Any, group: str) -> dict[str, Any]:
    """Return weights of a loss's terms.

    Raises:
      ConfigError: one is negative.
    """
    for name, weight in fields.items():
        if not weight >= 0:
            raise errors.ConfigError(f"{group}.{name} = {weight}; accepted: 0 or more")
    return dict(fields)


def penalty_fields(config: Any, setting: Setting) -> dict[str, Any]:
    """Return the penalty of a game on its discriminator, its weight, and how often it is computed.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    penalty = None
    if config.penalty.name != "none":
        if not config.penalty.weight >= 0:
            raise errors.ConfigError(
                f"penalty.weight = {config.penalty.weight}; accepted: 0 or more"
            )
        penalty = penalties.make(
            config.penalty.name,
            axis_name=setting.axis_name,
            **options(config.penalty, "weight", "every"),
        )
    if config.penalty.every < 1:
        raise errors.ConfigError(f"penalty.every = {config.penalty.every}; accepted: 1 or more")
    return {
        "penalty": penalty,
        "penalty_weight": config.penalty.weight,
        "penalty_every": config.penalty.every,
    }
