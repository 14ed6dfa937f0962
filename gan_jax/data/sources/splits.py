"""Which folders of a set of images are splits, and which are classes.

Folders that hold nothing but one other folder are stepped into. Folders named ``ground_truth`` hold
masks, and are not used.

Folders of the root named ``train``, ``test``, ``val`` or by another name that `split_of` knows are
splits if there are several of them, or nothing beside them. ``data.split`` chooses one of the
splits, or ``all`` of them; what else is beside them is not used. One such folder beside others may
be a split or a class: with the split ``train`` that is an error, and with ``all`` it is a class.

Then, if every image lies in a sub-folder, the first-level sub-folders are the classes, in the order
of their names over all splits; otherwise, or with one sub-folder only, images are unlabelled.
Images beside sub-folders are not used if they are fewer than those of every sub-folder, and an
error otherwise; with ``all``, or a file of labels, they are used.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from gan_jax.data.sources.containers import printable
from gan_jax.errors import ConfigError, UnknownNameError

_SPLITS = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
}
_IMAGES = "images?|imgs?"
# Such as Training, train_set, "Test Images", images-val or val2017.
_SPLIT = re.compile(
    rf"(?:(?:{_IMAGES}|seg)[ _-]?)?({'|'.join(_SPLITS)})"
    rf"(?:[ _-]?(?:set|data|dataset|{_IMAGES}|\d+))*",
    re.IGNORECASE,
)
# Folders of masks, and folders that are no class: what is beside them belongs to their images.
_MASKS = re.compile(r"ground[ _-]?truths?", re.IGNORECASE)
_NO_CLASS = re.compile(rf"{_IMAGES}|jpegimages", re.IGNORECASE)
# A split of one side of pairs, such as trainA.
_SIDE = re.compile(r"(train|test|val)[ _-]?[AB]", re.IGNORECASE)


def split_of(folder: str) -> str:
    """Return the split that a folder's name stands for: "train", "test", "val", or ""."""
    found = _SPLIT.fullmatch(folder)
    return _SPLITS[found[1].lower()] if found else ""


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
    names: Sequence[str],
    inside: str,
    split: str,
    full_name: Callable[[str], str],
    *,
    what: str = "images",
    has_metadata: bool = False,
) -> Part:
    """Return the images of a split and their classes, by the rules of this module.

    Args:
      names: paths of images, sorted.
      inside: the place that they are in, "" or "a/b".
      split: as ``data.split``.
      full_name: of a place, for messages.
      what: the files are, for messages.
      has_metadata: whether a file may label the images, wherever they are.

    Raises:
      ConfigError: there is no such split, or it is ambiguous.
    """
    root = f"{inside}/" if inside else ""
    strict = split != "all" and not has_metadata
    names, unused = _without_masks(root, names)
    while (only := _only_folder(root, names, strict)) and not split_of(only):
        names = _in_folders(root, names, full_name, what, unused) if strict else names
        root += f"{only}/"
    below = _by_folder(root, names)
    splits = _splits_among(below.keys())
    chosen = _chosen(full_name(root), below.keys() - {""}, splits, split, what)
    if chosen:
        numbered = splits if set(chosen) <= set(splits) else chosen
        parts = {f"{root}{part}/": below[part] for part in numbered}
        used = [f"{root}{part}/" for part in chosen]
        unused += [
            f"{printable(folder)}/ ({len(found)})" if folder else _strays(root, found, what)
            for folder, found in sorted(below.items())
            if folder not in chosen
        ]
    else:
        parts, used = {root: list(names)}, [root]
    if strict:
        if not chosen:
            _check_inner_splits(root, below, full_name, split)
        for place in used:
            parts[place] = _in_folders(place, parts[place], full_name, what, unused)
    return _labelled(parts, used, tuple(unused), full_name if strict else None)


def _labelled(
    parts: dict[str, list[str]],
    used: Sequence[str],
    unused: tuple[str, ...],
    full_name: Callable[[str], str] | None,
) -> Part:
    """Return the images of some parts with their classes, which are numbered over all parts.

    Args:
      parts: the images of each split below its root, such as "a/train/".
      used: the roots of those that are used.
      unused: as in a `Part`.
      full_name: of a place, for messages; ``None``: every folder may be a class.

    Raises:
      ConfigError: a folder such as ``images`` is beside others.
    """
    names = sorted(name for place in used for name in parts[place])
    roots = dict.fromkeys(parts, "")
    while len(only := {_only_folder(place + roots[place], parts[place]) for place in parts}) == 1:
        if not (folder := only.pop()):
            break
        roots = {place: f"{inner}{folder}/" for place, inner in roots.items()}
    for place, inner in roots.items():
        # A split is often in a folder of its own name: seg_train/seg_train.
        if split_of(folder := _only_folder(place + inner, parts[place])):
            roots[place] = f"{inner}{folder}/"
    found = {place: _by_folder(place + roots[place], parts[place]) for place in parts}
    if full_name is not None:
        for place in used:
            _check_classes(full_name(place + roots[place]), found[place].keys() - {""})
    known = sorted(set().union(*(classes for classes in found.values() if "" not in classes)))
    if len(known) < 2 or any("" in found[place] for place in used):
        return Part(names, np.zeros(len(names), np.int32), None, unused)
    number = {name: k for k, name in enumerate(known)}
    class_of = {
        name: number[folder]
        for place in used
        for folder, images in found[place].items()
        for name in images
    }
    return Part(names, np.array([class_of[n] for n in names], np.int32), tuple(known), unused)


def _without_masks(root: str, names: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Return the images that are in no folder of masks, and in words those that are."""
    masks = {n for n in names if any(map(_MASKS.fullmatch, n[len(root) :].split("/")[:-1]))}
    if not masks or len(masks) == len(names):
        return names, []
    return [name for name in names if name not in masks], [f"{len(masks)} in ground_truth/"]


def _in_folders(
    root: str,
    names: Sequence[str],
    full_name: Callable[[str], str],
    what: str,
    unused: list[str],
) -> list[str]:
    """Return the images in folders of a root, or all if there are none; add the rest to ``unused``.

    Raises:
      ConfigError: the others are not fewer than those of every folder.
    """
    below = _by_folder(root, names)
    strays = below.pop("", [])
    if not strays or not below:
        return list(names)
    if len(strays) >= min(map(len, below.values())):
        folders = ", ".join(map(repr, sorted(below)[:3]))
        raise ConfigError(
            f"data.path: {full_name(root)} has {len(strays)} {what} beside the folders {folders}, "
            "which may belong to the set or not; accepted: data.split = 'all', which uses all of "
            "them without classes, or one of the folders as data.path"
        )
    unused.append(_strays(root, strays, what))
    return [name for name in names if _first(root, name)]


def _strays(root: str, names: Sequence[str], what: str) -> str:
    """Return, in words, images beside the folders of a root."""
    first = printable(names[0][len(root) :])
    count = f"{len(names)} {what} such as " if len(names) > 1 else ""
    return f"{count}{first} beside the folders"


def _check_inner_splits(
    root: str, below: Mapping[str, list[str]], full_name: Callable[[str], str], split: str
) -> None:
    """Raise a `ConfigError` if a folder of a root without splits has splits itself."""
    for folder, names in sorted(below.items()):
        if not folder:
            continue
        inner = f"{root}{folder}/"
        if len(splits := _splits_among(_by_folder(inner, names).keys())) > 1:
            raise ConfigError(
                f"data.split = {split!r}: {full_name(root)} has no splits, and its folder "
                f"{folder!r} has {', '.join(map(repr, splits))}; accepted: that folder as "
                "data.path, or data.split = 'all', which makes every folder a class"
            )


def _check_classes(shown: str, folders: Collection[str]) -> None:
    """Raise a `ConfigError` if one of several folders cannot be a class."""
    sides = sorted(filter(_SIDE.fullmatch, folders))
    if len({side[:-1].lower() for side in sides}) > 1:
        raise ConfigError(
            f"data.path: {shown} has {', '.join(map(repr, sides[:4]))}, which are splits of the "
            "two sides of pairs; accepted: one of these folders as data.path, data.pairing = "
            "'domains' or 'twins', or data.split = 'all', which makes every folder a class"
        )
    for folder in sorted(folders):
        if len(folders) > 1 and _NO_CLASS.fullmatch(folder):
            others = ", ".join(sorted(map(repr, set(folders) - {folder}))[:3])
            raise ConfigError(
                f"data.path: {shown} has the folder {folder!r} beside {others}, which may be masks "
                "or classes; accepted: the folder to train on as data.path, or data.split = "
                "'all', which makes every folder a class"
            )


def _by_folder(root: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the images below a root by the first folder; "" has those in the root itself."""
    below: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        below[_first(root, name)].append(name)
    return dict(below)


def _first(root: str, name: str) -> str:
    """Return the first folder of a path below ``root``, "" for a file in ``root`` itself."""
    folder, slash, _ = name[len(root) :].partition("/")
    return folder if slash else ""


def _only_folder(root: str, names: Sequence[str], beside: bool = False) -> str:
    """Return the folder in which everything below ``root`` lies; "" if there is none.

    Args:
      root: the place, such as "a/".
      names: of images below it.
      beside: whether images may be beside the folder.
    """
    found = {_first(root, name) for name in names}
    if beside:
        found -= {""}
    return found.pop() if len(found) == 1 else ""


def _splits_among(folders: Collection[str]) -> list[str]:
    """Return the folders that are splits; "" in ``folders`` stands for images beside them."""
    found = sorted(folder for folder in folders if split_of(folder))
    several = len(set(map(split_of, found))) > 1
    return found if several or len(found) == len(folders) else []


def _chosen(
    shown: str, folders: Collection[str], splits: list[str], split: str, what: str
) -> list[str]:
    """Return the folders of the root that ``data.split`` means; none: there are no splits."""
    if split == "all":
        return splits
    if split in folders and (splits or split != "train"):
        return [split]
    meant = split_of(split)
    found = sorted(name for name in folders if meant and split_of(name) == meant)
    if len(found) == 1 and (splits or meant != "train"):
        return found
    if split == "train" and not splits:
        named = sorted(filter(split_of, folders))
        if not named:
            return []
        raise ConfigError(
            f"data.split = 'train': {shown} has the folder {named[0]!r} beside others or {what}, "
            "so that it may be a split or a class; accepted: data.split = 'all', which makes every "
            "folder a class, or the folder to train on as data.path"
        )
    what = "several such folders" if found else "no such folder"
    raise UnknownNameError(
        f"data.split = {split!r}: {shown} has {what}; accepted: all, "
        f"{printable(', '.join(found or sorted(folders))) or 'train'}"
    )
