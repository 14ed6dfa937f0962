"""Images in a folder or a zip archive, read in place.

Layout. The root is ``data.path``: a folder, a ``.zip``, or a place inside one
(``photos.zip/train``). If the root has a folder named like ``data.split``, that becomes the root:
always for a split other than "train"; for "train" only when all folders beside it are named
like splits too, because "train" may also be a class. Folders that hold nothing but one other folder
are stepped into. Then, if every image lies in a sub-folder of the root, the first-level sub-folders
are the classes, in the order of their names; otherwise, or with one sub-folder only, the images are
unlabelled. Images are all files with the suffix of an image, sorted by their path; hidden files
and folders are left out.
"""

import collections
import dataclasses
import errno
import hashlib
import os
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_jax.data import spec as specs
from gan_jax.data.sources.base import Example, Source, content_hash, identity, stack
from gan_jax.data.sources.images import Transform, decode, reason
from gan_jax.errors import ConfigError, DataError

# fmt: off
SUFFIXES = frozenset([
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
])
SPLITS = frozenset([
    "dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation",
])
# fmt: on
ON_ERROR = ("raise", "skip")
# So many unreadable images in a row are no accident: the set is damaged, or none of it is images.
MAX_SKIPS = 64
PROBES = 16
# No image file is larger; an archive may say that a file is, to fill the memory.
MAX_FILE_BYTES = 2**30
# A folder may be linked to from several splits or classes, but not more often than this.
MAX_LINKED = 100


class Folder:
    """The files below a folder, by their path with slashes, relative to it."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.resolve().name

    def sizes(self) -> dict[str, str]:
        """Return every file's path and a word about its content: its size.

        That of a link to nothing is empty. What is no plain file is left out: reading from a device
        or a pipe may never end.

        Raises:
          DataError: its folders link to one another in too many ways.
        """
        found = {}
        for path in map(Path, _files_below(str(self.path))):
            try:
                status = path.stat()
            except OSError:
                found[path.relative_to(self.path).as_posix()] = ""
                continue
            if stat.S_ISREG(status.st_mode):
                found[path.relative_to(self.path).as_posix()] = str(status.st_size)
        return found

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
          OSError: it cannot be read, or is larger than any image.
        """
        path = self.path / name
        if path.stat().st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"more than {MAX_FILE_BYTES:,} bytes")
        return path.read_bytes()

    def full_name(self, name: str) -> str:
        """Return what a message calls the file."""
        return printable(str(self.path / name))


def _files_below(root: str) -> Iterator[str]:
    """Yield the paths of what is no folder below a folder; what cannot be read is taken for empty.

    Links to folders that they lie in are not followed. Others are, but a few folders that link to
    one another would have more paths than can be counted.

    Raises:
      DataError: links lead to one folder by more than ``MAX_LINKED`` paths.
    """
    times: collections.Counter[tuple[int, int]] = collections.Counter()
    outermost: frozenset[tuple[int, int]] = frozenset()
    # Of each: the path, device and number of the folders that it lies in, and whether by a link.
    folders = [(root, outermost, False)]
    while folders:
        folder, within, linked = folders.pop()
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        own = (status.st_dev, status.st_ino)
        if own in within:
            continue
        times[own] += linked
        if times[own] > MAX_LINKED:
            raise DataError(
                f"{printable(os.path.realpath(folder))}: more than {MAX_LINKED} paths lead to this "
                "folder by links; leave out some of the links"
            )
        within |= {own}
        below = []
        for entry in entries:
            if _is_folder(entry):
                below.append((entry.path, within, linked or entry.is_symlink()))
            else:
                yield entry.path
        folders += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # Such as a link to itself, which is a link to nothing.
        return False


def printable(name: str) -> str:
    """Return a name for messages: in one line, and without what would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


class Zip:
    """The files in a zip archive, read by their place: threads and processes share no position.

    Raises:
      OSError, zipfile.BadZipFile: the archive cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.stem
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
        # Names that are not text, truncated fields, unknown versions.
        except (ValueError, NotImplementedError, OverflowError, struct.error) as error:
            raise zipfile.BadZipFile(" ".join(str(error).split())) from error
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("rb", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        weakref.finalize(self, self._file.close)

    def sizes(self) -> dict[str, str]:
        """Return every file's path and a word about its content: its size and checksum."""
        return {name: f"{m.file_size} {m.CRC:08x}" for name, m in self._members.items()}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
          zipfile.BadZipFile, zlib.error: they do not fit their checksum.
          NotImplementedError: they are encrypted, or not packed by deflate.
        """
        member, descriptor = self._members[name], self._file.fileno()
        # What the archive says of itself is not believed: memory is taken for what it can hold.
        if member.file_size > MAX_FILE_BYTES:
            raise zipfile.BadZipFile(f"it unfolds to more than {MAX_FILE_BYTES:,} bytes")
        if not 0 <= member.header_offset <= self._size - 30 - member.compress_size:
            raise zipfile.BadZipFile("it lies outside the archive")
        # The local header: 30 bytes, the last four the lengths of name and extra field after it.
        header = os.pread(descriptor, 30, member.header_offset)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no local header")
        start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        raw = os.pread(descriptor, member.compress_size, start)
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise NotImplementedError("accepted in a zip: stored or deflated, not encrypted")
        if member.compress_type == zipfile.ZIP_DEFLATED:
            unfolded = zlib.decompressobj(-zlib.MAX_WBITS)
            raw = unfolded.decompress(raw, member.file_size + 1)
        if len(raw) != member.file_size or zlib.crc32(raw) != member.CRC:
            raise zipfile.BadZipFile("its bytes do not fit their checksum")
        return raw

    def full_name(self, name: str) -> str:
        """Return what a message calls the file."""
        return printable(f"{self.path}/{name}" if name else str(self.path))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind when sent to a worker."""
        return {k: v for k, v in self.__dict__.items() if k != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again in the worker."""
        self.__dict__.update(state)
        self._open()


class FolderSource(Source):
    """A source that decodes image files at every access; see the module for the layout.

    Args:
      path: folder, zip, or place inside a zip.
      split: sub-folder to use, if there is one of that name; "train" and "all" also mean "the
        whole root" where there is none.
      transform: the wanted size and channels. Without ``channels``, images are RGB, unless those of
        a sample of 16 are all grey; without ``resolution`` all have to be of one size.
      on_error: "raise": an image that cannot be decoded is an error that names it; "skip": the next
        one that can be decoded stands in for it, and it is noted in ``failures``. A file that
        cannot be read at all is always an error.

    Raises:
      ConfigError: ``split`` or ``on_error`` is unknown.
      DataError: nothing is there, or there are no images.
    """

    def __init__(self, path: str | Path, split: str, transform: Transform, on_error: str = "raise"):
        if on_error not in ON_ERROR:
            raise ConfigError(f"data.on_error = {on_error!r}; accepted: {', '.join(ON_ERROR)}")
        self.path, self.split, self.on_error = path, split, on_error
        self.failures = {}
        self.files, inside = open_files(Path(path))
        self.name = f"{self.files.name}/{inside}".rstrip("/")
        files = images_in(self.files, inside)
        root, names = _choose_split(self.files, inside, sorted(files), split)
        self.names = names
        self._content = content_hash(f"{name} {files[name]}" for name in names)
        self.labels, class_names = _classes(root, names)
        self._transform, shapes = self._probe(transform)
        self.spec = {name: specs.image(shape) for name, shape in shapes.items()}
        if class_names is not None:
            self.spec[specs.LABEL] = specs.label(class_names)

    def _probe(self, transform: Transform) -> tuple[Transform, dict[str, tuple[int, int, int]]]:
        """Return the transform with its channels settled, and the shapes of its images."""
        chosen = np.unique(np.linspace(0, len(self) - 1, PROBES).astype(int)).tolist()
        settled = transform.resolution is not None and transform.channels is not None
        decoded = [self._decode_or_next(i)[1] for i in (chosen[:1] if settled else chosen)]
        channels = transform.channels or max(len(image.getbands()) for image in decoded)
        transform = dataclasses.replace(transform, channels=channels)
        width, height = decoded[0].size
        return transform, transform.fields(height, width, channels)

    def _decode(self, index: int) -> Image.Image:
        """Return the decoded image.

        Raises:
          DataError: the file cannot be read.
          _UndecodableError: it can, but holds no intact image.
        """
        try:
            raw = self.raw(index)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise _UndecodableError(f"{self.item_name(index)} is damaged: {error}") from error
        try:
            return decode(raw)
        # Pillow's decoders raise whatever the parser of their format stumbles over.
        except Exception as error:
            raise _UndecodableError(f"{self.item_name(index)} {reason(error)}") from error

    def raw(self, index: int) -> bytes:
        """Return the bytes of a file.

        Raises:
          DataError: it cannot be read.
          zipfile.BadZipFile, zlib.error: it is damaged.
        """
        try:
            return self.files.read(self.names[index])
        except (OSError, NotImplementedError) as error:
            raise DataError(f"{self.item_name(index)} cannot be read: {error}") from error

    def whole(self, index: int) -> Example:
        """Return one example as it is, whatever its size; else like ``source[index]``."""
        found, image = self._decode_or_next(range(len(self))[index])
        return self._labelled(self._transform.cut(image), found)

    def _labelled(self, images: dict[str, np.ndarray], index: int) -> Example:
        if specs.LABEL not in self.spec:
            return images
        return {**images, specs.LABEL: np.asarray(self.labels[index])}

    def _decode_or_next(self, index: int) -> tuple[int, Image.Image]:
        """Return the image and its index, or those of the image that replaces it."""
        for step in range(min(MAX_SKIPS, len(self))):
            candidate = (index + step) % len(self)
            if candidate in self.failures:
                continue
            try:
                return candidate, self._decode(candidate)
            except _UndecodableError as error:
                if self.on_error == "raise":
                    raise DataError(f'{error} (data.on_error = "skip" leaves it out)') from error
                self.failures[candidate] = str(error)
        first = self.failures[index]
        raise DataError(f"{min(MAX_SKIPS, len(self))} images in a row fail; the first: {first}")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __getitem__(self, index: int) -> Example:
        """Return one example; see `Source`.

        Raises:
          DataError: a file cannot be read or decoded, or has not the size of the others.
        """
        found, image = self._decode_or_next(range(len(self))[index])
        return self._labelled(self._fit(image, found), found)

    def _fit(self, image: Image.Image, index: int) -> dict[str, np.ndarray]:
        try:
            images = self._transform.cut(image)
        except ConfigError as error:
            raise DataError(f"{self.item_name(index)}: {error}") from error
        for name, pixels in images.items():
            if pixels.shape != self.spec[name].shape:
                raise DataError(
                    f"{self.item_name(index)} has shape {pixels.shape}, the first image "
                    f"{self.spec[name].shape}; set data.resolution to bring all to one size"
                )
        return images

    def read(self, indices: Sequence[int]) -> Example:
        """Return several examples, stacked; see `Source.read`."""
        return stack(self[int(i)] for i in indices)

    def item_name(self, index: int) -> str:
        """Return the path of the file."""
        return self.files.full_name(self.names[index])

    def content(self, indices: Sequence[int]) -> str:
        """Return what the bytes of some images hash to; the checksums of a zip tell that before.

        Raises:
          DataError: a file cannot be read.
        """
        if isinstance(self.files, Zip):
            return self._content
        digest = hashlib.sha256()
        for index in indices:
            try:
                digest.update(hashlib.sha256(self.files.read(self.names[index])).digest())
            except OSError as error:
                raise DataError(f"{self.item_name(index)} cannot be read: {error}") from error
        return digest.hexdigest()[:12]

    def fingerprint(self) -> str:
        """Return the identity of the content, from names and sizes (in a zip: and checksums)."""
        return identity(self, self.split, self._content)


class _UndecodableError(Exception):
    """The bytes are there, but are no intact image."""


def folder(path: str | None, split: str, transform: Transform, on_error: str) -> FolderSource:
    """Return the source for ``data.path``.

    Raises:
      ConfigError: no path is given, or a field has a value that cannot work.
      DataError: the folder or zip cannot be used.
    """
    if not path:
        raise ConfigError(
            "data.path is not set; accepted for data.name = 'folder': a folder or .zip of images"
        )
    return FolderSource(path, split, transform, on_error)


def find_folder(path: str | Path, split: str, name: str, field: str) -> Path:
    """Return the folder of one side of a pair below ``path``, a folder or a place in a zip.

    Args:
      path: as ``data.path``.
      split: as ``data.split``.
      name: of the side.
      field: that gave the name, for the message.

    Raises:
      ConfigError: there is none.
      DataError: nothing is there at all.
    """
    files, inside = open_files(Path(path))
    prefix = f"{inside}/" if inside else ""
    found = [name.removeprefix(prefix) for name in images_in(files, inside)]
    candidates = [f"{split}{name}", f"{split}/{name}", f"{name}/{split}"]
    if split in ("train", "all"):
        candidates.append(name)
    # Archives often hold one folder with everything in it.
    tops = {image.split("/")[0] for image in found}
    roots = ["", *(f"{top}/" for top in tops)] if len(tops) == 1 else [""]
    for root in roots:
        for candidate in candidates:
            if any(image.startswith(f"{root}{candidate}/") for image in found):
                return Path(path) / f"{root}{candidate}"
    raise ConfigError(
        f"{field} = {name!r} with data.split = {split!r}: {files.full_name(inside)} has images in "
        f"none of the folders {', '.join(candidates)}; accepted: the name of one that it has"
    )


def open_files(path: Path, field: str = "data.path") -> tuple[Folder | Zip, str]:
    """Return the container that holds ``path`` and the place inside it, "" or "a/b".

    Args:
      path: a folder, a ``.zip``, or a place inside one.
      field: that gave it, for the message.

    Raises:
      DataError: there is no such thing, or the zip cannot be read.
    """
    for archive in [path, *path.parents]:
        if archive.suffix.lower() == ".zip" and archive.is_file():
            inside = path.relative_to(archive).as_posix()
            try:
                files = Zip(archive)
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(f"{archive} cannot be read as a zip: {error}") from error
            return files, "" if inside == "." else inside
    if not path.exists():
        raise DataError(f"{path} ({field}) does not exist")
    if not path.is_dir():
        raise DataError(f"{path} ({field}) is neither a folder nor a .zip")
    return Folder(path), ""


def images_in(files: Folder | Zip, inside: str, field: str = "data.path") -> dict[str, str]:
    """Return the images at a place inside a container, each with a word about its content.

    Args:
      files: the container.
      inside: the place, "" or "a/b".
      field: that gave it, for the message.

    Raises:
      DataError: there are none, one is a link to nothing, or links cannot be followed to an end.
    """
    prefix = f"{inside}/" if inside else ""
    found = {}
    for name, content in files.sizes().items():
        below = name.removeprefix(prefix)
        visible = not any(part.startswith((".", "__MACOSX")) for part in below.split("/"))
        if name.startswith(prefix) and visible and Path(name).suffix.lower() in SUFFIXES:
            if not content:
                raise DataError(f"{files.full_name(name)} cannot be read: it is a link to nothing")
            found[name] = content
    if not found:
        raise DataError(
            f"{files.full_name(inside)} ({field}) has no images; "
            f"accepted suffixes: {' '.join(sorted(SUFFIXES))}"
        )
    return found


def _folders(root: str, names: Sequence[str]) -> list[str]:
    """Return the first-level folders below ``root``, sorted; "" stands for images beside them."""
    tails = (name[len(root) :] for name in names)
    return sorted({tail.split("/")[0] if "/" in tail else "" for tail in tails})


def _choose_split(
    files: Folder | Zip, inside: str, names: list[str], split: str
) -> tuple[str, list[str]]:
    """Return the root that the module's rules lead to ("" or "a/b/"), and the images below it."""
    root = f"{inside}/" if inside else ""
    found = _folders(root, names)
    chosen = split in found and (split != "train" or SPLITS.issuperset(found))
    if split not in ("train", "all") and not chosen:
        raise ConfigError(
            f"data.split = {split!r}: {files.full_name(root)} has no such folder; accepted: all, "
            f"{', '.join(name for name in found if name) or 'train'}"
        )
    if chosen:
        root += f"{split}/"
        names = [name for name in names if name.startswith(root)]
    while len(found := _folders(root, names)) == 1 and found[0]:
        root += f"{found[0]}/"
    return root, names


def _classes(root: str, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the labels, int32 [n], and the names of the classes, None when unlabelled."""
    found = _folders(root, names)
    if "" in found:
        return np.zeros(len(names), np.int32), None
    number = {name: k for k, name in enumerate(found)}
    labels = [number[name[len(root) :].split("/")[0]] for name in names]
    return np.array(labels, np.int32), tuple(found)
