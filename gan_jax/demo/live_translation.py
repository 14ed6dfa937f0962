"""Translations for a person who waits for them: weights and programs stay where they are."""

import functools
from typing import NamedTuple

import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.games.translation import as_translation, choose_direction
from gan_jax.inference import hole_masks, image_files
from gan_jax.runs.run import Run, Weights
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import make_sampling
from gan_jax.training.tiling import Apply

#: Pixels of an image, at most: a person would not wait for more.
MOST_PIXELS = 4_000_000
# Tiles at a time.
_BATCH = 4


class Translated(NamedTuple):
    """An image before and after: uint8 arrays ``[height, width, channels]``, and their alpha."""

    before: np.ndarray
    after: np.ndarray
    before_alpha: np.ndarray | None
    after_alpha: np.ndarray | None


class LiveTranslator:
    """Translates the images of files as ``experiments.translate`` does, one by one.

    One program is compiled for each direction and size of images, up to the size of a tile.

    Args:
      run: the trained run.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.

    Attributes:
      run: as given.
      game: what was trained.

    Raises:
      ConfigError: the run does not translate images.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """

    def __init__(self, run: Run, checkpoint: str = "latest", raw: bool = False) -> None:
        self.run, self.game = run, as_translation(run.game, "a demo of translations")
        self._shape = kinds.check_images({"target": specs.target(self.game.spec)}, "a demo")
        self._checkpoint, self._raw = checkpoint, raw
        self._network = functools.cache(self._make_network)

    @functools.cached_property
    def weights(self) -> Weights:
        """The variables of the checkpoint, which is read here."""
        how = make_sampling(self.run.config, raw=self._raw)
        return self.run.load(self._checkpoint, how)

    def warm(self) -> None:
        """Compile the first direction for images of the size of the data."""
        name = choose_direction(self.game, None)
        way = self.game.directions[name]
        height, width = (max(1, side // way.scale) for side in self._shape[:2])
        blank = np.zeros((height, width, way.inputs), np.uint8)
        self._apply(name, blank, np.ones((height, width, 1), np.float32) if way.masked else None)

    def __call__(self, content: bytes, direction: str | None = None) -> Translated:
        """Return an image before and after.

        Args:
          content: the bytes of an image file. If the run fills holes, they are where it is not
            opaque.
          direction: such as "AtoB"; ``None``: the run's first.

        Raises:
          ConfigError: there is no such direction.
          DataError: the file is no image, or too large, or has no holes to fill.
        """
        name = choose_direction(self.game, direction)
        way = self.game.directions[name]
        pixels, alpha = _read(content, way.inputs, self.run)
        if not way.masked:
            made = self._apply(name, pixels, None)
            if alpha is None:
                return Translated(pixels, made, None, None)
            height, width = made.shape[:2]
            enlarged = translating.bicubic(alpha[None, :, :, None], height, width)[0, :, :, 0]
            return Translated(pixels, made, alpha, enlarged)
        if alpha is None:
            raise errors.DataError("the image has no transparency that says where its holes are")
        known = alpha == 255
        try:
            hole_masks.check(~known)
        except errors.DataError as error:
            raise errors.DataError(f"the image {error}") from error
        made = self._apply(name, pixels, known[:, :, None].astype(np.float32))
        return Translated(pixels, made, np.where(known, 255, 0).astype(np.uint8), None)

    def _apply(self, name: str, pixels: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        way, network = self.game.directions[name], self._network(name)
        how = translating.tiling_of(way, translating.TILE, translating.OVERLAP)
        with self.run.precision():
            inputs = [tiling.Input(0, pixels, known)]
            ((_, made),) = tiling.run(inputs, network, how, batch_size=_BATCH)
        return made

    def _make_network(self, name: str) -> Apply:
        return translating.network(self.game, name, self.weights.variables)


def _read(content: bytes, channels: int, run: Run) -> image_files.Picture:
    """Return the image in a file; a `DataError` says why there is none."""
    if not content:
        raise errors.DataError("no file is chosen, or it is empty; accepted: an image")
    try:
        height, width = image_files.size(content)
        if height * width > MOST_PIXELS:
            raise errors.DataError(
                f"has {width}x{height} pixels; accepted: up to {MOST_PIXELS:,} in all"
            )
        return image_files.picture(content, channels, run.levels)
    except errors.DataError as error:
        raise errors.DataError(f"the file {error}") from error
