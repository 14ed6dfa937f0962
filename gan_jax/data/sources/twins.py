"""Aligned pairs of images: the files of the same names in two folders.

The second images may be larger than the first by a whole factor, for super-resolution.
"""

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from gan_jax.data.sources import survey
from gan_jax.data.sources.base import Example, Source, content_hash, identity, stack
from gan_jax.data.sources.files import MAX_SKIPS, FileSource
from gan_jax.data.sources.folder import HEADERS, FolderSource
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.tiles import TiledSource
from gan_jax.errors import ConfigError, DataError, require


class TwoImages(Source):
    """Two sources of images, ``a`` and ``b``; their labels are dropped.

    Images of ``b`` are ``scale`` times as large as those of ``a``.
    """

    def __init__(self, a: Source, b: Source, split: str, scale: int = 1):
        height, width, channels = a.shape
        if (scale * height, scale * width, channels) != b.shape:
            raise DataError(
                f"{a.name} has images of shape {a.shape}, {b.name} of {b.shape}; accepted: the "
                "same (data.resolution and data.channels bring them to one; of twins, "
                "data.scale = None keeps a factor)"
            )
        fields = {"a": a.field, "b": b.field}
        unused, notes = (*a.unused, *b.unused), list(dict.fromkeys((*a.notes, *b.notes)))
        if scale > 1:
            notes.append(f"the second {scale} times as large as the first")
        super().__init__(f"{a.name}+{b.name}", split, fields, unused, notes)
        self.a, self.b, self.levels = a, b, a.levels

    @property
    @override
    def own_size(self) -> tuple[int, int]:
        return self.a.own_size

    @override
    def fingerprint(self) -> str:
        content = content_hash([self.a.fingerprint(), self.b.fingerprint()])
        return identity("pairs", self, content)


class TwinSource(TwoImages):
    """Aligned pairs: example ``i`` is image ``i`` of either source.

    A pair of which an image cannot be decoded is replaced as a whole.

    Raises:
      DataError: their images differ in shape otherwise than by ``scale``.
    """

    decodes = True

    @property
    @override
    def own_size(self) -> tuple[int, int]:
        return self.b.own_size if self.a.shape != self.b.shape else self.a.own_size

    @override
    def __len__(self) -> int:
        return len(self.a)

    @override
    def __getitem__(self, index: int) -> Example:
        index = range(len(self))[index]
        for step in range(min(MAX_SKIPS, len(self))):
            candidate = (index + step) % len(self)
            if candidate in self.failures:
                continue
            pair = {"a": self.a[candidate]["image"], "b": self.b[candidate]["image"]}
            failed = [s.failures[candidate] for s in (self.a, self.b) if candidate in s.failures]
            if not failed:
                return pair
            self.failures[candidate] = failed[0]
        raise DataError(f"many pairs in a row fail; the first: {self.failures[index]}")

    @override
    def read(self, indices: Sequence[int]) -> Example:
        return stack(self[int(i)] for i in indices)

    @override
    def item_name(self, index: int) -> str:
        return f"{self.a.item_name(index)} and {self.b.item_name(index)}"

    @override
    def decoded_key(self) -> str:
        return content_hash([self.a.decoded_key(), self.b.decoded_key()])


def partners(a: FileSource, b: FileSource, what: str) -> list[int]:
    """Return, for each file of ``a``, the index of the file of ``b`` that has its name.

    Suffixes are ignored; sub-folders are part of a name.

    Args:
      a: the first files.
      b: the second files.
      what: needs pairs, for the message.

    Raises:
      DataError: a file has no partner, or two.
    """
    first, second = a.stems(), b.stems()
    for source, stems in ((a, first), (b, second)):
        if double := [stem for stem, count in collections.Counter(stems).items() if count > 1]:
            raise DataError(
                f"{source.name} has several files of the name {double[0]} that differ in their "
                f"suffix; accepted for {what}: one"
            )
    if alone := sorted(set(first) ^ set(second)):
        has, lacks = (a, b) if alone[0] in first else (b, a)
        raise DataError(
            f"{alone[0]} is in {has.name}, and has no partner in {lacks.name} ({len(alone)} such "
            f"in all); accepted for {what}: two folders of files with the same names"
        )
    number = {stem: i for i, stem in enumerate(second)}
    return [number[stem] for stem in first]


def sides(
    paths: Sequence[Path], config: Any, *transforms: Transform
) -> tuple[FolderSource, FolderSource]:
    """Return the images of two folders by a transform each, in colour if one alone is grey."""

    def opened(channels: int | None) -> tuple[FolderSource, FolderSource]:
        a, b = (
            FolderSource(
                path, "all", dataclasses.replace(transform, channels=channels), config.on_error
            )
            for path, transform in zip(paths, transforms, strict=True)
        )
        return a, b

    a, b = opened(transforms[0].channels)
    return (a, b) if a.shape[2] == b.shape[2] else opened(max(a.shape[2], b.shape[2]))


def _matched(
    paths: Sequence[Path], config: Any, *transforms: Transform
) -> tuple[FolderSource, FolderSource]:
    """Return the images of two folders as `sides`, the second in the order of its partners."""
    a, b = sides(paths, config, *transforms)
    return a, b.in_order(partners(a, b, "data.pairing = 'twins'"))


def twins(paths: Sequence[Path], config: Any, transform: Transform) -> TwinSource:
    """Return the pairs of two folders, whose sizes may differ where ``data.scale`` is unset."""
    wanted, tiled, size = config.scale, transform.resize == "tile", transform.resolution
    require(wanted is None or wanted >= 1, "data.scale", wanted, "1 or more, or None")
    if wanted == 1 and not tiled:
        a, b = _matched(paths, config, transform, transform)
        _check_shapes(a, b, transform.resize)
        return TwinSource(a, b, config.split)
    whole = dataclasses.replace(transform, resolution=None, resize="resize")
    a, b = _matched(paths, config, whole, whole)
    scale, readable = _scale_of(a, b)
    accepted = f"{scale}, the size of the images of {b.name} over those of {a.name}"
    require(wanted in (None, scale), "data.scale", wanted, accepted)
    if size is None:
        require(not tiled, "data.resolution", size, "the size of a tile")
        return TwinSource(a, b, config.split, scale)
    accepted = f"a multiple of {scale}, the factor of the pairs"
    require(not any(x % scale for x in transform.size or ()), "data.resolution", size, accepted)
    if not tiled:
        height, width = transform.size or (0, 0)
        smaller = dataclasses.replace(transform, resolution=(height // scale, width // scale))
        return TwinSource(*_matched(paths, config, smaller, transform), config.split, scale)
    if not isinstance(size, int):
        raise ConfigError(f"data.resolution = {size}; accepted: one number, the size of a tile")
    first = TiledSource(a.in_order(readable), size // scale)
    second = TiledSource(b.in_order(readable), size, scale)
    return TwinSource(first, second, config.split, scale)


def _check_shapes(a: FolderSource, b: FolderSource, resize: str) -> None:
    """Check that the same parts of the two images of pairs are left, by a sample of the headers.

    Raises:
      DataError: the ratios of the sides of a pair differ by more than a pixel, or its sizes where
        nothing is scaled.
    """
    if resize == "squeeze":
        return
    for i in survey.spread(len(a), HEADERS):
        one, other = a.header(i), b.header(i)
        if one is None or other is None:  # It is reported when it is read.
            continue
        sides = one.height, one.width, other.height, other.width
        differs = abs(one.height * other.width - other.height * one.width) > max(sides)
        if differs or (resize in ("crop", "pad") and sides[:2] != sides[2:]):
            accepted = "one size" if resize in ("crop", "pad") else "one ratio of the sides"
            raise DataError(
                f"{a.item_name(i)} is {one.height}x{one.width}, {b.item_name(i)} "
                f"{other.height}x{other.width}; accepted for twins with data.resize = {resize!r}: "
                f"{accepted} (data.resize = 'squeeze' scales each as a whole)"
            )


def _scale_of(a: FolderSource, b: FolderSource) -> tuple[int, list[int]]:
    """Return the size of the images of ``b`` over their partners', and the readable pairs.

    Raises:
      DataError: it is not a whole number, or not the same for all pairs.
    """
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        headers = [list(pool.map(side.header, range(len(side)))) for side in (a, b)]
    scale, readable = 0, []
    for i, (small, large) in enumerate(zip(*headers, strict=True)):
        if small is None or large is None:
            if a.on_error == "raise":
                name = (a if small is None else b).item_name(i)
                raise DataError(f'{name} is not an image (data.on_error = "skip" leaves it out)')
            continue
        factor = scale or max(1, large.height // small.height)
        if (large.height, large.width) != (factor * small.height, factor * small.width):
            expected = f"{factor} times as large" if scale else "a whole number of times as large"
            raise DataError(
                f"{a.item_name(i)} is {small.height}x{small.width}, {b.item_name(i)} "
                f"{large.height}x{large.width}; accepted for pairs of two sizes: the second "
                f"{expected} (data.a and data.b exchange them)"
            )
        scale = factor
        readable.append(i)
    if not readable:
        raise DataError(f"no pair of {a.name} and {b.name} can be decoded")
    return scale, readable
