"""Sources of two images per example, A and B, for translation: aligned pairs, or two domains.

The two images of an example lie behind each other in the channels of one: ``[h, w, 2 c]``, A first.
So whatever is done to an example alike (cropped, mirrored, moved) is done alike to both.

``data.pairing`` says where A and B come from:

- ``side_by_side``: every image file is A to the left and B to the right, of equal size;
- ``twins``: two folders, whose files have the same names;
- ``domains``: two sets that have nothing to do with each other. Each is shuffled by itself; an
  example is any A with any B.

The folders of ``twins`` and ``domains`` are looked for below ``data.path``: for A of the split
"train", and ``data.a`` unset, they are ``trainA``, ``train/A``, ``A/train``, or ``A`` (that only
for the splits "train" and "all"), whichever is there. Other data have domains as splits (of TFDS:
``trainA`` and ``trainB``), or as classes (``data.a`` and ``data.b`` name one each).
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from gan_jax.data.sources.base import Example, Source, content_hash, identity
from gan_jax.data.sources.folder import FolderSource, find_folder
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.subset import class_number, only_classes
from gan_jax.errors import ConfigError, DataError

PAIRINGS = ("none", "side_by_side", "twins", "domains")


@dataclasses.dataclass(frozen=True)
class SideBySide(Transform):
    """Cuts an image into its left and right half, and brings both to one shape alike."""

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the shape (h, w, 2 c) that an image of this size gets."""
        height, width, channels = super().shape(height, width // 2, channels)
        return height, width, 2 * channels

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return both halves of the image, uint8 [h, w, 2 c].

        Raises:
          ConfigError: the width is odd, or ``resize`` is "pad" and the halves are too large.
        """
        width, height = image.size
        if width % 2:
            raise ConfigError(
                f"an image of {height}x{width} has no two halves side by side; accepted for "
                "data.pairing = 'side_by_side': an even width"
            )
        half = width // 2
        boxes = ((0, 0, half, height), (half, 0, width, height))
        return np.concatenate([super(SideBySide, self).__call__(image.crop(b)) for b in boxes], -1)


class _Two:
    """What twins and domains have in common: two sources of images of one shape.

    Args:
      a: of the first image.
      b: of the second.
      split: for records.

    Raises:
      DataError: they have images of different shapes.
    """

    def __init__(self, a: Source, b: Source, split: str):
        if a.shape != b.shape:
            raise DataError(
                f"{a.name} has images of shape {a.shape}, {b.name} of {b.shape}; accepted: the "
                "same (data.resolution and data.channels bring them to one)"
            )
        self.a, self.b, self.split = a, b, split
        self.name = f"{a.name}+{b.name}"
        height, width, channels = a.shape
        self.shape: tuple[int, ...] = (height, width, 2 * channels)
        self.num_classes: int | None = None
        self.class_names: tuple[str, ...] | None = None
        self.failures: dict[int, str] = {}

    def fingerprint(self) -> str:
        """Return the identity of the content, from those of both."""
        content = content_hash([self.a.fingerprint(), self.b.fingerprint()])
        return identity(self, self.split, content)

    def _numbers(self, index: int) -> tuple[int, int]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Example:
        """Return one example; see :class:`gan_jax.data.sources.base.Source`."""
        rows = self.read([range(len(self))[index]])
        return {"image": rows["image"][0], "label": rows["label"][0]}

    def read(self, indices: Sequence[int]) -> Example:
        """Return several examples, stacked; see :class:`gan_jax.data.sources.base.Source`."""
        numbers = [self._numbers(int(i)) for i in indices]
        images = [
            self.a.read([first for first, _ in numbers])["image"],
            self.b.read([second for _, second in numbers])["image"],
        ]
        image = np.concatenate(images, axis=-1)
        for index, (first, second) in zip(indices, numbers, strict=True):
            reason = self.a.failures.get(first) or self.b.failures.get(second)
            if reason is not None:
                self.failures.setdefault(int(index), reason)
        return {"image": image, "label": np.zeros(len(numbers), np.int32)}

    def item_name(self, index: int) -> str:
        """Return the names of both images."""
        first, second = self._numbers(index)
        return f"{self.a.item_name(first)} and {self.b.item_name(second)}"


class TwinSource(_Two):
    """Aligned pairs: example ``i`` is image ``i`` of either source.

    Raises:
      DataError: they have not as many images, of the same names.
    """

    def __init__(self, a: FolderSource, b: FolderSource, split: str):
        super().__init__(a, b, split)
        names = [{str(PurePosixPath(n).with_suffix("")) for n in s.names} for s in (a, b)]
        if alone := sorted(names[0] ^ names[1]):
            side = "A" if alone[0] in names[0] else "B"
            raise DataError(
                f"{alone[0]} is there for {side} only ({len(alone)} such in all); accepted for "
                "data.pairing = 'twins': two folders of files with the same names"
            )
        if len(a) != len(b) or len(a) != len(names[0]):
            raise DataError(f"{a.name} and {b.name} have files that differ in their suffix only")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.a)

    def _numbers(self, index: int) -> tuple[int, int]:
        return index, index


class DomainSource(_Two):
    """Two sets, each with an order of its own: example ``i * len(b) + j`` is A ``i`` with B ``j``.

    Nothing else in a run has to know that there are two: the order of the examples draws the pairs
    (`gan_jax.data.pipeline.Layout`).
    """

    def __len__(self) -> int:
        """Return the number of combinations."""
        return len(self.a) * len(self.b)

    def _numbers(self, index: int) -> tuple[int, int]:
        return divmod(index, len(self.b))


def paired(config: Any, transform: Transform, one: Callable[[Any, Transform], Source]) -> Source:
    """Return the source that ``config.pairing`` describes.

    Args:
      config: ``config.data``.
      transform: the wanted size.
      one: makes the source of a configuration whose pairing is "none".

    Raises:
      ConfigError: a field has a value that cannot work.
      DataError: the data are missing, damaged or do not fit each other.
    """
    if config.pairing == "side_by_side":
        _only_folders(config)
        halves = SideBySide(transform.resolution, transform.channels, transform.resize)
        return FolderSource(_path(config), config.split, halves, config.on_error)
    names = {"a": config.a or "A", "b": config.b or "B"}
    if config.pairing == "twins" or config.name == "folder":
        _only_folders(config)
        sides = [
            FolderSource(
                find_folder(_path(config), config.split, name, f"data.{side}"),
                "all",
                transform,
                config.on_error,
            )
            for side, name in names.items()
        ]
        sides = _same_channels(sides, config, transform)
        kind = TwinSource if config.pairing == "twins" else DomainSource
        return kind(sides[0], sides[1], config.split)
    if config.a is None or config.b is None:
        first, second = (
            one(_with(config, split=f"{config.split}{name}"), transform) for name in names.values()
        )
        return DomainSource(first, second, config.split)
    whole = one(config, transform)
    domains = [
        only_classes(whole, [class_number(whole, name, f"data.{side}")], f"{config.split}-{name}")
        for side, name in names.items()
    ]
    return DomainSource(domains[0], domains[1], config.split)


def _same_channels(
    sides: list[FolderSource], config: Any, transform: Transform
) -> list[FolderSource]:
    """Return the sources anew, in colour, where one alone is grey."""
    channels = [side.shape[2] for side in sides]
    if channels[0] == channels[1]:
        return sides
    transform = dataclasses.replace(transform, channels=max(channels))
    return [FolderSource(side.path, "all", transform, config.on_error) for side in sides]


def _path(config: Any) -> str:
    if not config.path:
        raise ConfigError(
            f"data.path is not set; accepted for data.pairing = {config.pairing!r}: a folder or "
            ".zip of images"
        )
    return config.path


def _only_folders(config: Any) -> None:
    if config.name != "folder":
        raise ConfigError(
            f"data.name = {config.name!r}; accepted for data.pairing = {config.pairing!r}: 'folder'"
        )


def _with(config: Any, **changes: Any) -> Any:
    """Return a copy of a group of fields with some changed."""
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        changed.update(pairing="none", **changes)
    return changed
