"""What `gan_jax.inference.translate_run` is asked to translate, and by which run.

Errors in the arguments are raised before a checkpoint is read.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gan_jax import errors, installation
from gan_jax.data import device
from gan_jax.data.degrade import Degradation
from gan_jax.games import draws
from gan_jax.games.translation import Direction, TranslationGame, as_translation, choose_direction
from gan_jax.inference import hole_masks, image_files, scores
from gan_jax.inference.image_files import ImageFile
from gan_jax.report import atomic
from gan_jax.runs.run import Run
from gan_jax.runs.run_directory import choose_step
from gan_jax.training import tiling, translating

_HOLE = 128


class Example(NamedTuple):
    """An input image: arrays of its height and width, those of ``alpha`` the output's."""

    pixels: np.ndarray  # For the network, uint8 or float32 [height, width, channels].
    known: np.ndarray | None  # float32 [height, width, 1]
    alpha: np.ndarray | None  # uint8 [height, width]
    shown: np.ndarray  # uint8, for pictures and scores.
    target: np.ndarray | None = None  # uint8, the clean image.


def wanted_degradation(run: Run, game: TranslationGame, degrade: bool) -> Degradation | None:
    """Return the degradation of a run if ``degrade``; raises `ConfigError` if it has none."""
    if degrade and game.degradation is None:
        raise errors.ConfigError(
            f"--degrade, but nothing degrades inputs in {run.config.variant!r}; accepted: runs "
            "with a degradation, such as denoise"
        )
    return game.degradation if degrade else None


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of a translation; they are checked at once, and no checkpoint is read.

    Attributes:
      run: the trained run.
      input: an image, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the folder of the outputs, which keep the names and sub-folders of the input.
      direction: such as "AtoB"; ``None``: the run's first.
      mask: for a run that fills holes: an image that is white in them, for all inputs, or a folder
        with one of the same name for each; ``None``: holes are where an input is not opaque. Other
        masks: see `gan_jax.inference.hole_masks`.
      invert_mask: the masks are white where there are no holes.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      dropout: keep the dropout that is a network's noise.
      seed: of the dropout, and of the degradation.
      degrade: the inputs are clean images: degrade them as in training, restore and measure them.
      border: rows and columns at each edge that are not measured; ``None``: the factor of a run
        that enlarges, else 0.
      tile: height and width of the tiles that larger images are split into.
      overlap: of neighbouring tiles, in pixels of the input.
      batch_size: images or tiles at a time.
      suffix: of the outputs, one of `image_files.FORMATS`.
      overwrite: replace existing files.
      grid: a ``.png`` of inputs beside outputs to write as well; ``None``: none.
    """

    run: Run
    input: str | Path
    out: str | Path
    direction: str | None = None
    mask: str | Path | None = None
    invert_mask: bool = False
    checkpoint: str = "latest"
    raw: bool = False
    dropout: bool = False
    seed: int = 0
    degrade: bool = False
    border: int | None = None
    tile: int = translating.TILE
    overlap: int = translating.OVERLAP
    batch_size: int = 8
    suffix: str = "png"
    overwrite: bool = False
    grid: str | Path | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise errors.ConfigError(f"--batch_size={self.batch_size}; accepted: 1 or more")
        _ = self.places
        self._check_pictures()
        choose_step(self.run.path, self.checkpoint)
        _ = self.tiling, self.degradation, self.measured_border, self.masks

    def _check_pictures(self) -> None:
        """Check that the grid and the scores can be written."""
        if self.degrade:
            atomic.check_free(Path(self.out) / scores.FILE, self.overwrite)
        if self.grid is None:
            return
        if Path(self.grid).suffix.lower() != ".png":
            raise errors.ConfigError(f"--grid={self.grid}; accepted: a .png")
        if Path(self.grid).resolve() in {place.resolve() for place in self.places}:
            raise errors.ConfigError(f"--grid={self.grid} is an output; accepted: another name")
        if Path(self.out).resolve() not in Path(self.grid).resolve().parents:
            image_files.check_outside(self.grid, "--grid", self.input, "--input")
        atomic.check_free(self.grid, self.overwrite)

    @functools.cached_property
    def listing(self) -> image_files.Listing:
        """What there is at the path of the inputs."""
        return image_files.listed(self.input, "--input", Path(self.out))

    @functools.cached_property
    def files(self) -> list[ImageFile]:
        """The inputs."""
        return self.listing.opened()

    @functools.cached_property
    def places(self) -> list[Path]:
        """The output of each input."""
        out = Path(self.out)
        return image_files.outputs(self.files, out, self.suffix, overwrite=self.overwrite)

    @functools.cached_property
    def game(self) -> TranslationGame:
        """The game of the run."""
        return as_translation(self.run.game, installation.command("translate"))

    @functools.cached_property
    def way(self) -> Direction:
        """What is known of the direction."""
        return self.game.directions[self.name]

    @functools.cached_property
    def name(self) -> str:
        """The name of the direction."""
        return choose_direction(self.game, self.direction)

    @functools.cached_property
    def tiling(self) -> tiling.Tiling:
        """How images are split into tiles."""
        return translating.tiling_of(self.way, self.tile, self.overlap)

    @functools.cached_property
    def degradation(self) -> Degradation | None:
        """The degradation of the inputs; ``None``: they are translated as they are."""
        return wanted_degradation(self.run, self.game, self.degrade)

    @functools.cached_property
    def measured_border(self) -> int:
        """The rows and columns at each edge that are not measured."""
        if self.border is None:
            return self.way.scale if self.way.scale > 1 else 0
        if self.border < 0 or not self.degrade:
            accepted = "0 or more" if self.degrade else "with --degrade only"
            raise errors.ConfigError(f"--border={self.border}; accepted: {accepted}")
        return self.border

    @functools.cached_property
    def masks(self) -> list[ImageFile] | None:
        """A mask per input; ``None``: they are in the inputs, or not needed."""
        needed = self.way.masked and not self.degrade
        if self.mask is not None:
            if not needed:
                why = "--degrade makes holes" if self.degrade else f"{self.name} fills no holes"
                raise errors.ConfigError(f"--mask={self.mask}, but {why}; accepted: no --mask")
            found = image_files.find(self.mask, "--mask", Path(self.out))
            if len(found) == 1:
                self._holes(found[0])
            return image_files.match(self.files, found)
        if self.invert_mask:
            raise errors.ConfigError("--invert_mask without --mask; accepted: both, or neither")
        if needed and not any(image_files.has_alpha(file) for file in self.files):
            raise errors.ConfigError(
                f"{self.name} of {self.run.config.variant!r} fills holes, and no input has any; "
                "accepted: --mask, an image or a folder of them, white in holes, or inputs with "
                "transparency"
            )
        return None

    def _holes(self, mask: ImageFile) -> np.ndarray:
        """Return where a mask has holes; a `DataError` names it."""
        try:
            return hole_masks.read(mask, inverted=self.invert_mask)
        except errors.DataError as error:
            raise errors.DataError(
                f"the mask {mask.full_name} {error}; accepted: white, coloured or transparent in "
                "holes, and neither elsewhere"
            ) from error

    def read(self, number: int) -> Example:
        """Return the image in a file; the message of a `DataError` has the reason alone."""
        way, file = self.way, self.files[number]
        channels = way.inputs if self.degradation is None else way.outputs
        pixels, alpha = image_files.read(file, channels, self.run.levels)
        if self.degradation is not None:
            return self._clean(pixels, alpha)
        if way.masked:
            known = self._known(number, pixels, alpha)
            shown = np.where(known > 0.5, pixels, np.uint8(_HOLE))
            return Example(pixels, known, None, shown)
        if alpha is not None:
            height, width = (way.scale * side for side in alpha.shape)
            alpha = translating.bicubic(alpha[None, :, :, None], height, width)[0, :, :, 0]
        return Example(pixels, None, alpha, pixels)

    def _clean(self, pixels: np.ndarray, alpha: np.ndarray | None) -> Example:
        """Return a clean image, cropped to a multiple of the factor."""
        scale = self.way.scale
        height, width = (side // scale * scale for side in pixels.shape[:2])
        if not height or not width:
            raise errors.DataError(f"has fewer pixels on a side than the factor, {scale}")
        pixels = np.ascontiguousarray(pixels[:height, :width])
        kept = None if alpha is None or self.way.masked else alpha[:height, :width]
        return Example(pixels, None, kept, pixels, pixels)

    def _known(self, number: int, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        known = np.ones(pixels.shape[:2], bool) if alpha is None else alpha == 255
        if self.masks is not None:
            holes = self._holes(self.masks[number])
            if holes.shape != known.shape:
                sizes = [f"{x.shape[0]}x{x.shape[1]}" for x in (known, holes)]
                mask = self.masks[number].full_name
                raise errors.DataError(f"has {sizes[0]} pixels, its mask {mask} {sizes[1]}")
            known &= ~holes
        elif alpha is None:
            raise errors.DataError("has no transparency that says where its holes are")
        hole_masks.check(~known)
        return known[:, :, None].astype(np.float32)

    def degraded(self, number: int, example: Example) -> Example:
        """Return an example, degraded if that is asked for."""
        if self.degradation is None:
            return example
        pixels, known = jax.device_get(self._degrade(np.uint32(number), example.pixels))
        shown = np.asarray(device.to_uint8(pixels))
        return example._replace(pixels=pixels, known=known, shown=shown)

    @functools.cached_property
    def _degrade(self) -> Callable[..., Any]:
        degradation, seed = self.degradation, np.uint32(self.seed)
        assert degradation is not None

        @jax.jit
        def degrade(number: jax.Array, clean: jax.Array) -> Any:
            key = draws.named(jax.random.key(seed), "degrade")
            keys = jax.random.fold_in(key, number)[None]
            found = degradation(keys, device.to_float(clean)[None])
            return found.input[0], None if found.known is None else found.known[0]

        return degrade

    def write(
        self, number: int, made: np.ndarray, alpha: np.ndarray | None, text: Mapping[str, str]
    ) -> None:
        """Write an output; a `DataError` is raised where the format cannot hold it."""
        content = image_files.encode(made, alpha, self.suffix, text)
        atomic.write_bytes(self.places[number], content)
