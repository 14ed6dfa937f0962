"""What a configuration leaves to the images that are found: their size and channels.

What is found is recorded in the run's configuration, so that other splits are prepared alike.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.data import spec as specs
from gan_jax.data.spec import Spec, pair_scale
from gan_jax.runs import build

#: The longest side of the size that is chosen, so that large photographs do not ask for networks
#: of their own size.
LONGEST = 256
# Networks halve images: of a size that some cannot make, a multiple of one of these is tried.
_MULTIPLES = tuple(2**k for k in range(10))
# No image has more pixels on a side.
_LARGEST = 2**31 - 1


def fitted(config: ConfigDict) -> tuple[ConfigDict, sources.Source]:
    """Return a configuration that is fitted to its data, and these.

    An unset ``data.resolution`` becomes the size, nearest to the images' own, that all networks
    admit: with ``data.resize`` "pad" not smaller than the images, with "crop" not larger. Images
    that are longer than `LONGEST` are brought to that, unless crops of them are trained on. Unset
    ``data.channels`` become those of the images, if these are in colour.

    Raises:
      ConfigError: the networks admit no size near that of the images, or something else of the
        configuration cannot work.
      DataError: the data cannot be read.
    """
    copy = ConfigDict(config.copy_and_resolve_references())
    # Two images of an example may differ in size until they are resized, or by their factor.
    factors = config.data.pairing == "twins" and config.data.scale is None
    if config.data.resolution is None and not factors and config.data.pairing != "none":
        # Nothing is read at this size; it is one that all images can be brought to.
        copy.data.resolution = _LARGEST if config.data.resize == "pad" else 1
    source = sources.make_source(copy.data)
    images = [field for field in source.spec.values() if field.kind == "image"]
    if not images:
        return config, source
    channels = images[0].shape[2]
    # Of a set that is grey as far as was looked at, an image in colour remains an error.
    if config.data.channels is None and channels != 1:
        copy.data.channels = channels
    if config.data.resolution is None:
        own = source.own_size
        wanted = own if config.data.crop is not None else _bounded(own, config.data.resize)
        copy.data.resolution = _nearest(copy, source, wanted)
        source = sources.resized(source, copy.data)
        if wanted != own:
            source.notes = (
                *source.notes,
                f"brought to {'x'.join(map(str, specs.target(source.spec).shape[:2]))} "
                f"(data.resolution unset: {LONGEST} at most)",
            )
    return copy.lock(), source


def _bounded(own: tuple[int, int], resize: str) -> tuple[int, int]:
    """Return the images' own size, or that of the same shape whose longer side is `LONGEST`.

    Raises:
      ConfigError: they are larger, and to be padded.
    """
    if max(own) <= LONGEST:
        return own
    if resize == "pad":
        raise errors.ConfigError(
            f"data.resolution is unset with data.resize = 'pad' and images of up to "
            f"{own[0]}x{own[1]}; accepted: a size for images of more than {LONGEST} pixels, or "
            "another data.resize"
        )
    height, width = (max(1, round(side * LONGEST / max(own))) for side in own)
    return height, width


def _nearest(
    config: ConfigDict, source: sources.Source, own: tuple[int, int]
) -> int | tuple[int, int]:
    """Return the size, nearest to ``own``, of which the game can be built."""
    refused = []
    sizes = sorted(_sizes(own, config.data.resize), key=lambda size: _distance(size, own))
    for size in sizes:
        try:
            build.make_game(config, _of_size(source.spec, size))
        except errors.ConfigError as error:
            refused.append(error)
        else:
            return size[0] if size[0] == size[1] else size
    raise refused[0]


def _sizes(own: tuple[int, int], resize: str) -> Iterator[tuple[int, int]]:
    """Yield the sizes to try: multiples near the wanted size, and squares."""
    for multiple in _MULTIPLES:
        below = [max(1, side // multiple) * multiple for side in own]
        above = [-(-side // multiple) * multiple for side in own]
        sides = list(zip(below, above, strict=True))
        squares = ((side, side) for pair in sides for side in pair)
        for size in {*itertools.product(*sides), *squares}:
            larger, smaller = (all(map(order, size, own)) for order in (int.__ge__, int.__le__))
            if (larger or resize != "pad") and (smaller or resize != "crop"):
                yield size


def _distance(size: tuple[int, int], own: tuple[int, int]) -> tuple[float, float]:
    """Return how far a size is from the wanted one, by the ratios of their sides."""
    ratios = [abs(math.log(a / b)) for a, b in zip(size, own, strict=True)]
    return (round(sum(ratios), 9), -size[0] * size[1])


def _of_size(spec: Spec, size: tuple[int, int]) -> Spec:
    def resized(name: str, field: Any) -> Any:
        scale = pair_scale(spec) if name == "a" else 1
        sides = (side // scale for side in size)
        return dataclasses.replace(field, shape=(*sides, *field.shape[2:]))

    return {name: resized(name, f) if f.kind == "image" else f for name, f in spec.items()}
