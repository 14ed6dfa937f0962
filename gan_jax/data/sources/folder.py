"""Images in a folder or a zip archive, read in place.

The root is ``data.path``: a folder, a ``.zip``, or a place inside one (``photos.zip/train``). Which
folders in it are splits and which are classes is decided by `gan_jax.data.sources.splits`. Images
are all files with the suffix of an image, sorted by their path; hidden files and folders are left
out.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from PIL import Image
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources import levels, metadata, survey
from gan_jax.data.sources.base import Example, identity
from gan_jax.data.sources.containers import by_suffix, images_in, open_files, printable
from gan_jax.data.sources.files import FileSource, checked_path
from gan_jax.data.sources.images import Transform, decode, deep_pixels, opened, reason
from gan_jax.data.sources.splits import Part, choose_split, split_of
from gan_jax.errors import ConfigError, DataError

# Files whose headers are read, and how many bytes of each.
HEADERS, HEADER_BYTES = 4096, 2**16
# Files that are decoded to find the range of their values, if they have more than 8 bits.
DEEP = 256


class FolderSource(FileSource):
    """A source that decodes image files at every access; see the module for the layout.

    Attributes:
      sizes: height and width of the images of a sample of 4096.

    Args:
      path: folder, zip, or place inside a zip.
      split: which of the splits to use; "train" and "all" also mean "the whole root" where there
        are none.
      transform: the wanted size and channels. Without ``channels``, images are RGB, unless those of
        a sample of 4096 are all grey: then one in colour is an error. Without ``resolution`` all
        have to be of one size.
      on_error: "raise": an image that cannot be decoded is an error that names it; "skip": it is
        replaced by the next one that can be decoded, and noted in ``failures``. A file that cannot
        be read at all is always an error.
      columns: of `gan_jax.data.sources.metadata` that are the label; (): the folders, or the column
        ``label`` where these are no classes; ``None``: the folders.

    Raises:
      ConfigError: ``path`` is not set; ``split``, ``on_error`` or a column is unknown.
      DataError: the path does not exist, has no images, or metadata that do not fit them.
    """

    #: As ``data.name``.
    NAME: ClassVar[str] = "folder"
    #: Whether images are labelled, and so used, wherever they are; otherwise metadata may do so.
    ANYWHERE: ClassVar[bool] = False

    def __init__(
        self,
        path: str | Path | None,
        split: str,
        transform: Transform,
        on_error: str = "raise",
        columns: Sequence[str] | None = None,
    ):
        super().__init__(path, split, on_error, self.NAME, "images")
        images, others = images_in(self.files, self._inside)
        has_metadata = self.ANYWHERE or any(
            PurePosixPath(name).name in metadata.FILES for name in others
        )
        part = choose_split(
            sorted(images), self._inside, split, self.files.full_name, has_metadata=has_metadata
        )
        self.names, self._sizes = part.names, [images[name] for name in part.names]
        label = self._read_labels(part, images, others, columns)
        transform.check_files()
        fields = self._survey(transform, sorted(images))
        self.spec = fields if label is None else {**fields, specs.LABEL: label}

    def _read_labels(
        self,
        part: Part,
        images: Collection[str],
        others: Sequence[str],
        columns: Sequence[str] | None,
    ) -> specs.Field | None:
        """Set the labels, and what is not used, and return the labels' field, if there is one."""
        label = None if part.class_names is None else specs.label(part.class_names)
        self.labels, self.unused = part.labels, (*part.unused, *by_suffix(others))
        if columns is None:
            return label
        rows, without = metadata.read(self.files, others, required=bool(columns))
        chosen = metadata.columns_of(rows, columns, default=label is None)
        if self.split != "all":
            metadata.check_split(rows, self.names, chosen)
        others = [name for name in others if PurePosixPath(name).name not in metadata.FILES]
        if chosen:
            self.labels, label = metadata.labels(rows, self.names, chosen)
            what = f"the column {chosen[0]}" if len(chosen) == 1 else f"{len(chosen)} columns"
            self.notes = (f"labelled by {what} of the metadata",)
        self.unused = (
            *part.unused,
            *by_suffix(others),
            *(f"{printable(name)}, which has no column file_name" for name in without),
            *metadata.unused(rows, images, chosen),
        )
        return label

    def _survey(self, transform: Transform, every: Sequence[str]) -> dict[str, specs.Field]:
        """Set transform and notes by a sample of the files, and return the fields of images.

        Args:
          transform: the wanted size and channels.
          every: the names of the images of all splits, which have one range of values.
        """
        headers = self._headers()
        self.levels = levels.given(transform.value_range)
        deep = [self.names[index] for index, header in headers.items() if header.deep]
        if self.levels is not None:
            levels.check_use(self.levels, self.name, has_deep=bool(deep))
        elif deep:
            self.levels = self._found_levels(every) or self._found_levels(deep)
        self._grey = transform.channels is None and all(h.grey for h in headers.values())
        channels = transform.channels or (1 if self._grey else 3)
        self._transform = dataclasses.replace(transform, channels=channels)
        first = self._decode_or_next(0)[1]
        if not headers:
            raise DataError(
                f"{self.name}: none of {HEADERS:,} files that were looked at is an image"
            )
        for index, header in headers.items():
            self._check_file(index, header.height, header.width)
        self.sizes = {(header.height, header.width) for header in headers.values()}
        self._own_size = survey.own_size(headers.values(), transform)
        self.notes = (
            *survey.in_words(list(headers.values()), channels),
            *([str(self.levels)] if self.levels else survey.darkness(first)),
            *self.notes,
        )
        shapes = self._transform.fields(first.height, first.width, channels)
        return {name: specs.image(shape) for name, shape in shapes.items()}

    def _headers(self) -> dict[int, survey.Header]:
        """Return the headers of a sample by index, without those that cannot be read."""
        found: dict[int, survey.Header] = {}
        for index in survey.spread(len(self), HEADERS):
            if (header := self.header(index)) is not None:
                found[index] = header
        return found

    def header(self, index: int) -> survey.Header | None:
        """Return the header of a file; ``None``: it is no image."""
        # That of a few formats may be at the end of the file.
        return self._header(index, HEADER_BYTES) or self._header(index, None)

    def _header(self, index: int, most: int | None) -> survey.Header | None:
        """Return the header of a file, if its first ``most`` bytes have it."""
        try:
            with opened(self.raw(index, most)) as image:
                return survey.Header.of(image)
        except DataError:
            raise
        # Pillow raises exceptions of any type on damaged files, and on those that are not complete.
        except Exception:
            return None

    def _found_levels(self, names: Sequence[str]) -> levels.Levels | None:
        """Return the levels of files of more than 8 bits, by a sample of all splits."""

        def pixels() -> Iterator[np.ndarray]:
            for place in survey.spread(len(names), DEEP):
                # What cannot be decoded is reported when it is read.
                with contextlib.suppress(Exception):
                    raw = self.files.read(names[place])
                    with opened(raw) as image:
                        if not levels.is_deep(image):
                            continue
                    found = deep_pixels(raw)
                    has_alpha = found.ndim == 3 and found.shape[2] in (2, 4)
                    yield found[..., :-1] if has_alpha else found

        return levels.found(pixels())

    @override
    def _decode(self, index: int) -> Image.Image:
        image: Image.Image = super()._decode(index)
        if self._grey and image.mode != "L":
            raise DataError(
                f"{self.item_name(index)} is in colour, and {HEADERS:,} others that were looked at "
                "are grey; set data.channels to 3 or 1"
            )
        return image

    @override
    def _decoded(self, raw: bytes) -> Image.Image:
        return decode(raw, self.levels, alpha=self._transform.channels == 4)

    @override
    def _reason(self, error: Exception) -> str:
        return reason(error)

    def whole(self, index: int) -> Example:
        """Return one example of its own size; otherwise like ``source[index]``."""
        found, image = self._decode_or_next(range(len(self))[index])
        return self._labelled(self._transform.cut(image), found)

    @override
    def __getitem__(self, index: int) -> Example:
        found, image = self._decode_or_next(range(len(self))[index])
        return self._labelled(self._fit(image, found), found)

    def _check_file(self, index: int, height: int, width: int) -> None:
        try:
            self._transform.check_file(height, width)
        except ConfigError as error:
            raise DataError(f"{self.item_name(index)}: {error}") from error

    def _fit(self, image: Image.Image, index: int) -> dict[str, np.ndarray]:
        self._check_file(index, image.height, image.width)
        images = self._transform.cut(image)
        for name, pixels in images.items():
            if pixels.shape != self.spec[name].shape:
                raise DataError(
                    f"{self.item_name(index)} has shape {pixels.shape}, the first image "
                    f"{self.spec[name].shape}; set data.resolution to bring all to one size"
                )
        return images

    @property
    @override
    def own_size(self) -> tuple[int, int]:
        return self._own_size

    def in_order(self, indices: Sequence[int]) -> "FolderSource":
        """Return a source of the same images in another order."""
        other = copy.copy(self)
        other.names = [self.names[i] for i in indices]
        other.labels = self.labels[list(indices)]
        other._sizes = [self._sizes[i] for i in indices]
        other.failures = {}
        other.__dict__.pop("_content", None)
        return other

    def resized(self, resolution: int | tuple[int, int]) -> "FolderSource":
        """Return a source of the same images, brought to another size."""
        other = copy.copy(self)
        other._transform = dataclasses.replace(self._transform, resolution=resolution)
        shapes = other._transform.fields(*self._own_size, other._transform.channels or 1)
        other.spec = {**self.spec, **{name: specs.image(shape) for name, shape in shapes.items()}}
        other.failures = dict(self.failures)
        return other

    @override
    def fingerprint(self) -> str:
        return identity(self.NAME, self, self._content)

    @override
    def _preparation(self) -> tuple[object, ...]:
        return self._transform, self.levels, self._grey, self.on_error


def find_folder(path: str | Path | None, split: str, name: str, field: str) -> Path:
    """Return the folder of one side of a pair, ``name``, below ``path``.

    Args:
      path: as ``data.path``.
      split: as ``data.split``.
      name: of the side.
      field: that gave the name, for the message.

    Raises:
      ConfigError: there is none, or ``path`` is not set.
      DataError: the path does not exist, or has no images.
    """
    root_path = checked_path(path, "folder", "images")
    files, inside = open_files(root_path)
    prefix = f"{inside}/" if inside else ""
    images, _ = images_in(files, inside)
    found = [name.removeprefix(prefix) for name in images]
    candidates = [f"{split}{name}", f"{split}/{name}", f"{name}/{split}"]
    if split in ("train", "all"):
        candidates.append(name)
    # Archives often hold one folder with everything in it.
    tops = {image.split("/")[0] for image in found}
    roots = ["", *(f"{top}/" for top in tops)] if len(tops) == 1 else [""]
    for root in roots:
        below = {"/".join(image.removeprefix(root).split("/")[:-1]) for image in found}
        folders = {folder for path in below for folder in _and_above(path)}
        for candidate in candidates:
            if candidate in folders:
                return root_path / f"{root}{candidate}"
        for candidate in candidates:
            alike = sorted(f for f in folders if _spelling(f) == _spelling(candidate))
            if len(alike) == 1:
                return root_path / f"{root}{alike[0]}"
    raise ConfigError(
        f"{field} = {name!r} with data.split = {split!r}: {files.full_name(inside)} has images in "
        f"none of the folders {', '.join(candidates)}; accepted: the name of one that it has"
    )


def _and_above(folder: str) -> list[str]:
    """Return a folder and those that it is in."""
    parts = folder.split("/")
    return ["/".join(parts[:k]) for k in range(1, len(parts) + 1)]


def _spelling(folder: str) -> list[str]:
    """Return what folders that differ in case, or in the name of a split, have in common."""
    return [split_of(part) or part.lower() for part in folder.split("/")]
