"""Tiles of one size, cropped at full resolution from photographs of any size, which they cover.

The tiles of a photograph are spread evenly from edge to edge with the least overlap. They serve
restoration: scaling a photograph down would change its noise, blur and sharpness.
"""

import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from gan_jax.data.sources.base import Example, Source, content_hash, identity, stack
from gan_jax.data.sources.folder import FolderSource
from gan_jax.data.sources.images import EXIF_ORIENTATION, TURNED, Transform, opened, reason
from gan_jax.data.spec import image
from gan_jax.errors import ConfigError, DataError


def places(height: int, width: int, size: int, step: int = 1) -> list[tuple[int, int]]:
    """Return (top, left) of the tiles of an image; none if it is smaller than a tile.

    They are multiples of ``step``, which divides ``height``, ``width`` and ``size``: the places in
    an image that is so much smaller, enlarged.
    """

    def along(length: int) -> list[int]:
        count = -(-length // size)
        corners = np.round(np.linspace(0, (length - size) // step, count)).astype(int)
        return (step * corners).tolist()

    if min(height, width) < size:
        return []
    return list(itertools.product(along(height), along(width)))


class TiledSource(Source):
    """The tiles of the photographs of a folder or zip.

    Args:
      photos: the photographs, of any size.
      size: height and width of a tile.
      step: corners of tiles are multiples of it; see `places`.

    Raises:
      DataError: a photograph is smaller than a tile or cannot be decoded, unless
        ``photos.on_error`` is "skip"; one cannot be read; or there are no tiles.
    """

    decodes = True

    def __init__(self, photos: FolderSource, size: int, step: int = 1):
        spec = {**photos.spec, "image": image((size, size, photos.shape[2]))}
        super().__init__(photos.name, photos.split, spec, photos.unused, photos.notes)
        self.photos, self._size, self._step = photos, size, step
        self.levels = photos.levels
        numbers: list[tuple[int, int]] = []
        workers = min(16, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for photo, found in enumerate(pool.map(self._places, range(len(photos)))):
                numbers += [(photo, number) for number in range(len(found))]
        if not numbers:
            raise DataError(f"{photos.name} has no tiles; the first image: {photos.failures[0]}")
        self._numbers = numbers
        if failures := list(photos.failures.values()):
            self.unused += (f"{len(failures)} photographs, the first: {failures[0]}",)

    def _places(self, photo: int) -> list[tuple[int, int]]:
        """Return the corners of a photograph's tiles; only its header is decoded.

        A photograph without tiles is an error, or one of the failures.
        """
        name = self.photos.item_name(photo)
        try:
            with opened(self.photos.raw(photo)) as header:
                width, height = header.size
                if header.getexif().get(EXIF_ORIENTATION) in TURNED:
                    width, height = height, width
        except DataError:
            raise
        # Pillow raises exceptions of any type on damaged files.
        except Exception as error:
            failure = f"{name} {reason(error)}"
        else:
            if found := places(height, width, self._size, self._step):
                return found
            failure = (
                f"{name} is {height}x{width}, smaller than data.resolution = {self._size}, the "
                "size of its tiles"
            )
        if self.photos.on_error == "raise":
            raise DataError(f'{failure} (data.on_error = "skip" leaves it out)')
        self.photos.failures[photo] = failure
        return []

    @override
    def __len__(self) -> int:
        return len(self._numbers)

    @override
    def read(self, indices: Sequence[int]) -> Example:
        """Return several tiles, stacked; consecutive ones of one photograph decode it once."""
        rows = []
        numbers = map(int, indices)
        for photo, group in itertools.groupby(numbers, key=lambda i: self._numbers[i][0]):
            example = self.photos.whole(photo)
            pixels = example["image"]
            # Where another photograph replaces a damaged one, its own tiles are used.
            found = places(pixels.shape[0], pixels.shape[1], self._size, self._step)
            if not found:
                raise DataError(f"{self.photos.item_name(photo)} is smaller than its tiles")
            for index in group:
                if (reason := self.photos.failures.get(photo)) is not None:
                    self.failures.setdefault(index, reason)
                top, left = found[self._numbers[index][1] % len(found)]
                tile = pixels[top : top + self._size, left : left + self._size]
                rows.append({**example, "image": tile})
        return stack(rows)

    @override
    def item_name(self, index: int) -> str:
        photo, number = self._numbers[index]
        return f"{self.photos.item_name(photo)}[{number}]"

    def content(self, indices: Sequence[int]) -> str:
        """Return a hash of the photographs of some tiles; see `FolderSource.content`."""
        return self.photos.content(sorted({self._numbers[int(i)][0] for i in indices}))

    @override
    def fingerprint(self) -> str:
        content = content_hash([self.photos.fingerprint(), str(self._size)])
        return identity("tiles", self, content)

    @override
    def decoded_key(self) -> str:
        return content_hash([self.photos.decoded_key(), f"tiles {self._size} {self._step}"])


def tiles(
    path: str | None, split: str, transform: Transform, on_error: str, columns: Sequence[str]
) -> TiledSource:
    """Return the tiles of the photographs at ``data.path``.

    Raises:
      ConfigError: ``data.path`` or ``data.resolution`` is not set.
      DataError: the folder or zip cannot be used.
    """
    if not isinstance(transform.resolution, int):
        raise ConfigError(
            f"data.resolution = {transform.resolution} with data.resize = 'tile'; accepted: one "
            "number, the size of a tile"
        )
    # The photographs themselves keep their sizes.
    whole = dataclasses.replace(transform, resolution=None, resize="resize")
    return TiledSource(FolderSource(path, split, whole, on_error, columns), transform.resolution)
