"""Games that make an image of an image: what they have beside networks and players.

A game of this kind has no latents. It has *directions*, such as ``AtoB``, each a way to translate;
and, where its inputs are made from their targets, a degradation.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax

from gan_jax.data.degrade import Degradation
from gan_jax.errors import ConfigError, lookup
from gan_jax.games.game import Game, Variables

A_TO_B, B_TO_A = "AtoB", "BtoA"


@dataclasses.dataclass(frozen=True)
class Direction:
    """A way to translate images.

    Attributes:
      inputs: channels of an input image; a mask is not counted.
      outputs: channels of an output image.
      multiple: height and width of an input must be multiples of this.
      exact: they must be just this.
      scale: size of the output over that of the input.
      masked: whether an input comes with a mask of what is known of it.
    """

    inputs: int
    outputs: int
    multiple: int = 1
    exact: bool = False
    scale: int = 1
    masked: bool = False


class Example(NamedTuple):
    """Images to translate, and what should come out where that is known.

    Attributes:
      inputs: float32 ``[batch, height, width, channels]`` in [-1, 1].
      known: float32 ``[batch, height, width, 1]``, 1 where the input is the target's own and 0 in
        holes; ``None``: it has none.
      target: float32, as what `TranslationGame.translate` returns; ``None``: unknown.
    """

    inputs: jax.Array
    known: jax.Array | None
    target: jax.Array | None


@runtime_checkable
class TranslationGame(Game, Protocol):
    """A game whose networks translate images."""

    @property
    def directions(self) -> Mapping[str, Direction]:
        """The ways to translate, by name; the first is the one meant where none is named."""
        ...

    @property
    def degradation(self) -> Degradation | None:
        """What makes an input from its target; ``None``: the data has both."""
        ...

    def examples(self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str) -> Example:
        """Return the inputs, and where they are known the targets, of a direction.

        Args:
          batch: data by field, float32 ``[batch, height, width, channels]`` in [-1, 1].
          keys: ``[batch]``, for what a degradation draws.
          direction: a key of ``directions``.
        """
        ...

    def translate(
        self,
        variables: Mapping[str, Variables],
        inputs: jax.Array,
        direction: str,
        *,
        known: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Return translated images; an output depends on its own input alone.

        Args:
          variables: by network.
          inputs: float32 ``[batch, height, width, inputs]`` in [-1, 1], of any height and width
            that are multiples of the direction's ``multiple``.
          direction: a key of ``directions``.
          known: as in `Example`; needed where the direction is masked. What is known comes out as
            it went in, exactly.
          keys: ``[batch]``, for dropout, where that is the network's noise; ``None``: no dropout.

        Returns:
          float32 ``[batch, scale * height, scale * width, outputs]`` in [-1, 1].
        """
        ...


def as_translation(game: Any, what: str) -> TranslationGame:
    """Return ``game``.

    Raises:
      ConfigError: it does not translate images; ``what`` says what that is needed for.
    """
    if not isinstance(game, TranslationGame):
        raise ConfigError(
            f"{what} is for runs that translate images, such as pix2pix, cyclegan or denoise"
        )
    return game


def choose_direction(game: TranslationGame, name: str | None) -> str:
    """Return the direction that is asked for, the game's first if none is.

    Raises:
      ConfigError: the game has no such direction.
    """
    if name is None:
        return next(iter(game.directions))
    lookup(game.directions, name, "direction")
    return name
