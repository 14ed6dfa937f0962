"""Games by name, built from a configuration."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.game import Game
from gan_jax.losses import adversarial, penalties
from gan_jax.networks import registry as networks

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "highest": jnp.float32}


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


def make_game(config: Any, shape: tuple[int, ...], axis_name: str | None) -> Game:
    """Return the game that ``config.game.name`` names.

    Args:
      config: a configuration with every field of ``configs/base.py``.
      shape: of one data point.
      axis_name: the mapped axis of the train step, for synchronised batch statistics.

    Raises:
      ConfigError: an unknown name or option, or a value that cannot work.
    """
    return errors.lookup(GAMES, config.game.name, "game.name")(config, shape, axis_name)


def _adversarial(config: Any, shape: tuple[int, ...], axis_name: str | None) -> Game:
    common = {
        "shape": shape,
        "dtype": errors.lookup(PRECISIONS, config.precision, "precision"),
        "param_dtype": jnp.float32,
        "axis_name": axis_name,
    }
    generator, discriminator = config.generator, config.discriminator
    penalty = None
    if config.penalty.name != "none":
        if not config.penalty.weight >= 0:
            raise errors.ConfigError(
                f"penalty.weight = {config.penalty.weight}; accepted: 0 or more"
            )
        penalty = penalties.make(
            config.penalty.name,
            axis_name=axis_name,
            **options(config.penalty, "weight", "every"),
        )
    for field in ("game.discriminator_steps", "penalty.every"):
        group, name = field.split(".")
        if config[group][name] < 1:
            raise errors.ConfigError(f"{field} = {config[group][name]}; accepted: 1 or more")
    if config.game.clip is not None and not config.game.clip > 0:
        raise errors.ConfigError(
            f"game.clip = {config.game.clip}; accepted: a number above 0, or none"
        )
    return AdversarialGame(
        generator=networks.make_generator(generator.name, **common, **options(generator)),
        discriminator=networks.make_discriminator(
            discriminator.name, **common, **options(discriminator)
        ),
        shape=shape,
        loss=adversarial.make(config.loss.name, axis_name=axis_name, **options(config.loss)),
        penalty=penalty,
        penalty_weight=config.penalty.weight,
        penalty_every=config.penalty.every,
        clip=config.game.clip,
        discriminator_steps=config.game.discriminator_steps,
        joint_batch=config.game.joint_batch,
    )


GAMES: Mapping[str, Callable[[Any, tuple[int, ...], str | None], Game]] = {
    "adversarial": _adversarial,
}
