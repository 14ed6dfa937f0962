"""Games by name: ``game.name``."""

from typing import Any

from gan_jax import errors
from gan_jax.augment import AUGMENTATIONS
from gan_jax.data.spec import Spec
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.anomaly import AnomalyGame
from gan_jax.games.building import Given
from gan_jax.games.cycle import CycleGame
from gan_jax.games.fakes import Fakes
from gan_jax.games.game import Game
from gan_jax.games.laplacian import LaplacianGame
from gan_jax.games.likelihood import LikelihoodGame
from gan_jax.games.paired import PairedGame
from gan_jax.games.policy import PolicyGame
from gan_jax.games.progressive import ProgressiveGame
from gan_jax.games.stacked import StackedGame
from gan_jax.games.terms import TERMS
from gan_jax.games.vae import VAEGame
from gan_jax.settings import Group, parameters, walk

GAMES: dict[str, type[Game]] = {
    "adversarial": AdversarialGame,
    "anomaly": AnomalyGame,
    "cycle": CycleGame,
    "laplacian": LaplacianGame,
    "likelihood": LikelihoodGame,
    "paired": PairedGame,
    "policy": PolicyGame,
    "progressive": ProgressiveGame,
    "stacked": StackedGame,
    "vae": VAEGame,
}
"""Frozen dataclasses; their plain fields are settings."""

GROUPS = {
    "augment": Group(choices=AUGMENTATIONS),
    "terms": Group(choices=TERMS),
    "fakes": Group(Fakes),
}
"""Groups of a configuration that are for some games alone, beside penalties and degradations."""

# Games whose networks accept images of any size, or two images per example.
_OF_IMAGES = ("paired", "cycle")


def make_game(config: Any, spec: Spec, axis_name: str | None) -> Game:
    """Return the game that ``config.game.name`` names.

    Args:
      config: a configuration.
      spec: of the data, as they are after cropping.
      axis_name: the mapped axis of the train step, for synchronised batch statistics.

    Raises:
      ConfigError: an unknown name or option, or a value that cannot work.
    """
    name = config.game.name
    game = errors.lookup(GAMES, name, "game.name")
    if config.data.pairing != "none" and name not in _OF_IMAGES:
        raise errors.ConfigError(
            f"data.pairing = {config.data.pairing!r} makes examples of two images each; accepted "
            f"for game.name = {name!r}: 'none'"
        )
    if config.data.crop is not None and name not in _OF_IMAGES:
        raise errors.ConfigError(
            f"data.crop = {config.data.crop}; accepted for game.name = {name!r}, which is measured "
            "against whole images: unset"
        )
    _refuse_unused(config, game)
    return game.from_config(config, Given(spec, axis_name))


def _refuse_unused(config: Any, game: Any) -> None:
    """Raise a `ConfigError` if a configuration sets what its game does not use."""
    name = config.game.name
    for group in ("penalty", "degrade"):
        if group not in game.uses and config[group].name != "none":
            raise errors.ConfigError(
                f"{group}.name = {config[group].name!r}; accepted for game.name = {name!r}: 'none'"
            )
    for group in set(GROUPS) - game.uses:
        for field in walk(GROUPS[group], config[group], f"{group}."):
            value = tuple(field.value) if isinstance(field.value, list) else field.value
            if value != field.default:
                raise errors.ConfigError(
                    f"{field.path} = {value}; accepted for game.name = {name!r}: {field.default}"
                )
    clip = config.game.clip
    if clip is not None and "clip" not in parameters(game):
        raise errors.ConfigError(f"game.clip = {clip}; accepted for game.name = {name!r}: none")
