"""Reconstructions by a trained autoencoder beside their originals, with PSNR and SSIM."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import device, kinds
from gan_jax.data import pipeline as pipelines
from gan_jax.data import spec as specs
from gan_jax.device_map import DeviceMap
from gan_jax.evaluation.real_images import held_out
from gan_jax.games.game import Game
from gan_jax.metrics import similarity
from gan_jax.report import grids
from gan_jax.report.bar import Advance

# Rows of the picture, at most, while there are few images; more stand beside each other.
_ROWS = 8


@runtime_checkable
class Autoencoder(Protocol):
    """A game that reconstructs."""

    def reconstruct(self, variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """Return reconstructions of float32 images ``[batch, *shape]`` in [-1, 1]."""
        ...


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """What was made of images.

    Attributes:
      original: uint8 ``[n, height, width, channels]``.
      image: the reconstructions, of the same shape.
      psnr: of these against the originals, in decibels, float32 ``[n]``.
      ssim: likewise, 1 for identical images; ``None`` where images are smaller than its window.
    """

    original: np.ndarray
    image: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray | None

    @property
    def words(self) -> str:
        """The mean PSNR and SSIM in one line."""
        ssim = "" if self.ssim is None else f", SSIM {self.ssim.mean():.3f}"
        return f"{len(self.image):,} reconstructions: mean PSNR {self.psnr.mean():.2f} dB{ssim}"

    def picture(self) -> np.ndarray:
        """Return a picture: each original, to its right its reconstruction, uint8 ``[H, W, c]``."""
        count = len(self.image)
        pairs = np.stack([self.original, self.image], axis=1)
        # Pairs in a row, as many as make the picture about square, once there are many.
        across = max(-(-count // _ROWS), round((count / 2) ** 0.5)) if count > _ROWS else 1
        return grids.grid(pairs.reshape(-1, *pairs.shape[2:]), columns=2 * across)


def check_game(game: Game) -> None:
    """Raise a `ConfigError` unless ``game`` reconstructs images."""
    if not isinstance(game, Autoencoder) or specs.data_field(game.spec).kind != "image":
        raise errors.ConfigError(
            "only a run of images with an encoder reconstructs; accepted: game.name = 'vae'"
        )


def reconstruct(
    game: Game,
    variables: Mapping[str, Any],
    images: np.ndarray,
    *,
    batch_size: int = 64,
    advance: Advance = lambda done: None,
) -> Reconstruction:
    """Return reconstructions of images, none of which depends on the others.

    Args:
      game: what was trained; see `check_game`.
      variables: by network, such as `gan_jax.runs.run.Run.variables` returns them.
      images: uint8 ``[n, *game.shape]``, such as `held_out_images` or
        `gan_jax.inference.projection.read_images` gives.
      batch_size: images at a time.
      advance: called with the number of images done.

    Raises:
      ConfigError: the game does not reconstruct, or the images have not the shape of its samples.
    """
    check_game(game)
    assert isinstance(game, Autoencoder)
    images, shape = np.asarray(images), specs.data_field(game.spec).shape
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise errors.ConfigError(
            f"images to reconstruct are {images.dtype}{list(images.shape)}; accepted: uint8 "
            f"[n, {', '.join(map(str, shape))}], one or more"
        )

    def compute(variables: Any, batch: jax.Array) -> jax.Array:
        return device.to_uint8(game.reconstruct(variables, device.to_float(batch)))

    mapped = DeviceMap(compute, batch_size=min(batch_size, len(images)))
    made = mapped.on_host(mapped.place(dict(variables)), images, advance=advance)
    ssim = None
    if min(images.shape[1:3]) >= len(similarity.WINDOWS["gaussian"].taps):
        ssim = np.asarray(similarity.ssim(made, images))
    return Reconstruction(images, made, np.asarray(similarity.psnr(made, images)), ssim)


def held_out_images(
    config: ConfigDict, num: int | None = None, **changes: str | None
) -> tuple[np.ndarray, str]:
    """Return images of the test split, or of the training's where none is held out.

    Args:
      config: of the run.
      num: how many at most, from the first on; ``None``: all.
      **changes: of ``config.data``, where the images are now: ``path``, ``data_dir``.

    Returns:
      uint8 ``[n, height, width, channels]``, and the name of the split they are from.

    Raises:
      DataError: the data set is missing or damaged.
      ConfigError: ``num`` is not above 0, or the data are no images.
    """
    if num is not None and num < 1:
        raise errors.ConfigError(f"{num} images to reconstruct; accepted: 1 or more")
    fields = ConfigDict(config.data.to_dict())
    fields.update({name: value for name, value in changes.items() if value is not None})
    source, split = held_out(fields)
    kinds.check_images(source.spec, "reconstruction")
    count = len(source) if num is None else min(num, len(source))
    return pipelines.load(source, indices=range(count))["image"], split
