"""A trained state applied to images: of a data set, sharded over devices, or of any size."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from gan_jax import errors
from gan_jax.data import device, kinds, order
from gan_jax.data import spec as specs
from gan_jax.data.sources import Source, domains
from gan_jax.device_map import DeviceMap
from gan_jax.games import draws
from gan_jax.games.translation import Direction, TranslationGame
from gan_jax.training.sampling import Sampling, numbered_keys, seed_and_numbers
from gan_jax.training.tiling import Apply, Tiling

#: The default tile and overlap, in pixels of the input, and of sounds in samples.
TILE, OVERLAP = 512, 64
SOUND_TILE, SOUND_OVERLAP = 16_384, 4_096

Variables = dict[str, Any]
Batch = dict[str, np.ndarray]


def tiling_of(way: Direction, tile: int, overlap: int) -> Tiling:
    """Return how images are cut for a direction; networks of an exact size have their own tiles."""
    size, shared = (way.multiple, 0) if way.exact else (tile, overlap)
    return Tiling(way.multiple, way.scale, size, shared)


def sound_tiling_of(way: Direction, tile: int, overlap: int) -> Tiling:
    """Return how sounds are cut for a direction, in samples, also where its inputs are frames."""
    return Tiling(way.multiple * way.scale, 1, tile, overlap)


def network(
    game: TranslationGame, direction: str, variables: Variables, *, dropout: int | None = None
) -> Apply:
    """Return the network of a direction as `tiling.run` applies it: from uint8 or float32 to uint8.

    Args:
      game: what was trained.
      direction: one of the game's.
      variables: by network.
      dropout: seed of the dropout that is a network's noise; ``None``: no dropout.
    """
    # The network has seen no other value in holes.
    fill = float(getattr(game.degradation, "fill", 0.0))

    def tile_key(numbers: jax.Array) -> jax.Array:
        """Return the key of one tile, from the number of its image, its row and its column."""
        key = draws.named(jax.random.key(jnp.uint32(dropout)), "dropout")
        for i in range(3):
            key = jax.random.fold_in(key, numbers[i])
        return key

    @jax.jit
    def compute(
        variables: Variables, pixels: jax.Array, known: jax.Array | None, numbers: jax.Array
    ) -> jax.Array:
        inputs = device.to_float(pixels)
        if known is not None:
            inputs = jnp.where(known > 0.5, inputs, jnp.float32(fill))
        keys = None if dropout is None else jax.vmap(tile_key)(numbers)
        return device.to_uint8(game.translate(variables, inputs, direction, known=known, keys=keys))

    placed = jax.device_put(variables, jax.devices()[0])
    return lambda pixels, known, numbers: compute(placed, pixels, known, numbers)


def sound_network(game: TranslationGame, variables: Variables) -> Callable[[np.ndarray], jax.Array]:
    """Return the network of a game of sounds as `tiling.run_sound` applies it: float32 to float32.

    Args:
      game: what was trained; if its inputs are spectrograms, they are computed of sounds.
      variables: by network.
    """
    how = game.degradation

    def translate(variables: Variables, sounds: jax.Array) -> jax.Array:
        if how is not None and how.analysis:
            sounds = how(jax.random.split(jax.random.key(0), len(sounds)), sounds).input
        return game.translate(variables, sounds)

    placed = jax.device_put(variables, jax.devices()[0])
    return functools.partial(jax.jit(translate), placed)


def video_network(game: TranslationGame, variables: Variables) -> Callable[[np.ndarray], jax.Array]:
    """Return what predicts the next frames of a video from as many as the game is given.

    Args:
      game: what was trained, whose degradation leaves the first frames (`Degradation.given`).
      variables: by network.

    Returns:
      A function of uint8 ``[given, height, width, channels]`` that returns the next frames.
    """
    how = game.degradation
    assert how is not None
    unknown = specs.target(game.spec).shape[0] - how.given

    def predict(variables: Variables, given: jax.Array) -> jax.Array:
        # What stands for the unknown frames is replaced.
        video = jnp.pad(device.to_float(given), ((0, unknown), (0, 0), (0, 0), (0, 0)))[None]
        frozen = how(jax.random.split(jax.random.key(0), 1), video)
        made = game.translate(variables, frozen.input, known=frozen.known)
        return device.to_uint8(how.measured(made)[0])

    placed = jax.device_put(variables, jax.devices()[0])
    return functools.partial(jax.jit(predict), placed)


class Translated(NamedTuple):
    """Examples before and after as they are stored: images, ...; maybe without targets."""

    inputs: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray | None = None


class Translator:
    """Translates data points in one direction.

    What is drawn for an example (what a degradation spoils) depends on the seed and on the
    example's number alone, so that a state is always measured on the same images.

    Args:
      game: what was trained.
      direction: one of the game's.
      batch_size: data points at a time.
      devices: over which a batch is sharded; all processes call alike.

    Attributes:
      place: puts variables on every device.
    """

    def __init__(
        self,
        game: TranslationGame,
        direction: str,
        *,
        batch_size: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        kind = kinds.of(specs.target(game.spec))

        def translate(variables: Variables, batch: dict[str, jax.Array], numbers: jax.Array) -> Any:
            keys = numbered_keys(numbers, "translate")
            example = game.examples(kinds.to_network(game.spec, batch), keys, direction)
            made = game.translate(variables, example.inputs, direction, known=example.known)
            how = game.degradation
            inputs = example.inputs if how is None else how.shown(example.inputs)
            shown = [inputs, made, *([] if example.target is None else [example.target])]
            return [kind.to_stored(x) for x in shown]

        self._mapped = DeviceMap(translate, batch_size=batch_size, devices=devices)
        self.place = self._mapped.place

    def __call__(self, variables: Variables, batch: Batch, *, seed: int) -> Translated:
        """Return examples translated.

        Args:
          variables: as `place` returns them.
          batch: stored arrays ``[n, ...]`` by field, the same in every process.
          seed: of what degradations draw.
        """
        count = len(next(iter(batch.values())))
        return Translated(*self._mapped.on_host(variables, batch, seed_and_numbers(seed, 0, count)))


def check_sampling(how: Sampling) -> None:
    """Raise a `ConfigError` unless images can be translated with this way of normalisation."""
    if how.batch_norm not in ("ema", "running"):
        raise errors.ConfigError(
            f"sample.batch_norm = {how.batch_norm!r}; accepted for games that translate images, "
            "each by itself: 'ema', 'running'"
        )
    accepted = "none, in games that translate images and have no latents"
    errors.require(how.truncation is None, "sample.truncation", how.truncation, accepted)


class Points(NamedTuple):
    """Some data points of a source.

    Attributes:
      batch: stored images, uint8 ``[n, height, width, channels]``, or sounds, by field.
      labels: int32 ``[n]``; ``None``: they have none.
      sizes: number of different images; of two domains, of A and of B, the fewer of which repeat.
    """

    batch: Batch
    labels: np.ndarray | None
    sizes: tuple[int, int]


def data_points(source: Source, count: int | None = None) -> Points:
    """Return a fixed random choice of data points, in the order of the source.

    At most ``count`` are chosen, from each of two domains; ``None``: all.
    """
    sides = domains(source)
    chosen = {
        name: order.subset(len(side), min(count or len(side), len(side)))
        for name, side in sides.items()
    }
    sizes = [len(rows) for rows in chosen.values()]
    read: Batch = {}
    for name, side in sides.items():
        arrays = side.read(np.resize(chosen[name], max(sizes)).tolist())
        read.update({name: specs.data(arrays, side.spec)} if name else arrays)
    labels = read.pop(specs.LABEL, None)
    return Points(read, labels, (sizes[0], sizes[-1]))


def fitting(batch: Batch, game: TranslationGame) -> Batch:
    """Return the middle of every example of a batch, as large as a game can take; maybe nothing.

    Videos are returned whole: networks of videos are made for those of the data.
    """
    if specs.target(game.spec).kind == "video":
        return batch
    ways = game.directions.values()
    multiple = max(way.multiple * way.scale for way in ways)

    smallest = min(images.shape[1] for images in batch.values())
    largest = max(images.shape[1] for images in batch.values())

    def middle(images: np.ndarray) -> np.ndarray:
        # Of pairs of two sizes, the same part of both.
        own = multiple * images.shape[1] // largest
        step, inner = images.shape[1] // smallest, []
        for side in images.shape[1:-1]:
            kept = side - side % own
            if any(way.exact for way in ways):
                kept = min(kept, own)
            first = step * ((side - kept) // step // 2)
            inner.append(slice(first, first + kept))
        return images[:, *inner]

    return {name: middle(images) for name, images in batch.items()}


def as_colour(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with ``channels`` channels, grey ones repeated."""
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
