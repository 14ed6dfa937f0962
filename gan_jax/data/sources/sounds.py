"""Sound files in a folder or a zip archive, read in place by libsndfile.

Folders are splits and classes as those of images are, see `gan_jax.data.sources.splits`. Files of
any rate, width, number of channels and length are brought to one form, `Clip`. They are WAV (8 to
32 bits, or floating-point), FLAC, Ogg, MP3 and AIFF.
"""

import dataclasses
import io
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources import survey
from gan_jax.data.sources.base import Example, identity
from gan_jax.data.sources.containers import by_suffix, files_in
from gan_jax.data.sources.files import FileSource
from gan_jax.data.sources.splits import choose_split
from gan_jax.data.spec import Field
from gan_jax.errors import DataError, require

SUFFIXES = frozenset([".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wave"])
# Files that are looked at to say how the set is stored.
_SURVEYED = 64
# A WAV that was written to a pipe has no length, or this one.
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF, 0xFFFFFFFF - 8)
_FULL_SCALE = 32768.0


@dataclasses.dataclass(frozen=True)
class Clip:
    """The form that sound files are brought to.

    Attributes:
      sample_rate: in Hz; files of other rates are resampled.
      samples: number of samples: of a longer sound the first ones, and a shorter one is followed by
        silence.
      channels: 1: the mean of a file's channels; 2: a file of one channel has it twice, and more
        than two are an error.
    """

    sample_rate: int = 16_000
    samples: int = 16_384
    channels: int = 1

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(self.sample_rate >= 1, "data.sound.sample_rate", self.sample_rate, "1 or more")
        require(self.samples >= 1, "data.sound.samples", self.samples, "1 or more")
        require(self.channels in (1, 2), "data.sound.channels", self.channels, "1 or 2")

    def of(self, raw: bytes) -> np.ndarray:
        """Return the sound of a file's bytes, int16 ``[samples, channels]``.

        Values beyond full scale, which floating-point files may have, are clipped.

        Raises:
          ValueError: it is empty, truncated or not finite, or has too many channels.
          RuntimeError: libsndfile cannot read it.
        """

        def needed(rate: int) -> int:
            down, up = (x // math.gcd(rate, self.sample_rate) for x in (rate, self.sample_rate))
            # The filter of `resample_poly` reaches over 10 samples of the lower rate.
            return -(-self.samples * down // up) + 10 * max(1, -(-down // up)) + 1

        sound, rate = decode(raw, needed)
        if self.channels == 1:
            sound = sound.mean(axis=1, keepdims=True)
        elif sound.shape[1] > 2:
            raise ValueError(
                f"has {sound.shape[1]} channels; accepted with data.sound.channels = 2: 1 or 2"
            )
        sound = resample(sound, rate, self.sample_rate)
        clip = np.zeros((self.samples, self.channels), np.float32)
        clip[: len(sound)] = sound[: self.samples]
        return quantize(clip)


def decode(
    raw: bytes, needed: Callable[[int], int] = lambda rate: sys.maxsize
) -> tuple[np.ndarray, int]:
    """Return the sound of a file's bytes, float32 ``[samples, channels]``, and its rate in Hz.

    Args:
      raw: the bytes.
      needed: how many samples are read at most, given the rate.

    Raises:
      ValueError: it is empty, truncated or not finite.
      RuntimeError: libsndfile cannot read it.
    """
    with library().SoundFile(io.BytesIO(raw)) as file:
        frames = min(file.frames, needed(file.samplerate))
        sound, rate = file.read(frames, dtype="float32", always_2d=True), file.samplerate
    if not frames:
        raise ValueError("has no samples")
    if len(sound) < frames or _is_cut(raw):
        raise ValueError("is truncated")
    if not np.isfinite(sound).all():
        raise ValueError("has samples that are not finite numbers")
    return sound, rate


def resample(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return a sound ``[samples, channels]`` of one rate at another."""
    if rate == wanted:
        return sound
    from scipy.signal import resample_poly  # Slow to import, and needed for sound only.

    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(sound, wanted // common, rate // common, axis=0))


def quantize(sound: np.ndarray) -> np.ndarray:
    """Return a sound in [-1, 1] as int16; values beyond are clipped."""
    levels = np.round(sound * _FULL_SCALE)
    return np.clip(levels, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


class SoundSource(FileSource):
    """Sound files as ``audio``, int16 ``[samples, channels]``, with the folders as labels.

    Args:
      path: folder, zip, or place inside a zip.
      split: as of a folder of images.
      clip: the form that the files are brought to.
      on_error: what happens at a file that is no intact sound, as of a folder of images.

    Raises:
      ConfigError: ``path`` is not set; ``split`` or ``on_error`` is unknown.
      DataError: the path does not exist, or has no sounds; soundfile is not installed.
    """

    def __init__(self, path: str | Path | None, split: str, clip: Clip, on_error: str = "raise"):
        super().__init__(path, split, on_error, "sounds", "sounds")
        library()
        self._clip = clip
        found, others = files_in(self.files, self._inside, SUFFIXES, "sounds")
        part = choose_split(sorted(found), self._inside, split, self.files.full_name, what="sounds")
        self.names, self.labels = part.names, part.labels
        self._sizes = [found[name] for name in part.names]
        self.unused = (*part.unused, *by_suffix(others))
        self._decode_or_next(0)
        field = Field("audio", (clip.samples, clip.channels), "int16", sample_rate=clip.sample_rate)
        self.spec = specs.labelled("audio", field, part.class_names)
        self.notes = self._survey()

    def _survey(self) -> tuple[str, ...]:
        """Return how the files are stored, and what becomes of them, in words."""
        infos = []
        for index in survey.spread(len(self), _SURVEYED):
            try:
                infos.append(library().info(io.BytesIO(self.raw(index))))
            except (RuntimeError, ValueError):
                continue  # It is reported when it is read.
        clip, seconds = self._clip, [info.duration for info in infos]
        rates, channels = [i.samplerate for i in infos], [i.channels for i in infos]
        return (
            f"stored: {_span(rates)} Hz, {_span(channels)} channel(s), {min(seconds):.2f} to "
            f"{max(seconds):.2f} s",
            f"read as {clip.samples} samples at {clip.sample_rate} Hz "
            f"({clip.samples / clip.sample_rate:.2f} s), {clip.channels} channel(s)",
        )

    @override
    def _decoded(self, raw: bytes) -> np.ndarray:
        return self._clip.of(raw)

    @override
    def _reason(self, error: Exception) -> str:
        if isinstance(error, ValueError):
            return str(error)
        return f"is no sound that can be decoded: {getattr(error, 'error_string', error)}"

    @override
    def _preparation(self) -> Any:
        return self._clip, self.on_error, library().__libsndfile_version__

    @override
    def __getitem__(self, index: int) -> Example:
        found, sound = self._decode_or_next(range(len(self))[index])
        return self._labelled({"audio": sound}, found)

    @override
    def fingerprint(self) -> str:
        return identity("sounds", self, self._content)


def library() -> Any:
    """Return the module soundfile, an optional dependency.

    Raises:
      DataError: it is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise DataError(
            "sound files are read by soundfile, which is not installed: pip install soundfile"
        ) from error
    return soundfile


def _is_cut(raw: bytes) -> bool:
    """Return whether a WAV is shorter than its header says, which libsndfile does not report.

    Some programs count a last byte, of padding, that they do not write.
    """
    if raw[:4] != b"RIFF":
        return False
    length = int.from_bytes(raw[4:8], "little")
    return length not in _UNKNOWN_LENGTH and length + 8 > len(raw) + 1


def _span(values: Sequence[int]) -> str:
    """Return the least and the greatest value, or the one value."""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
