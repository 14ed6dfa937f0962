"""Translation of arrays of images or sounds by an opened run."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.games.translation import TranslationGame, as_translation, choose_direction
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import Sampling

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

_USER = "Run.translate"


@dataclasses.dataclass(frozen=True)
class Arrays:
    """The arguments of `Run.translate`, which describes them; they are checked at once.

    Raises:
      ConfigError: an argument does not suit the run.
    """

    run: "Run"
    stored: np.ndarray
    direction: str | None
    known: np.ndarray | None
    dropout: int | None
    tile: int | None
    overlap: int | None
    batch_size: int

    def __post_init__(self) -> None:
        if kinds.is_sound(self._field):
            self._check_sounds()
        else:
            kinds.check_images({"target": self._field}, _USER)
            self._check_images()
        _ = self._tiling

    def translated(self, step: int | str | None, how: Sampling) -> np.ndarray:
        """Return the arrays translated by the weights of a checkpoint."""
        variables = self.run.load(step, how).variables
        with self.run.precision():
            if kinds.is_sound(self._field):
                return self._translated_sounds(variables)
            return self._translated_images(variables)

    def _translated_images(self, variables: translating.Variables) -> np.ndarray:
        masks = None if self.known is None else self.known[..., None].astype(np.float32)
        inputs = (
            tiling.Input(i, image, None if masks is None else masks[i])
            for i, image in enumerate(self.stored)
        )
        apply = translating.network(self._game, self._name, variables, dropout=self.dropout)
        made = dict(tiling.run(inputs, apply, self._tiling, batch_size=self.batch_size))
        return np.stack([made[i] for i in range(len(self.stored))])

    def _translated_sounds(self, variables: translating.Variables) -> np.ndarray:
        kind = kinds.of(self._field)
        assert isinstance(kind, kinds.Audio)
        apply = translating.sound_network(self._game, variables)
        made = [
            tiling.run_sound(sound, apply, self._tiling, batch_size=self.batch_size)
            for sound in np.asarray(kind.sound(jnp.asarray(self.stored)))
        ]
        return np.asarray(kind.stored(jnp.asarray(np.stack(made))))

    def _check_images(self) -> None:
        images, known, way = self.stored, self.known, self._game.directions[self._name]
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != way.inputs:
            raise errors.ConfigError(
                f"images are {images.dtype} {list(images.shape)}; accepted: uint8 "
                f"[n, height, width, {way.inputs}]"
            )
        if way.masked != (known is not None):
            accepted = "bool [n, height, width]" if way.masked else "None"
            raise errors.ConfigError(f"known does not suit {self._name}; accepted: {accepted}")
        if known is not None and known.shape != images.shape[:3]:
            raise errors.ConfigError(
                f"known has shape {list(known.shape)}; accepted: {list(images.shape[:3])}"
            )

    def _check_sounds(self) -> None:
        sounds, channels, dtype = self.stored, self._field.shape[-1], self._field.dtype
        for name in ("known", "dropout"):
            if (value := getattr(self, name)) is not None:
                raise errors.ConfigError(f"{name} = {value}; accepted for sounds: None")
        if sounds.ndim != 3 or sounds.dtype != dtype or sounds.shape[2] != channels:
            raise errors.ConfigError(
                f"sounds are {sounds.dtype} {list(sounds.shape)}; accepted: {dtype} "
                f"[n, samples, {channels}]"
            )

    @property
    def _game(self) -> TranslationGame:
        return as_translation(self.run.game, _USER)

    @functools.cached_property
    def _name(self) -> str:
        return choose_direction(self._game, self.direction)

    @property
    def _field(self) -> specs.Field:
        return specs.target(self._game.spec)

    @functools.cached_property
    def _tiling(self) -> tiling.Tiling:
        tile, overlap, make = translating.TILE, translating.OVERLAP, translating.tiling_of
        if kinds.is_sound(self._field):
            tile, overlap = translating.SOUND_TILE, translating.SOUND_OVERLAP
            make = translating.sound_tiling_of
        return make(
            self._game.directions[self._name],
            tile if self.tile is None else self.tile,
            overlap if self.overlap is None else self.overlap,
        )
