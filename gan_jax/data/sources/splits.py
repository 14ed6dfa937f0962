"""Which folders of a set of images are splits, and which are classes.

Folders that hold nothing but one other folder are stepped into.

Folders of the root named ``train`` or ``training``, ``test`` or ``testing``, ``val``, ``valid``,
``validation``, ``dev`` or ``eval``, in whatever case, are splits if there are several of them, or
nothing beside them. ``data.split`` chooses one of the splits, or ``all`` of them; what else is
beside them is not used. One such folder beside others may be a split or a class: with the split
``train`` that is an error, and with ``all`` it is a class.

Then, if every image lies in a sub-folder, the first-level sub-folders are the classes, in the order
of their names over all splits; otherwise, or with one sub-folder only, images are unlabelled.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from gan_jax.data.sources.containers import printable
from gan_jax.errors import ConfigError

#: The names of the folders of splits, in lower case.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """The images of a split.

    Attributes:
      names: their paths, sorted.
      labels: int32 ``[n]``.
      class_names: of the labels; ``None``: the images are unlabelled, and the labels 0.
      unused: the folders and images beside them, in words.
    """

    names: list[str]
    labels: np.ndarray
    class_names: tuple[str, ...] | None
    unused: tuple[str, ...]


def choose_split(
    names: Sequence[str], inside: str, split: str, full_name: Callable[[str], str]
) -> Part:
    """Return the images of a split and their classes, by the rules of this module.

    Args:
      names: paths of images, sorted.
      inside: the place that they are in, "" or "a/b".
      split: as ``data.split``.
      full_name: of a place, for messages.

    Raises:
      ConfigError: there is no such split, or it is ambiguous.
    """
    root = f"{inside}/" if inside else ""
    while (only := _only_folder(root, names)) and only.lower() not in SPLITS:
        root += f"{only}/"
    below: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        below[_first(root, name)].append(name)
    splits = _splits_among(below.keys())
    chosen = _chosen(full_name(root), below.keys() - {""}, splits, split)
    if not chosen:
        labels, class_names = _classes({root: names}, names)
        return Part(list(names), labels, class_names, ())
    used = sorted(name for folder in chosen for name in below[folder])
    numbered = splits if set(chosen) <= set(splits) else chosen
    labels, class_names = _classes({f"{root}{part}/": below[part] for part in numbered}, used)
    unused = tuple(
        f"{printable(folder)}/ ({len(found)})" if folder else f"{len(found)} beside the folders"
        for folder, found in sorted(below.items())
        if folder not in chosen
    )
    return Part(used, labels, class_names, unused)


def _classes(
    parts: Mapping[str, Sequence[str]], used: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the labels of images and the names of the classes.

    Args:
      parts: the images of each split below its root, such as "a/train/".
      used: the images that are labelled.
    """
    while len(only := {_only_folder(root, names) for root, names in parts.items()}) == 1:
        if not (folder := only.pop()):
            break
        parts = {f"{root}{folder}/": names for root, names in parts.items()}
    class_of = {name: _first(root, name) for root, names in parts.items() for name in names}
    found = [{class_of[name] for name in names} for names in parts.values()]
    known = sorted(set().union(*(classes for classes in found if "" not in classes)))
    if len(known) < 2 or any(class_of[name] not in known for name in used):
        return np.zeros(len(used), np.int32), None
    number = {name: k for k, name in enumerate(known)}
    return np.array([number[class_of[name]] for name in used], np.int32), tuple(known)


def _first(root: str, name: str) -> str:
    """Return the first folder of a path below ``root``, "" for a file in ``root`` itself."""
    folder, slash, _ = name[len(root) :].partition("/")
    return folder if slash else ""


def _only_folder(root: str, names: Sequence[str]) -> str:
    """Return the folder in which everything below ``root`` lies; "" if there is none."""
    found = {_first(root, name) for name in names}
    return found.pop() if len(found) == 1 else ""


def _splits_among(folders: Collection[str]) -> list[str]:
    """Return the folders that are splits; "" in ``folders`` stands for images beside them."""
    found = sorted(folder for folder in folders if folder.lower() in SPLITS)
    several = len({SPLITS[folder.lower()] for folder in found}) > 1
    return found if several or len(found) == len(folders) else []


def _chosen(shown: str, folders: Collection[str], splits: list[str], split: str) -> list[str]:
    """Return the folders of the root that ``data.split`` means; none: there are no splits."""
    if split == "all":
        return splits
    if split in folders and (splits or split != "train"):
        return [split]
    meant = SPLITS.get(split.lower())
    found = sorted(name for name in folders if SPLITS.get(name.lower(), "") == meant)
    if len(found) == 1 and (splits or meant != "train"):
        return found
    if split == "train" and not splits:
        named = sorted(folder for folder in folders if folder.lower() in SPLITS)
        if not named:
            return []
        raise ConfigError(
            f"data.split = 'train': {shown} has the folder {named[0]!r} beside others or images, "
            "so that it may be a split or a class; accepted: data.split = 'all', which makes every "
            "folder a class, or the folder to train on as data.path"
        )
    what = "several such folders" if found else "no such folder"
    raise ConfigError(
        f"data.split = {split!r}: {shown} has {what}; accepted: all, "
        f"{printable(', '.join(found or sorted(folders))) or 'train'}"
    )
