"""Games that translate images, sounds or videos: what they have beside networks and players.

A game of this kind has no latents. It has *directions*, such as ``AtoB``; and, where its inputs are
made from their targets, a degradation. Where shapes are written as those of images, sounds have one
axis, of samples, in place of height and width, and videos an axis of frames before these.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.data import kinds
from gan_jax.data.degrade import Degradation
from gan_jax.errors import ConfigError, lookup
from gan_jax.games import frames
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
      networks: names of the networks that make the output, each applied to the last one's output.
    """

    inputs: int
    outputs: int
    multiple: int = 1
    exact: bool = False
    scale: int = 1
    masked: bool = False
    networks: tuple[str, ...] = ("generator",)


class Example(NamedTuple):
    """Images to translate, and their targets where these are known.

    Attributes:
      inputs: float32 ``[batch, height, width, channels]`` in [-1, 1].
      known: float32 ``[batch, height, width, 1]``, 1 where the input is the target's own and 0 in
        holes; ``None``: it has none.
      target: float32, as what `TranslationGame.translate` returns; ``None``: unknown.
    """

    inputs: jax.Array
    known: jax.Array | None
    target: jax.Array | None


class TranslationGame(Game):
    """A game whose networks translate images."""

    @property
    @abc.abstractmethod
    def directions(self) -> Mapping[str, Direction]:
        """The ways to translate, by name, such as ``AtoB``; the first is the default."""

    @property
    def degradation(self) -> Degradation | None:
        """What makes an input from its target; ``None``: the data have both."""
        return None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of every image of the data."""
        return kinds.check_images(self.spec, "translation")

    @abc.abstractmethod
    def examples(
        self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str = A_TO_B
    ) -> Example:
        """Return the inputs, and where they are known the targets, of a direction.

        Args:
          batch: data by field, float32 ``[batch, height, width, channels]`` in [-1, 1].
          keys: ``[batch]``, for what a degradation draws.
          direction: a key of ``directions``.
        """

    def translate(
        self,
        variables: Mapping[str, Variables],
        inputs: jax.Array,
        direction: str | None = None,
        *,
        known: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Return translated images; an output depends on its own input alone.

        Args:
          variables: by network.
          inputs: float32 ``[batch, height, width, inputs]`` in [-1, 1], of any height and width
            that are multiples of the direction's ``multiple``.
          direction: a key of ``directions``; ``None``: the first.
          known: as in `Example`; needed where the direction is masked. Known pixels are returned
            unchanged.
          keys: ``[batch]``, for dropout, where that is the network's noise; ``None``: no dropout.

        Returns:
          float32 ``[batch, scale * height, scale * width, outputs]`` in [-1, 1].
        """
        direction = choose_direction(self, direction)
        made = self.render(variables, with_mask(inputs, known), direction, keys)
        return paste(jnp.clip(made, -1.0, 1.0), inputs, known)

    def render(
        self,
        variables: Mapping[str, Variables],
        seen: jax.Array,
        direction: str,
        keys: jax.Array | None,
    ) -> jax.Array:
        """Return the output of a direction's networks for inputs, with masks if there are any."""
        made: Any = frames.as_image(seen)
        for name in self.directions[direction].networks:
            made = self.networks[name].module.apply(variables[name], made, keys=keys, train=False)
        return frames.as_video(jnp.asarray(made), seen)


def with_mask(inputs: jax.Array, known: jax.Array | None) -> jax.Array:
    """Return what a generator is given: inputs, and beside them where they are known."""
    return inputs if known is None else jnp.concatenate([inputs, known], axis=-1)


def paste(images: jax.Array, inputs: jax.Array, known: jax.Array | None) -> jax.Array:
    """Return images with the known pixels of their inputs, exactly.

    Args:
      images: float32 ``[batch, height, width, channels]``.
      inputs: of the same shape.
      known: float32 ``[batch, height, width, 1]``, 1 where ``inputs`` are to be taken; ``None``:
        nowhere.
    """
    return images if known is None else jnp.where(known > 0.5, inputs, images)


def as_translation(game: Any, what: str) -> TranslationGame:
    """Return ``game``; raises `ConfigError` if it does not translate, as ``what`` needs."""
    if not isinstance(game, TranslationGame):
        raise ConfigError(
            f"{what} is for runs that translate images or sounds, such as pix2pix, denoise or segan"
        )
    return game


def choose_direction(game: TranslationGame, name: str | None) -> str:
    """Return the direction of a name, ``None``: the first one; raises `ConfigError` if unknown."""
    if name is None:
        return next(iter(game.directions))
    lookup(game.directions, name, "direction")
    return name
