"""A trained state applied to images, split over devices: translation, and whatever else games do.

What is drawn for an example (what a degradation spoils) depends on the seed and on the example's
number alone, so that a state is always measured on the same images.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from gan_jax import errors
from gan_jax.data import device, order
from gan_jax.data.sources import DomainSource, Source
from gan_jax.games import draws
from gan_jax.games.translation import TranslationGame
from gan_jax.training.parallel import device_mesh
from gan_jax.training.sampling import Sampling
from gan_jax.training.step import AXIS

Variables = dict[str, Any]
# (variables, images [batch, ...] in [-1, 1], keys [batch]) -> arrays [batch, ...].
PerExample = Callable[[Variables, jax.Array, jax.Array], list[jax.Array]]


class Mapped:
    """A function of single images, mapped over the devices of a run.

    Args:
      function: what to compute; a row of what it returns depends on that row of the images alone.
      seed: of the keys.
      batch_size: images at a time, rounded up to a multiple of the devices.
      devices: over which a batch is split; all processes call alike.

    Attributes:
      batch_size: as rounded.
    """

    def __init__(
        self,
        function: PerExample,
        *,
        seed: int,
        batch_size: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        devices = list(devices or jax.devices()[:1])
        self.batch_size = -(-batch_size // len(devices)) * len(devices)
        mesh = device_mesh(devices)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))
        self._seed = seed

        def share(variables: Variables, images: jax.Array, numbers: jax.Array) -> Any:
            key = draws.named(jax.random.key(numbers[0, 0]), "translate")
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers[:, 1])
            found = function(variables, device.to_float(images), keys)
            return lax.all_gather(found, AXIS, tiled=True)

        everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
        self._mapped = jax.jit(
            jax.shard_map(
                share,
                mesh=mesh,
                in_specs=(everywhere, split, split),
                out_specs=everywhere,
                check_vma=False,
            )
        )

    def place(self, variables: Variables) -> Variables:
        """Return variables on every device."""
        return jax.device_put(variables, self._replicated)

    def __call__(
        self, variables: Variables, images: np.ndarray, *, seed: int | None = None
    ) -> list[np.ndarray]:
        """Return what the function makes of images, on the host.

        Args:
          variables: as `place` gives them.
          images: uint8 ``[n, height, width, channels]``, the same in every process.
          seed: of the keys, in place of the one given before.
        """
        found: list[list[np.ndarray]] = []
        seed = self._seed if seed is None else seed
        for first in range(0, len(images), self.batch_size):
            chosen = images[first : first + self.batch_size]
            missing = self.batch_size - len(chosen)
            filled = np.concatenate([chosen, np.zeros((missing, *chosen.shape[1:]), chosen.dtype)])
            numbers = np.full((self.batch_size, 2), seed, np.uint32)
            numbers[:, 1] = first + np.arange(self.batch_size)
            with jax.transfer_guard("allow"):
                rows = jax.device_get(
                    self._mapped(variables, self._put(filled), self._put(numbers))
                )
            found.append([row[: len(chosen)] for row in rows])
        return [np.concatenate(rows) for rows in zip(*found, strict=True)]

    def _put(self, rows: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(rows.shape, self._split, rows.__getitem__)


@dataclasses.dataclass(frozen=True)
class Translated:
    """Images before and after.

    Attributes:
      inputs: uint8 ``[n, height, width, channels]``.
      outputs: uint8, likewise.
      targets: uint8, likewise; ``None``: nobody knows.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray | None


class Translator:
    """Translates data points in one direction.

    Args:
      game: what was trained.
      direction: one of the game's.
      seed: of what degradations draw.
      batch_size: data points at a time.
      devices: over which a batch is split.
    """

    def __init__(
        self,
        game: TranslationGame,
        direction: str,
        *,
        seed: int,
        batch_size: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        def function(variables: Variables, images: jax.Array, keys: jax.Array) -> Any:
            example = game.examples(images, keys, direction)
            made = game.translate(variables, example.inputs, direction, known=example.known)
            shown = [example.inputs, made, *([] if example.target is None else [example.target])]
            return [device.to_uint8(image) for image in shown]

        self.mapped = Mapped(function, seed=seed, batch_size=batch_size, devices=devices)

    def __call__(
        self, variables: Variables, images: np.ndarray, *, seed: int | None = None
    ) -> Translated:
        """Return data points translated; the arguments are those of `Mapped`."""
        inputs, outputs, *targets = self.mapped(variables, images, seed=seed)
        return Translated(inputs, outputs, targets[0] if targets else None)


def check_sampling(how: Sampling) -> None:
    """Raise a `ConfigError` unless images can be translated with this way of normalisation."""
    if how.batch_norm not in ("ema", "running"):
        raise errors.ConfigError(
            f"sample.batch_norm = {how.batch_norm!r}; accepted for games that translate images, "
            "each by itself: 'ema', 'running'"
        )


@dataclasses.dataclass(frozen=True)
class Points:
    """Some data points of a source.

    Attributes:
      images: uint8 ``[n, *shape]``.
      labels: int32 ``[n]``.
      sizes: how many of them are different: all, but of two domains those of A and those of B,
        of which the fewer begin anew after so many.
    """

    images: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, int]


def data_points(source: Source, count: int | None = None) -> Points:
    """Return a fixed random choice of data points, in the order of the source.

    Args:
      source: where they are from.
      count: how many, at most; of two domains, in each; ``None``: all.
    """
    if isinstance(source, DomainSource):
        chosen = [
            order.subset(len(side), min(count or len(side), len(side)))
            for side in (source.a, source.b)
        ]
        sizes = len(chosen[0]), len(chosen[1])
        first, second = (np.resize(rows, max(sizes)) for rows in chosen)
        numbers = first * len(source.b) + second
    else:
        numbers = order.subset(len(source), min(count or len(source), len(source)))
        sizes = len(numbers), len(numbers)
    read = source.read(numbers.tolist())
    return Points(read["image"], read["label"], sizes)


def fitting(images: np.ndarray, game: TranslationGame) -> np.ndarray:
    """Return the middle of data points, as large as a game can take; maybe nothing."""
    ways = game.directions.values()
    multiple = max(way.multiple * way.scale for way in ways)
    height, width = (side - side % multiple for side in images.shape[1:3])
    if any(way.exact for way in ways):
        height, width = min(height, multiple), min(width, multiple)
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def as_colour(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with so many channels, grey ones repeated."""
    return images if images.shape[-1] == channels else np.repeat(images, channels, axis=-1)


def bicubic(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return images enlarged by Pillow's bicubic interpolation, uint8 ``[n, height, width, c]``."""
    if images.shape[1:3] == (height, width):
        return images
    rows = []
    for image in images:
        grey = image.shape[-1] == 1
        picture = Image.fromarray(image[..., 0] if grey else image)
        pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        rows.append(pixels[..., None] if grey else pixels)
    return np.stack(rows)


def enlarged(images: np.ndarray, height: int) -> np.ndarray:
    """Return images at a height that is a multiple of theirs, every pixel repeated."""
    factor = height // images.shape[1]
    return images.repeat(factor, axis=1).repeat(factor, axis=2)
