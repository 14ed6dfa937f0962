"""Folders of numbered images, each of which is one video.

The images are PNG or JPEG files of one name but for its last number, such as ``frame_2.png`` and
``frame_10.png``, and are ordered by that number, whether or not it is padded with zeros. They may
begin at any number. A folder whose PNG files are animations has videos, and is none.
"""

import collections
import dataclasses
import itertools
import os
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from gan_jax.data.sources.containers import Files, printable
from gan_jax.data.sources.images import opened
from gan_jax.data.sources.splits import split_of
from gan_jax.errors import DataError

JPEG = frozenset([".jpeg", ".jpg"])
STILLS = JPEG | {".png"}
# What is before the last number of a name, the number, and what is after it.
_NUMBERED = re.compile(r"(.*?)(\d{1,18})(\D*)")


class VideoError(ValueError):
    """What is wrong with a video, to follow its name."""


@dataclasses.dataclass(frozen=True)
class Frames:
    """The images of a video.

    Attributes:
      names: their paths, in the order of their numbers.
      numbers: of them.
      size: of all files, in bytes.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    size: int

    def chosen(self, places: Sequence[int]) -> tuple[str, ...]:
        """Return the images at some places, fewer if there are no more.

        Raises:
          VideoError: the numbers up to the last place have a gap: they increase by another
            difference than the smallest one in the folder.
        """
        used = self.numbers[: places[-1] + 1]
        step = min((b - a for a, b in itertools.pairwise(self.numbers)), default=1)
        for before, after in itertools.pairwise(used):
            if after - before != step:
                raise VideoError(
                    f"has a gap: frame {before} is followed by {after}; accepted: numbers that "
                    f"increase by {step}"
                )
        return tuple(self.names[place] for place in places if place < len(self.names))


def frames_in(
    files: Files, sizes: Mapping[str, int], inside: str, *, alone: bool = False
) -> tuple[dict[str, Frames], list[str]]:
    """Return the videos by the path of their folder, and the images that are not part of one.

    The latter are images without a number, JPEG files beside animations, and images beside at least
    as many video files.

    Args:
      files: a container.
      sizes: of the files in it that may be images or videos, by path.
      inside: the place that they are in.
      alone: whether ``inside`` itself may be a video.

    Raises:
      DataError: a folder has images of several names or twice the same number, or is a split, or
        ``inside`` itself unless ``alone``.
    """
    folders: dict[str, list[str]] = {}
    videos: collections.Counter[str] = collections.Counter()
    for name in sorted(sizes):
        folder = os.path.dirname(name)
        if _suffix(name) in STILLS:
            folders.setdefault(folder, []).append(name)
        else:
            videos[folder] += 1
    found: dict[str, Frames] = {}
    others: list[str] = []
    for folder, names in folders.items():
        if _has_animations(files, names):
            others += [name for name in names if _suffix(name) in JPEG]
            continue
        numbered = {name: parts for name in names if (parts := _parts(name))}
        if len(numbered) <= videos[folder]:
            others += names
            continue
        others += [name for name in names if name not in numbered]
        shown = files.full_name(folder)
        if not (alone and folder == inside):
            _check_place(folder, inside, shown, os.path.basename(next(iter(numbered))))
        found[folder] = _ordered(numbered, sizes, shown)
    return found, others


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _parts(name: str) -> tuple[str, int, str] | None:
    """Return what is before the number in the name of an image, the number, and what is after."""
    found = _NUMBERED.fullmatch(PurePosixPath(name).stem)
    return None if found is None else (found[1], int(found[2]), found[3])


def _has_animations(files: Files, names: Sequence[str]) -> bool:
    """Return whether the first PNG file of a folder that can be opened is an animation."""
    for name in names:
        if _suffix(name) in JPEG:
            continue
        try:
            with opened(files.read(name)) as image:
                return bool(getattr(image, "is_animated", False))
        # A damaged file is reported when it is read. `ValueError` and `SyntaxError` are Pillow's.
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile):
            continue
    return False


def _check_place(folder: str, inside: str, shown: str, example: str) -> None:
    """Raise a `DataError` if a folder of frames is the whole set or a split of it."""
    if folder == inside or split_of(os.path.basename(folder)):
        raise DataError(
            f"{shown} has images such as {printable(example)} itself; accepted: a folder inside it "
            "for the frames of each video, whose name is not that of a split"
        )


def _ordered(
    numbered: Mapping[str, tuple[str, int, str]], sizes: Mapping[str, int], shown: str
) -> Frames:
    """Return the images of a folder in the order of their numbers.

    Args:
      numbered: by path, the parts of the name.
      sizes: by path.
      shown: the folder, for messages.

    Raises:
      DataError: as for `frames_in`.
    """

    def refuse(first: str, other: str, why: str) -> None:
        pair = " and ".join(printable(os.path.basename(name)) for name in (first, other))
        raise DataError(
            f"{shown} has the images {pair}, {why}; accepted: the frames of one video, one image "
            "for each number"
        )

    first, (before, _, after) = next(iter(numbered.items()))
    by_number: dict[int, str] = {}
    for name, (own_before, number, own_after) in numbered.items():
        if (own_before, own_after) != (before, after):
            refuse(first, name, "which differ in more than their last number")
        if (other := by_number.setdefault(number, name)) != name:
            refuse(other, name, "which have the same number")
    numbers = sorted(by_number)
    size = sum(sizes[name] for name in numbered)
    return Frames(tuple(by_number[k] for k in numbers), tuple(numbers), size)


def check_beside(files: Files, folders: Collection[str], videos: Iterable[str]) -> None:
    """Raise a `DataError` if a folder of frames has further videos in it.

    Args:
      files: a container.
      folders: of frames, by path.
      videos: the paths of all videos in the container, files and ``folders``.
    """
    for name in videos:
        for folder in PurePosixPath(name).parents:
            above = folder.as_posix() if folder.parts else ""
            if above in folders:
                raise DataError(
                    f"{files.full_name(above)} has images, which are the frames of one video, and "
                    f"the video {printable(PurePosixPath(name).relative_to(above).as_posix())}; "
                    "accepted: one of these"
                )
