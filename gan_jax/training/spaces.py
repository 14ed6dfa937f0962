"""The spaces whose points a game makes data from: latents, and styles of generators with styles.

- ``z``: latents, as they are drawn.
- ``w``: styles, one for all layers (`gan_jax.networks.styles`).
- ``w+``: styles, one for each layer (Abdal 2019, "Image2StyleGAN", 1904.03189), which reaches more
  images than those that latents make.

Data of styles are made without noise.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gan_jax import errors
from gan_jax.games.game import GenerativeGame, Variables
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator
from gan_jax.networks.styles import AVERAGE, StyleGenerator

#: The names of the spaces.
SPACES = ("z", "w", "w+")


@dataclasses.dataclass(frozen=True)
class Latents:
    """The space ``z`` of a game's latents."""

    game: GenerativeGame
    name: str = "z"

    def points(
        self, variables: Mapping[str, Variables], z: jax.Array, condition: Condition = None
    ) -> jax.Array:
        """Return latents ``z``, float32 ``[batch, latent_dim]``, which are the points."""
        del variables, condition
        return z

    def sample(
        self,
        variables: Mapping[str, Variables],
        points: jax.Array,
        condition: Condition = None,
        *,
        truncation: float | jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Return the data of latents, float32 ``[batch, *shape]``."""
        return self.game.sample(variables, points, condition, truncation=truncation, train=train)


@dataclasses.dataclass(frozen=True)
class Styles:
    """The space ``w`` or ``w+`` of a game whose only generator has styles."""

    game: GenerativeGame
    network: str
    name: str = "w"

    @property
    def layers(self) -> int:
        """Number of layers that are given a style."""
        return self._module.layers

    @property
    def _module(self) -> StyleGenerator:
        module = self.game.networks[self.network].module
        assert isinstance(module, StyleGenerator)
        return module

    def points(
        self, variables: Mapping[str, Variables], z: jax.Array, condition: Condition = None
    ) -> jax.Array:
        """Return the styles that latents ``z`` are mapped to.

        Returns:
          float32 ``[batch, 1, style_dim]``, of ``w+`` ``[batch, layers, style_dim]``.
        """
        own = variables[self.network]
        found = self._module.apply(own, z, condition, train=False, method="styles")
        assert isinstance(found, jax.Array)
        return found if self.name == "w+" else found[:, :1]

    def sample(
        self,
        variables: Mapping[str, Variables],
        points: jax.Array,
        condition: Condition = None,
        *,
        truncation: float | jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Return the data of styles ``[batch, 1 or layers, style_dim]``."""
        del train  # The networks with styles have no batch statistics.
        own, module = variables[self.network], self._module

        def generate(name: str, styles: jax.Array, condition: Condition) -> jax.Array:
            del name, condition
            if truncation is not None:
                mean = own[AVERAGE]["mean"]
                styles = mean + truncation * (styles - mean)
            shape = (len(styles), module.layers, module.style_dim)
            data = module.apply(own, jnp.broadcast_to(styles, shape), method="synthesize")
            assert isinstance(data, jax.Array)
            return data

        return self.game.compose(generate, points, condition)


Space = Latents | Styles


def make_space(game: GenerativeGame, name: str | None = None) -> Space:
    """Return a space by name; ``None``: ``w`` for a generator with styles, else ``z``.

    Raises:
      ConfigError: the name is unknown, or the generator has no styles.
    """
    errors.lookup(dict.fromkeys(SPACES), name or "z", "space")
    modules = {key: network.module for key, network in game.networks.items()}
    generators = {key: one for key, one in modules.items() if isinstance(one, Generator)}
    styled = [key for key, one in generators.items() if isinstance(one, StyleGenerator)]
    if len(generators) == len(styled) == 1 and name != "z":
        return Styles(game, styled[0], name or "w")
    if name in (None, "z"):
        return Latents(game)
    raise errors.ConfigError(
        f"space = {name!r}, but the generator has no styles; accepted: z, or a run whose "
        "generator.name is stylegan1 or stylegan2"
    )


def make_styles(game: GenerativeGame, what: str) -> Styles:
    """Return the space ``w+`` of a game.

    Raises:
      ConfigError: the generator has no styles, which ``what`` needs.
    """
    space = make_space(game)
    if not isinstance(space, Styles):
        raise errors.ConfigError(
            f"{what} needs styles, which the generator has not; accepted: a run whose "
            "generator.name is stylegan1 or stylegan2"
        )
    return dataclasses.replace(space, name="w+")
