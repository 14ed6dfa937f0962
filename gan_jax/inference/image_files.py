"""The image files of a translation: finding, naming, reading with alpha, and writing them.

Pixels are decoded as those of data sets are (`gan_jax.data.sources.images`), but for transparency,
which is kept beside them.
"""

import dataclasses
import io
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gan_jax.data.sources.containers import (
    SUFFIXES,
    Files,
    Folder,
    files_in,
    open_files,
    printable,
)
from gan_jax.data.sources.images import decode, opened, reason
from gan_jax.data.sources.levels import Levels
from gan_jax.errors import ConfigError, DataError, WorkdirError, lookup
from gan_jax.report import grids

_QUALITY = 95
# File systems take 255; a file that is being written has a longer name.
_NAME_BYTES = 230
# Files that are not used, in a message.
_NAMED = 3
#: The formats that can be written, by the suffix of the files: options of Pillow's.
FORMATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {"quality": _QUALITY, "subsampling": 0}),
    "webp": ("WEBP", {"quality": _QUALITY}),
}


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """A file that may hold an image.

    Attributes:
      name: its path below the requested path, with slashes.
      files: the folder or archive that holds it.
      inside: its path in the folder or archive.
    """

    name: str
    files: Files
    inside: str

    @property
    def full_name(self) -> str:
        """Its name in messages."""
        return self.files.full_name(self.inside)

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return str(PurePosixPath(self.name).with_suffix(""))

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
          DataError: it cannot be read; the message has the reason alone.
        """
        try:
            return self.files.read(self.inside)
        except zipfile.BadZipFile as error:
            raise DataError(f"is damaged: {error}") from error
        except OSError as error:
            raise DataError(f"cannot be read: {getattr(error, 'strerror', '') or error}") from error


class Picture(NamedTuple):
    """The content of an image file, upright.

    Attributes:
      pixels: uint8 ``[height, width, 1 or 3]``; white where they are transparent.
      alpha: uint8 ``[height, width]``, 255 for opaque; ``None``: it has none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None


def find(
    path: str | Path,
    field: str,
    out: Path | None = None,
    suffixes: Collection[str] = SUFFIXES,
    what: str = "images",
) -> list[ImageFile]:
    """Return the image files at a path, or others of some suffixes, sorted by name; as `listed`."""
    return listed(path, field, out, suffixes, what).opened()


class Listing(NamedTuple):
    """The files at a place inside a container.

    Attributes:
      files: the container.
      inside: the place, "" or "a/b".
      names: the paths of the files with the wanted suffixes, sorted.
      unused: the paths of the others, likewise.
    """

    files: Files
    inside: str
    names: list[str]
    unused: list[str]

    def below(self, name: str) -> str:
        """Return a path relative to the place."""
        # Names in a zip may begin with a slash, but are relative to the output folder.
        return name.removeprefix(f"{self.inside}/" if self.inside else "").lstrip("/")

    def opened(self) -> list[ImageFile]:
        """Return the files with the wanted suffixes."""
        return [ImageFile(self.below(name), self.files, name) for name in self.names]

    def left_out(self) -> str:
        """Return in words how many files are not used, and the first of them, or ""."""
        if not (count := len(self.unused)):
            return ""
        shown = ", ".join(printable(self.below(name)) for name in self.unused[:_NAMED])
        more = ", ..." if count > _NAMED else ""
        return f"{count:,} other file{'s' if count > 1 else ''} not used: {shown}{more}"


def listed(
    path: str | Path,
    field: str,
    out: Path | None = None,
    suffixes: Collection[str] = SUFFIXES,
    what: str = "images",
) -> Listing:
    """Return the files at a path.

    Args:
      path: a file, a folder with sub-folders, a zip, or a file or folder in a zip.
      field: the flag or field of the path, for messages.
      out: the folder of the outputs, as for `apart`; ``None``: there is none.
      suffixes: of the files in a folder or archive.
      what: such files are, for messages.

    Raises:
      DataError: there are none.
      ConfigError: as for `apart`.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() != ".zip":
        return Listing(Folder(path.parent), "", [path.name], [])
    files, inside = open_files(path, field)
    if inside and inside in files.sizes():
        return Listing(files, os.path.dirname(inside), [inside], [])
    found, others = files_in(files, inside, suffixes, what, field)
    names = sorted(found)
    unused = sorted(name for name in others if not name.endswith("/"))
    listing = Listing(files, inside, names, unused)
    return listing if out is None else apart(listing, path, field, out, what)


def apart(listing: Listing, path: Path, field: str, out: Path, what: str) -> Listing:
    """Return a listing without the files in the folder of the outputs, which may be below ``path``.

    Args:
      listing: of ``path``; a folder of frames, which is one video, is a name in it.
      path: a file, a folder, a zip, or a place in a zip.
      field: its flag or field, for messages.
      out: the folder of the outputs.
      what: the files are, for messages.

    Raises:
      ConfigError: later runs would take outputs for inputs: ``out`` is ``path``, or in a folder of
        frames.
      DataError: there are no others.
    """
    root, place = path.resolve(), out.resolve()
    if not path.is_dir() or root not in (place, *place.parents):
        return listing
    parts = place.relative_to(root).parts
    at_or_above = {"/".join(parts[:count]) for count in range(len(parts) + 1)}
    if (video := next((name for name in listing.names if name in at_or_above), None)) is not None:
        raise ConfigError(
            f"--out={out} is in {listing.files.full_name(video)}, which has the frames of a video; "
            "accepted: a folder outside it"
        )
    if place == root:
        raise ConfigError(
            f"--out={out} is {field}={path} itself, where the next run would take outputs for "
            f"{what}; accepted: another folder, which may be in it"
        )
    below = f"{'/'.join(parts)}/"
    names, unused = (
        [name for name in some if not name.startswith(below)]
        for some in (listing.names, listing.unused)
    )
    if not names:
        raise DataError(f"{path} ({field}) has no {what} but those in {out}")
    return listing._replace(names=names, unused=unused)


def check_outside(picture: str | Path, flag: str, path: str | Path, field: str) -> None:
    """Raise a `ConfigError` if a picture to be written, by ``flag``, is in a folder of images."""
    if Path(path).resolve() in Path(picture).resolve().parents:
        raise ConfigError(
            f"{flag}={picture} is in {field}={path}, where the next run would take it for one of "
            "the images; accepted: a place outside it"
        )


def outputs(
    files: Sequence[ImageFile],
    out: Path,
    suffix: str,
    *,
    overwrite: bool = False,
    formats: Mapping[str, Any] = FORMATS,
) -> list[Path]:
    """Return the output path of each file.

    Args:
      files: as `find` gives them.
      out: the folder; their sub-folders are kept below it.
      suffix: of ``formats``, in place of theirs.
      overwrite: replace existing files.
      formats: those that can be written, by suffix.

    Raises:
      ConfigError: two have one place, one is an input itself, or the format is unknown.
      DataError: a name in an archive leads outside ``out``, or is too long.
      WorkdirError: one exists already, or ``out`` is no folder.
    """
    lookup(formats, suffix, "--format")
    if out.exists() and not out.is_dir():
        raise WorkdirError(f"--out={out} is a file; accepted: a folder")
    places: dict[Path, ImageFile] = {}
    for file in files:
        inside = Path(file.name)
        if inside.anchor or inside.drive or ".." in inside.parts:
            raise DataError(
                f"{file.full_name} would be written outside --out={out}; "
                "accepted: names without '..'"
            )
        place = out / f"{file.stem}.{suffix}"
        if (longest := max(len(os.fsencode(p)) for p in inside.parts)) > _NAME_BYTES:
            raise DataError(
                f"{file.full_name} has a name of {longest} bytes; accepted: up to {_NAME_BYTES}"
            )
        if place in places:
            raise ConfigError(
                f"--input has {places[place].name} and {file.name}, which would both become "
                f"{place}; accepted: one of them at a time"
            )
        places[place] = file
    for place, file in places.items():
        if above := next((parent for parent in place.parents if parent in places), None):
            raise ConfigError(
                f"--input has {places[above].name} and {file.name}, and {above} cannot become both "
                "a file and a folder; accepted: one of them at a time"
            )
    inputs = {(f.files.path / f.inside).resolve() for f in files if isinstance(f.files, Folder)}
    other = "another folder, or --format" if len(formats) > 1 else "another folder"
    for place in places:
        if place.resolve() in inputs:
            raise ConfigError(f"--out={out}: {place} is an input; accepted: {other}")
    there = [place for place in places if place.exists()]
    if there and not overwrite:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise WorkdirError(f"{there[0]} already exists{more}; pass --overwrite to replace it")
    return list(places)


def match(files: Sequence[ImageFile], masks: Sequence[ImageFile]) -> list[ImageFile]:
    """Return the mask of each file: the only one, or that of the same name whatever the suffix.

    Raises:
      ConfigError: an image has no mask, or two.
    """
    if len(masks) == 1:
        return list(masks) * len(files)
    named: dict[str, ImageFile] = {}
    for mask in masks:
        name = mask.stem
        if name in named:
            raise ConfigError(f"--mask has {named[name].name} and {mask.name}; accepted: one")
        named[name] = mask
    for file in files:
        if file.stem not in named:
            raise ConfigError(
                f"--mask has nothing for {file.name}; accepted: a mask of the name {file.stem} "
                "for every image, with any suffix"
            )
    return [named[file.stem] for file in files]


def has_alpha(file: ImageFile) -> bool:
    """Return whether an image file has transparency; ``False`` if it is not an image."""
    try:
        with opened(file.read()) as image:
            return _is_see_through(image)
    # An unreadable file is reported when it is read.
    except Exception:
        return False


def read(file: ImageFile, channels: int, levels: Levels | None = None) -> Picture:
    """Return the content of a file, with 1 channel (grey) or 3; see `picture`.

    Raises:
      DataError: it cannot be read or decoded; the message has the reason alone.
    """
    return picture(file.read(), channels, levels)


def size(raw: bytes) -> tuple[int, int]:
    """Return the height and the width of the image that the bytes of a file hold, by its header.

    Raises:
      DataError: it is not an image; the message has the reason alone.
    """
    try:
        with opened(raw) as image:
            return image.height, image.width
    # Pillow's decoders raise many kinds of errors about damaged files.
    except Exception as error:
        raise DataError(reason(error)) from error


def picture(raw: bytes, channels: int, levels: Levels | None = None) -> Picture:
    """Return the image that the bytes of a file hold, with 1 channel (grey) or 3.

    Args:
      raw: the bytes.
      channels: 1 or 3.
      levels: black and white of pixels of more than 8 bits; ``None``: the least and the greatest
        value.

    Raises:
      DataError: it cannot be decoded; the message has the reason alone.
    """
    try:
        with opened(raw) as stored:
            see_through = _is_see_through(stored)
            ImageOps.exif_transpose(stored, in_place=True)
            image, alpha = _split(stored) if see_through else (decode(raw, levels), None)
            image = image.convert("L" if channels == 1 else "RGB")
    # Pillow's decoders raise many kinds of errors about damaged files.
    except Exception as error:
        raise DataError(reason(error)) from error
    pixels = np.array(image)
    return Picture(pixels[:, :, None] if pixels.ndim == 2 else pixels, alpha)


def _is_see_through(image: Image.Image) -> bool:
    # Of these modes the decoder knows no transparency either.
    return image.has_transparency_data and not image.mode.startswith(("1", "I", "F"))


def _split(image: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """Return the colours of an image with transparency, "RGB", and its alpha."""
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    # Pixels that are translucent keep their own colour, since the output is translucent there too;
    # those of fully transparent pixels are arbitrary and must not influence their neighbours.
    unseen = alpha.point([255] + [0] * 255)
    colours = image.convert("RGB")
    colours.paste((255, 255, 255), mask=unseen)
    return colours, np.array(alpha)


def encode(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    suffix: str,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of an image file in one of `FORMATS`.

    Args:
      pixels: uint8 ``[height, width, 1 or 3]``.
      alpha: uint8 ``[height, width]``, or ``None``. JPEG has none: the image is put on white.
      suffix: of the format.
      text: by its keys, for PNG.

    Raises:
      DataError: the format cannot hold it; the message has the reason alone.
    """
    kind, options = lookup(FORMATS, suffix, "--format")
    if kind == "PNG":
        options = {**options, "pnginfo": grids.text_chunks(text)}
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if alpha is not None and kind == "JPEG":
        white = Image.new(image.mode, image.size, "white")
        image = Image.composite(image, white, Image.fromarray(alpha))
    elif alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=kind, **options)
    # Such as more pixels on a side than the format can count.
    except Exception as error:
        raise DataError(f"cannot be written as {suffix}: {error}") from error
    return buffer.getvalue()
