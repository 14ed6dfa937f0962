"""Sources of two images per example, A and B, for translation: aligned pairs, or two domains.

The two images of an example are its fields ``a`` and ``b``.

``data.pairing`` says where A and B come from:

- ``side_by_side``: every image file is A to the left and B to the right, of equal size; with
  ``data.a = "B"`` (or "right") the right half is the first image;
- ``twins``: two folders, whose files have the same names without their suffix. With
  ``data.scale`` unset, the images of B may be larger than those of A by a whole factor;
- ``domains``: two unrelated sets. Each is shuffled by itself; an example is any A with any B.

The folders of ``twins`` and ``domains`` are below ``data.path``: for A of the split "train", and
``data.a`` unset, the first that exists of ``trainA``, ``train/A``, ``A/train``, and ``A`` (only for
the splits "train" and "all"). Other data have domains as splits (of TFDS: ``trainA`` and
``trainB``), or as classes (``data.a`` and ``data.b`` name one each).
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from gan_jax.data.sources.base import Example, Source
from gan_jax.data.sources.folder import FolderSource, find_folder
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.subset import Subset, class_number, only_classes
from gan_jax.data.sources.twins import TwoImages, sides, twins
from gan_jax.errors import ConfigError, lookup

# What is before the side in the name of a folder: trainA.
_SIDE = re.compile(r"^(train|test|val)", re.IGNORECASE)
PAIRINGS = ("none", "side_by_side", "twins", "domains")


@dataclasses.dataclass(frozen=True)
class SideBySide(Transform):
    """Cuts an image into its two halves, ``a`` and ``b``, both brought to one shape.

    Attributes:
      first: the half that is ``a``, "left" or "right".
    """

    first: str = "left"

    @override
    def fields(self, height: int, width: int, channels: int) -> dict[str, tuple[int, int, int]]:
        return dict.fromkeys("ab", self.shape(height, width // 2, channels))

    @override
    def check_file(self, height: int, width: int) -> None:
        if width % 2:
            raise ConfigError(
                f"an image of {height}x{width} has no two halves side by side; accepted for "
                "data.pairing = 'side_by_side': an even width"
            )
        self.check_size(height, width // 2)

    @override
    def cut(self, image: Image.Image) -> dict[str, np.ndarray]:
        """Return both halves of the image; its width must be even."""
        width, height = image.size
        self.check_file(height, width)
        half = width // 2
        halves = [image.crop((left, 0, left + half, height)) for left in (0, half)]
        first, second = halves if self.first == "left" else reversed(halves)
        return {"a": self(first), "b": self(second)}


class DomainSource(TwoImages):
    """Two unrelated sets; each has an order of its own.

    Example ``i`` is image ``i`` of either set, the smaller of which is repeated. Training draws an
    index for each domain (`gan_jax.data.order`).

    Raises:
      DataError: their images differ in shape.
    """

    @property
    def whole(self) -> Source | None:
        """The labelled source of which each domain is a class; ``None``: they are other data."""
        a, b = self.a, self.b
        if isinstance(a, Subset) and isinstance(b, Subset) and a.source is b.source:
            return a.source
        return None

    @override
    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    @override
    def read(self, indices: Sequence[int]) -> Example:
        chosen = np.asarray(indices)
        return {
            name: side.read((chosen % len(side)).tolist())["image"]
            for name, side in domains(self).items()
        }

    @override
    def item_name(self, index: int) -> str:
        first, second = (s.item_name(index % len(s)) for s in domains(self).values())
        return f"{first} and {second}"


def domains(source: Source) -> dict[str, Source]:
    """Return the sources that have an order of their own: ``a`` and ``b``, or one named ``""``."""
    return {"a": source.a, "b": source.b} if isinstance(source, DomainSource) else {"": source}


def paired(config: Any, transform: Transform, one: Callable[[Any, Transform], Source]) -> Source:
    """Return the source that ``config.pairing`` describes.

    Args:
      config: ``config.data``.
      transform: the wanted size.
      one: makes the source of a configuration whose pairing is "none".

    Raises:
      ConfigError: a field has a value that is not accepted.
      DataError: the data are missing, damaged or do not fit each other.
    """
    if config.pairing == "side_by_side":
        _only_folders(config)
        _refuse_tiles(config)
        halves = SideBySide(**dataclasses.asdict(transform), first=_first_half(config))
        source = FolderSource(config.path, config.split, halves, config.on_error)
        _refuse_two_folders(source)
        return source
    names = {"a": config.a or "A", "b": config.b or "B"}
    if names["a"] == names["b"]:
        raise ConfigError(
            f"data.a and data.b are both {names['a']!r}; accepted: two different names"
        )
    if config.pairing == "twins" or config.name == "folder":
        _only_folders(config)
        paths = [
            find_folder(config.path, config.split, name, f"data.{side}")
            for side, name in names.items()
        ]
        if config.pairing == "twins":
            return twins(paths, config, transform)
        _refuse_tiles(config)
        return DomainSource(*sides(paths, config, transform, transform), config.split)
    if config.a is None or config.b is None:
        first, second = (
            one(_with(config, split=f"{config.split}{name}"), transform) for name in names.values()
        )
        return DomainSource(first, second, config.split)
    whole = one(config, transform)
    first, second = (
        only_classes(whole, [class_number(whole, name, f"data.{side}")], f"{config.split}-{name}")
        for side, name in names.items()
    )
    return DomainSource(first, second, config.split)


def _first_half(config: Any) -> str:
    """Return the half of an image that is ``a``, "left" or "right", by ``data.a`` or ``data.b``."""
    known = {"a": "left", "left": "left", "b": "right", "right": "right"}
    found = [
        lookup(known, name.lower(), f"data.{side}")
        for side, name in (("a", config.a), ("b", config.b))
        if name is not None
    ]
    if len(found) == 2 and found[0] == found[1]:
        raise ConfigError(
            f"data.a = {config.a!r} and data.b = {config.b!r} are one half; accepted: two"
        )
    if config.a is None and found:
        return "left" if found[0] == "right" else "right"
    return found[0] if found else "left"


def _refuse_two_folders(source: FolderSource) -> None:
    """Raise a `ConfigError` if the folders of files of two halves are those of two sides."""
    names = source.class_names or ()
    if {_SIDE.sub("", name).lower() for name in names} == {"a", "b"}:
        raise ConfigError(
            f"data.pairing = 'side_by_side', and {source.name} has the folders {', '.join(names)}; "
            "accepted: 'twins', or 'domains'"
        )


def _refuse_tiles(config: Any) -> None:
    if config.resize == "tile":
        raise ConfigError(
            f"data.resize = 'tile' with data.pairing = {config.pairing!r} of a folder; accepted: "
            "'resize', 'crop', ..., or data.pairing = 'twins'"
        )


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
