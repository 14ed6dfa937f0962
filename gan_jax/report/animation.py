"""Animations: GIF and animated WebP files that loop forever, and MP4 files."""

import importlib.util
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from gan_jax import errors
from gan_jax.report import atomic

#: Formats by file suffix.
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".mp4": "MP4"}
#: Maximum frames per second; most programs show faster GIFs at ten per second.
MOST_FPS = 50.0


def check(path: str | Path, fps: float) -> None:
    """Check that an animation can be written, before its frames are computed.

    Raises:
      ConfigError: the format of the suffix cannot be written, or ``fps`` is out of range.
    """
    suffix = Path(path).suffix.lower()
    Image.init()
    known = [name for name, kind in FORMATS.items() if kind in Image.SAVE_ALL]
    if importlib.util.find_spec("av") is not None:
        known.append(".mp4")
    elif suffix == ".mp4":
        raise errors.ConfigError(
            f"{path} needs the video encoder of the package av: pip install -e '.[video]'; "
            f"accepted without it: {', '.join(known)}"
        )
    if suffix not in known:
        raise errors.ConfigError(f"{path} is no animation; accepted: {', '.join(known)}")
    if not 0 < fps <= MOST_FPS:
        raise errors.ConfigError(f"fps = {fps}; accepted: above 0, up to {MOST_FPS:g}")


def milliseconds(path: str | Path, fps: float) -> int:
    """Return the duration of a frame in milliseconds; GIF durations are multiples of 10 ms."""
    unit = 10 if Path(path).suffix.lower() == ".gif" else 1
    return max(1, round(1000 / fps / unit)) * unit


def save(path: str | Path, frames: Sequence[np.ndarray] | np.ndarray, fps: float) -> None:
    """Write an animation atomically.

    WebP and grey GIF files are lossless; a GIF in colour has 256 colours per frame. A frame that
    equals the previous one may be stored by extending the duration of that frame. MP4 files are
    H.264, of even height and width: the last row or column is repeated where necessary.

    Args:
      path: the file, a .gif, .webp or .mp4; an existing one is replaced, and a
        missing folder created.
      frames: uint8 ``[height, width, channels]`` with 1 or 3 channels, all of one shape.
      fps: frames per second, up to `MOST_FPS`.

    Raises:
      ConfigError: see `check`.
      ValueError: the frames have another dtype or shape, or there are none.
      WorkdirError: the file cannot be written.
    """
    check(path, fps)
    atomic.write_bytes(path, content(frames, fps, Path(path).suffix.lower()))


def content(frames: Sequence[np.ndarray] | np.ndarray, fps: float, suffix: str) -> bytes:
    """Return the content of the file that `save` writes; ``suffix`` is a key of `FORMATS`."""
    pictures = np.asarray(frames)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        raise ValueError(
            f"The frames are {pictures.dtype}{list(pictures.shape)}; accepted: uint8 [n, height, "
            "width, channels] of 1 or 3 channels."
        )
    if 0 in pictures.shape:
        raise ValueError(f"The frames have the shape {pictures.shape}; accepted: one or more.")
    if suffix == ".mp4":
        return _mp4(pictures, fps)
    images = [Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x) for x in pictures]
    buffer = io.BytesIO()
    options = {"save_all": True, "append_images": images[1:], "loop": 0}
    options["duration"] = milliseconds(f"video{suffix}", fps)
    kind = FORMATS[suffix]
    if kind == "WEBP":
        images[0].save(buffer, kind, lossless=True, **options)
    else:
        images[0].save(buffer, kind, disposal=1, **options)
    return buffer.getvalue()


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    """Return frames, uint8 ``[n, height, width, 1 or 3]``, as an MP4 file."""
    import av  # An optional dependency.

    odd = [(0, side % 2) for side in frames.shape[1:3]]
    colour = np.broadcast_to(frames, (*frames.shape[:3], 3))
    colour = np.pad(colour, [(0, 0), *odd, (0, 0)], mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = colour.shape[1:3]
        stream.pix_fmt = "yuv420p"  # What every player shows.
        stream.options = {"crf": "15"}
        for frame in colour:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        file.mux(stream.encode())
    return buffer.getvalue()
