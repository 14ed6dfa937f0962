"""Bars of the MIDI files in a folder or a zip archive, read by mido.

Folders are splits and classes as those of images are, see `gan_jax.data.sources.splits`. Of a file,
the notes of all tracks and channels are used but those of channel 10, percussion. Times are rounded
to sixteenth notes, and a file is divided into bars of equal length from its beginning, whatever its
time signature is. Bars without a note are left out.
"""

import dataclasses
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax.data.sources.base import ArraySource, content_hash, identity
from gan_jax.data.sources.containers import Files, by_suffix, files_in, open_files
from gan_jax.data.sources.files import ON_ERROR, checked_path
from gan_jax.data.sources.splits import choose_split
from gan_jax.data.spec import LABEL, labelled, music
from gan_jax.errors import ConfigError, DataError, require
from gan_jax.report.midi import STEPS_PER_BEAT

SUFFIXES = frozenset([".mid", ".midi"])
# Longer files, of 18 hours at 120 beats a minute, have damaged times.
_MOST_STEPS = 2**19
_PERCUSSION = 9
# What mido raises on damaged files, beside its own exception.
_DAMAGED = (EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, struct.error)


@dataclasses.dataclass(frozen=True)
class Bars:
    """How MIDI files are divided into piano rolls.

    Attributes:
      steps: sixteenth notes of a bar.
      lowest_pitch: the MIDI number of the lowest pitch; 36 is C2, and 60 is C4.
      pitches: number of pitches, in semitones; notes outside are left out, and how many is
        reported.
    """

    steps: int = 16
    lowest_pitch: int = 36
    pitches: int = 48

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(self.steps >= 1, "data.music.steps", self.steps, "1 or more")
        lowest, most = self.lowest_pitch, 128 - self.lowest_pitch
        require(0 <= lowest <= 127, "data.music.lowest_pitch", lowest, "0 to 127")
        require(1 <= self.pitches <= most, "data.music.pitches", self.pitches, f"1 to {most}")

    def of(self, raw: bytes) -> tuple[np.ndarray, int, int]:
        """Return the bars of a file, uint8 ``[n, steps, pitches, 1]``, its notes, and those used.

        Raises:
          ValueError, or another of `_DAMAGED`: it is no intact MIDI file.
        """
        try:
            file = library().MidiFile(file=io.BytesIO(raw))
        except library().KeySignatureError as error:
            raise ValueError(str(error)) from error
        if file.ticks_per_beat <= 0 or file.type == 2:
            raise ValueError("its times are frames, or of tracks that are not played together")
        found = [note for track in file.tracks for note in _notes(track, file.ticks_per_beat)]
        used = [
            (start, end, pitch - self.lowest_pitch)
            for start, end, pitch in found
            if 0 <= pitch - self.lowest_pitch < self.pitches
        ]
        length = max((end for _, end, _ in used), default=0)
        if length > _MOST_STEPS:
            raise ValueError(f"it lasts for {length} sixteenth notes; accepted: {_MOST_STEPS}")
        roll = np.zeros((-(-length // self.steps) * self.steps, self.pitches, 1), np.uint8)
        for start, end, column in used:
            roll[start:end, column] = 1
        bars = roll.reshape(-1, self.steps, self.pitches, 1)
        return bars[bars.any(axis=(1, 2, 3))], len(found), len(used)


def _notes(track: Any, ticks_per_beat: int) -> Iterator[tuple[int, int, int]]:
    """Return the notes of a track as ``(first step, step after the last, pitch)``."""
    now = 0
    sounding: dict[tuple[int, int], int] = {}

    def step(ticks: int) -> int:
        return (2 * STEPS_PER_BEAT * ticks + ticks_per_beat) // (2 * ticks_per_beat)

    def ended(key: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
        if (since := sounding.pop(key, None)) is not None:
            # The shortest note has a step.
            yield step(since), max(step(now), step(since) + 1), key[1]

    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _PERCUSSION:
            continue
        key = message.channel, message.note
        yield from ended(key)
        if message.type == "note_on" and message.velocity:
            sounding[key] = now
    for key in list(sounding):
        yield from ended(key)


class MidiSource(ArraySource):
    """Bars in memory: ``music``, uint8 ``[steps, pitches, 1]``, with the folders as labels.

    Args:
      path: folder, zip, or place inside a zip.
      split: as of a folder of images.
      bars: how files are cut.
      on_error: what happens at a damaged file: "raise" reports its name, "skip" leaves it out, and
        how many there are is reported.

    Raises:
      ConfigError: ``path`` is not set; ``split`` or ``on_error`` is unknown.
      DataError: the path does not exist, a file is damaged, there are no bars, or mido is not
        installed.
    """

    def __init__(self, path: str | Path | None, split: str, bars: Bars, on_error: str = "raise"):
        if on_error not in ON_ERROR:
            raise ConfigError(f"data.on_error = {on_error!r}; accepted: {', '.join(ON_ERROR)}")
        library()
        self.path = checked_path(path, "midi", "MIDI files")
        self._bars, self._on_error = bars, on_error
        files, inside = open_files(self.path)
        found, others = files_in(files, inside, SUFFIXES, "MIDI files")
        part = choose_split(sorted(found), inside, split, files.full_name, what="MIDI files")
        self._places: list[tuple[str, int]] = []
        rolls, labels, damaged, notes, used = [], [], [], 0, 0
        for name, label in zip(part.names, part.labels, strict=True):
            try:
                cut, all_notes, inside_notes = bars.of(_read(files, name))
            except _DAMAGED as error:
                reason = str(error) or "it is truncated"
                what = f"{files.full_name(name)} is no intact MIDI file: {reason}"
                if on_error == "raise":
                    raise DataError(f'{what} (data.on_error = "skip" leaves it out)') from error
                damaged.append(what)
                continue
            rolls.append(cut)
            labels += [label] * len(cut)
            self._places += [(files.full_name(name), i) for i in range(len(cut))]
            notes, used = notes + all_notes, used + inside_notes
        if not labels:
            first = f"; the first of {len(damaged)} damaged files: {damaged[0]}" if damaged else ""
            raise DataError(
                f"{self.path} has {notes} notes, and none of the pitches {bars.lowest_pitch} to "
                f"{bars.lowest_pitch + bars.pitches - 1} (data.music){first}"
            )
        field = music((bars.steps, bars.pitches), bars.lowest_pitch)
        arrays = {"music": np.concatenate(rolls)}
        if part.class_names is not None:
            arrays[LABEL] = np.asarray(labels, np.int32)
        said = [f"{len(labels):,} bars of {len(rolls):,} files"]
        if used < notes:
            said.append(f"{notes - used:,} of {notes:,} notes are of other pitches, and left out")
        if damaged:
            said.append(f"{len(damaged)} damaged files are left out; the first: {damaged[0]}")
        spec = labelled("music", field, part.class_names)
        super().__init__(self.path.stem, split, arrays, spec, said)
        self.unused = (*part.unused, *by_suffix(others))

    @override
    def item_name(self, index: int) -> str:
        name, bar = self._places[index]
        return f"{name}[{bar}]"

    @override
    def fingerprint(self) -> str:
        return identity("midi", self, content_hash(x.tobytes() for x in self.arrays.values()))

    # A worker is sent the path instead of the arrays.
    def __reduce__(self):
        return MidiSource, (self.path, self.split, self._bars, self._on_error)


def _read(files: Files, name: str) -> bytes:
    """Return the bytes of a file.

    Raises:
      DataError: it cannot be read.
    """
    try:
        return files.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{files.full_name(name)} cannot be read: {error}") from error


def library() -> Any:
    """Return the module mido, an optional dependency.

    Raises:
      DataError: it is not installed.
    """
    try:
        import mido
    except ImportError as error:
        raise DataError(
            "MIDI files are read by mido, which is not installed: pip install mido"
        ) from error
    return mido
