"""Video files in a folder or a zip archive, read in place.

Folders are splits and classes as those of images are, see `gan_jax.data.sources.splits`. Files are
animations (GIF, WebP, PNG), or films (MP4 and others) where the package av is installed. Their
frames are brought to one form, `Film` and the settings of images.
"""

import dataclasses
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources import images
from gan_jax.data.sources.base import Example, identity
from gan_jax.data.sources.containers import by_suffix, files_in
from gan_jax.data.sources.files import FileSource
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.splits import choose_split
from gan_jax.data.spec import Field
from gan_jax.errors import require

ANIMATIONS = frozenset([".apng", ".gif", ".png", ".webp"])
FILMS = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"])


@dataclasses.dataclass(frozen=True)
class Film:
    """Which frames of a video file are used.

    Attributes:
      frames: number of frames: the first ones. A file of fewer is an error, see ``data.on_error``.
      every: of a file's frames, every one of this number counts.
    """

    frames: int = 16
    every: int = 1

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(self.frames >= 1, "data.video.frames", self.frames, "1 or more")
        require(self.every >= 1, "data.video.every", self.every, "1 or more")

    def of(self, frames: Iterator[Image.Image], transform: Transform) -> np.ndarray:
        """Return the video, uint8 ``[frames, height, width, channels]``, of a file's frames.

        Raises:
          ValueError: they are too few.
        """
        chosen = itertools.islice(frames, 0, (self.frames - 1) * self.every + 1, self.every)
        # The first frame of a grey animation may be stored as grey, and the others as colour.
        form = dataclasses.replace(transform, channels=transform.channels or 3)
        found = [form(frame) for frame in chosen]
        if len(found) < self.frames:
            of = f" with data.video.every = {self.every}" if self.every > 1 else ""
            raise ValueError(
                f"has {len(found)} frames{of}; accepted with data.video.frames = {self.frames}: "
                f"{self.frames} or more"
            )
        video = np.stack(found)
        is_grey = transform.channels is None and (video == video[..., :1]).all()
        return video[..., :1] if is_grey else video


class VideoSource(FileSource):
    """Video files as ``video``, uint8 ``[frames, height, width, channels]``; folders as labels.

    Args:
      path: folder, zip, or place inside a zip.
      split: as of a folder of images.
      film: which frames are used.
      transform: the form that each frame is brought to; without a size or channels that of the
        first file.
      on_error: what happens at a file that is no intact video, as of a folder of images.

    Raises:
      ConfigError: ``path`` is not set; ``split`` or ``on_error`` is unknown; frames cannot be
        brought to the form.
      DataError: the path does not exist, or has no videos.
    """

    def __init__(
        self,
        path: str | Path | None,
        split: str,
        film: Film,
        transform: Transform,
        on_error: str = "raise",
    ) -> None:
        super().__init__(path, split, on_error, "videos", "videos")
        self._film, self._transform = film, transform
        transform.check_files()
        suffixes = ANIMATIONS | FILMS if _has_av() else ANIMATIONS
        found, others = files_in(self.files, self._inside, suffixes, "videos")
        part = choose_split(sorted(found), self._inside, split, self.files.full_name)
        self.names, self.labels = part.names, part.labels
        self._sizes = [found[name] for name in part.names]
        films = sum(Path(name).suffix.lower() in FILMS for name in others)
        self.unused = (*part.unused, *by_suffix(others))
        _, first = self._decode_or_next(0)
        shape = first.shape
        self._transform = dataclasses.replace(transform, resolution=shape[1:3], channels=shape[-1])
        self.spec = specs.labelled("video", Field("video", shape, "uint8"), part.class_names)
        height, width = shape[1:3]
        self.notes = (f"read as {shape[0]} frames of {height}x{width}",)
        if films and not _has_av():
            self.notes += (f"{films} films are left out: pip install av reads them",)

    @override
    def _decoded(self, raw: bytes) -> np.ndarray:
        return self._film.of(_frames(raw), self._transform)

    @override
    def _reason(self, error: Exception) -> str:
        if isinstance(error, ValueError) and str(error).startswith("has "):
            return str(error)
        return images.reason(error).replace("is not an image", "is not a video")

    @override
    def _preparation(self) -> Any:
        return self._film, self._transform, self.on_error

    @override
    def __getitem__(self, index: int) -> Example:
        found, video = self._decode_or_next(range(len(self))[index])
        return self._labelled({"video": video}, found)

    @override
    def fingerprint(self) -> str:
        return identity("videos", self, self._content)


def _has_av() -> bool:
    """Return whether films can be read."""
    try:
        import av
    except ImportError:
        return False
    return bool(av)


def _frames(raw: bytes) -> Iterator[Image.Image]:
    """Return the frames of a file, of mode "L" or "RGB"; transparency is put on white."""
    try:
        animation = Image.open(io.BytesIO(raw), formats=("GIF", "PNG", "WEBP"))
    except UnidentifiedImageError:
        if not _has_av():
            raise
        yield from _film_frames(raw)
        return
    with animation:
        for frame in ImageSequence.Iterator(animation):
            yield images.to_grey_or_rgb(frame.copy())


def _film_frames(raw: bytes) -> Iterator[Image.Image]:
    import av  # An optional dependency.

    try:
        file = av.open(io.BytesIO(raw), "r")
    except av.FFmpegError as error:
        raise UnidentifiedImageError("no format that is known") from error
    with file:
        for frame in file.decode(video=0):
            yield frame.to_image()
