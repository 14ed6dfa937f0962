"""Videos in a folder or a zip archive, read in place.

Folders are splits and classes as those of images are, see `gan_jax.data.sources.splits`. A video is
an animation (GIF, WebP, PNG), a film (MP4 and others) where the package av is installed, or a
folder of numbered images (`gan_jax.data.sources.frames`). Their frames are brought to one form,
`Film` and the settings of images.
"""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources import images, levels, survey
from gan_jax.data.sources.base import Example, identity
from gan_jax.data.sources.containers import by_suffix, files_in
from gan_jax.data.sources.files import CHECKED, FileSource
from gan_jax.data.sources.frames import STILLS, VideoError, check_beside, frames_in
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.splits import choose_split
from gan_jax.data.spec import Field
from gan_jax.errors import DataError, require

ANIMATIONS = frozenset([".apng", ".gif", ".png", ".webp"])
FILMS = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"])


@dataclasses.dataclass(frozen=True)
class Film:
    """Which frames of a video file are used.

    Attributes:
      frames: number of frames: the first ones. A video of fewer is an error, see
        ``data.on_error``.
      every: of a video's frames, every one of this number counts.
      setting: the one that ``frames`` is the value of, for messages.
    """

    frames: int = 16
    every: int = 1
    setting: str = dataclasses.field(default="data.video.frames", repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(self.frames >= 1, self.setting, self.frames, "1 or more")
        require(self.every >= 1, "data.video.every", self.every, "1 or more")

    @property
    def places(self) -> range:
        """The places in a file of the frames that are used."""
        return range(0, (self.frames - 1) * self.every + 1, self.every)

    def check(self, count: int) -> None:
        """Raise a `VideoError` if the frames that are used are fewer than ``frames``."""
        if count < self.frames:
            of = f" with data.video.every = {self.every}" if self.every > 1 else ""
            raise VideoError(
                f"has {count} frame{'' if count == 1 else 's'}{of}; accepted with {self.setting} = "
                f"{self.frames}: {self.frames} or more"
            )

    def decoded(self, raw: bytes, transform: Transform) -> np.ndarray:
        """Return the video of a file's content as `of` does.

        Raises:
          VideoError: as `of`; or it is no video.
        """
        places = self.places
        frames = itertools.islice(_frames(raw), places.start, places.stop, places.step)
        return self.of(frames, transform)

    def of(self, frames: Iterable[Image.Image], transform: Transform) -> np.ndarray:
        """Return the video, uint8 ``[frames, height, width, channels]``, of the frames used.

        Raises:
          VideoError: they are too few, or of several sizes.
        """
        # The first frame of a grey animation may be stored as grey, and the others as colour.
        form = dataclasses.replace(transform, channels=transform.channels or 3)
        found, sizes = [], set()
        for frame in frames:
            found.append(form(frame))
            sizes.add(f"{frame.height}x{frame.width}")
        self.check(len(found))
        if len(sizes) > 1:
            raise VideoError(f"has frames of {' and '.join(sorted(sizes))}; accepted: one size")
        video = np.stack(found)
        is_grey = transform.channels is None and (video == video[..., :1]).all()
        return video[..., :1] if is_grey else video


class VideoSource(FileSource):
    """Videos as ``video``, uint8 ``[frames, height, width, channels]``; folders as labels.

    Args:
      path: folder, zip, or place inside a zip.
      split: as of a folder of images.
      film: which frames are used.
      transform: the form that each frame is brought to; without a size or channels that of the
        first video.
      on_error: what happens at a file that is no intact video, as of a folder of images. Folders of
        too few frames, or with a gap, are an error at once, or left out.

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
        found, others = files_in(
            self.files, self._inside, ANIMATIONS | FILMS | STILLS, "videos or frames"
        )
        self._videos, unused = frames_in(self.files, found, self._inside)
        films = [] if _has_av() else [name for name in found if Path(name).suffix.lower() in FILMS]
        frames = {name for video in self._videos.values() for name in video.names}
        sizes = {name: found[name] for name in found.keys() - frames - {*unused, *films}}
        sizes |= {name: video.size for name, video in self._videos.items()}
        check_beside(self.files, self._videos, sorted({*sizes, *films}))
        others += [*unused, *films]
        if not sizes:
            raise DataError(f"{self.path} has no videos, but {', '.join(by_suffix(others))}")
        part = choose_split(sorted(sizes), self._inside, split, self.files.full_name, what="videos")
        self.unused = (*part.unused, *by_suffix(others))
        kept = self._intact(part.names)
        self.names, self.labels = [part.names[k] for k in kept], part.labels[kept]
        self._sizes = [sizes[name] for name in self.names]
        _, first = self._decode_or_next(0)
        shape = first.shape
        self._transform = dataclasses.replace(transform, resolution=shape[1:3], channels=shape[-1])
        self.spec = specs.labelled("video", Field("video", shape, "uint8"), part.class_names)
        height, width = shape[1:3]
        self.notes = (f"read as {shape[0]} frames of {height}x{width}",)
        if films:
            self.notes += (f"{len(films)} films are left out: pip install av reads them",)

    def _intact(self, names: Sequence[str]) -> list[int]:
        """Return which videos are files, or folders of enough frames; add others to ``unused``."""
        kept, reasons = [], []
        for place, name in enumerate(names):
            try:
                if name in self._videos:
                    self._film.check(len(self._videos[name].chosen(self._film.places)))
                kept.append(place)
            except VideoError as error:
                reasons.append(f"{self.files.full_name(name)} {error}")
        if reasons and (self.on_error == "raise" or not kept):
            leaves = ' (data.on_error = "skip" leaves it out)' if self.on_error == "raise" else ""
            raise DataError(f"{reasons[0]}{leaves}")
        if reasons:
            self.unused += (f"{len(reasons)} folders of frames; the first: {reasons[0]}",)
        return kept

    @override
    def _decode(self, index: int) -> np.ndarray:
        if (video := self._videos.get(self.names[index])) is None:
            found: np.ndarray = super()._decode(index)
            return found
        with self._decoding(self.item_name(index)):
            frames = map(self._still, video.chosen(self._film.places))
            return self._film.of(frames, self._transform)

    def _still(self, name: str) -> Image.Image:
        """Return a frame of a folder."""
        with self._decoding(self.files.full_name(name)):
            return still(self._read(name))

    @override
    def _checked(self, name: str) -> Sequence[str]:
        if (video := self._videos.get(name)) is None:
            return (name,)
        places = survey.spread(len(video.names), max(1, CHECKED // len(self)))
        return [video.names[place] for place in places]

    @override
    def _files(self) -> Sequence[str]:
        return [
            file
            for name in self.names
            for file in (self._videos[name].names if name in self._videos else (name,))
        ]

    @override
    def _decoded(self, raw: bytes) -> np.ndarray:
        return self._film.decoded(raw, self._transform)

    @override
    def _reason(self, error: Exception) -> str:
        return str(error) if isinstance(error, VideoError) else images.reason(error)

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


def still(raw: bytes) -> Image.Image:
    """Return a frame from the content of its file; raises `VideoError` if it cannot be one."""
    with images.opened(raw) as header:
        if getattr(header, "is_animated", False):
            raise VideoError("is an animation, beside single images")
        if levels.is_deep(header):
            raise VideoError("has more than 8 bits per channel; accepted for videos: 8")
    return images.decode(raw)


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
    except UnidentifiedImageError as error:
        if not _has_av():
            raise VideoError("is not a video, or is a film, which needs pip install av") from error
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
        raise VideoError("is not a video") from error
    with file:
        for frame in file.decode(video=0):
            yield frame.to_image()
