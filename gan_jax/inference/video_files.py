"""The videos that a run is to continue: files, and folders of numbered frames.

They are those that a data set of videos may have (`gan_jax.data.sources.videos`), and are decoded
in the same way.
"""

import dataclasses
import os
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from typing_extensions import override

from gan_jax.data.sources import images, videos
from gan_jax.data.sources.containers import by_suffix
from gan_jax.data.sources.frames import STILLS, Frames, VideoError, check_beside, frames_in
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.videos import Film
from gan_jax.errors import DataError
from gan_jax.inference import image_files
from gan_jax.inference.image_files import ImageFile


@dataclasses.dataclass(frozen=True)
class VideoFile(ImageFile):
    """A file that may hold a video."""

    def video(self, film: Film, form: Transform) -> np.ndarray:
        """Return the frames that are used, uint8 ``[frames, height, width, channels]``.

        Args:
          film: which.
          form: that they are brought to.

        Raises:
          DataError: it is no such video; the message has the reason alone.
        """
        try:
            return self._decoded(film, form)
        # Decoders of animations and films raise many kinds of errors about damaged files.
        except Exception as error:
            raise DataError(_reason(error)) from error

    def _decoded(self, film: Film, form: Transform) -> np.ndarray:
        return film.decoded(self.read(), form)


@dataclasses.dataclass(frozen=True)
class FrameFolder(VideoFile):
    """A folder whose images are the frames of one video.

    Attributes:
      frames: the images.
    """

    frames: Frames

    @property
    @override
    def stem(self) -> str:
        return self.name

    @override
    def _decoded(self, film: Film, form: Transform) -> np.ndarray:
        return film.of(map(self._still, self.frames.chosen(film.places)), form)

    def _still(self, path: str) -> Image.Image:
        try:
            return videos.still(self.files.read(path))
        # As above.
        except Exception as error:
            raise DataError(f"{PurePosixPath(path).name} {_reason(error)}") from error


def find(path: str | Path, out: Path) -> tuple[list[VideoFile], str]:
    """Return the videos at the path ``--input``, sorted by name.

    Args:
      path: a video file, a folder with sub-folders, a zip, or a file or folder in a zip. A folder
        of numbered frames is a video, itself or below the path.
      out: the folder of the outputs; those in it are left out.

    Returns:
      The videos, and in words which files are not used.

    Raises:
      DataError: there are none; or frames are not in folders of their own, see `frames_in` and
        `check_beside`.
      ConfigError: outputs would be among the inputs, see `image_files.apart`.
    """
    suffixes = videos.ANIMATIONS | videos.FILMS | STILLS
    listing = image_files.listed(path, "--input", None, suffixes, "videos")
    files, inside, names, unused = listing
    # A path that leads to a single image is not that of a video.
    alone = [os.path.basename(name) for name in names] != [Path(path).name]
    folders, others = frames_in(files, dict.fromkeys(names, 0), inside, alone=alone)
    frames = {name for folder in folders.values() for name in folder.names}
    if not (found := sorted({*names, *folders} - frames - {*others})):
        raise DataError(f"{path} (--input) has no videos, but {', '.join(by_suffix(others))}")
    whole = listing._replace(names=found, unused=sorted([*unused, *others]))
    kept = image_files.apart(whole, Path(path), "--input", out, "videos")
    # Where outputs would be among frames, that is the reason, not those of an earlier run.
    check_beside(files, folders, found)

    def opened(name: str) -> VideoFile:
        below = listing.below(f"{name}/").rstrip("/") or os.path.basename(inside) or files.name
        where = below, files, name
        return FrameFolder(*where, folders[name]) if name in folders else VideoFile(*where)

    return [opened(name) for name in kept.names], kept.left_out()


def _reason(error: Exception) -> str:
    own = isinstance(error, VideoError | DataError)
    return str(error) if own else images.reason(error)
