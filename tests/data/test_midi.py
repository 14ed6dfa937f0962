"""Folders of MIDI files: bars, times, tracks and pitches, and files that are damaged."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from gan_jax.data import kinds
from gan_jax.data.sources import make_source, scales
from gan_jax.data.sources.midi import Bars
from gan_jax.errors import ConfigError, DataError

mido = pytest.importorskip("mido", reason="mido reads MIDI files (extra: music)")

SMALL = {"steps": 4, "lowest_pitch": 60, "pitches": 5}


def encoded(*tracks, ticks=480, form=1):
    """Return a MIDI file of tracks: lists of ``(kind, note, velocity, ticks before, channel)``."""
    file = mido.MidiFile(type=form, ticks_per_beat=ticks)
    for track in tracks:
        messages = (
            mido.Message(kind, note=note, velocity=velocity, time=time, channel=channel)
            for kind, note, velocity, time, channel in track
        )
        file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def note(pitch, before, length, channel=0):
    """Return a note that begins some ticks after the last message."""
    return [("note_on", pitch, 80, before, channel), ("note_off", pitch, 0, length, channel)]


def shown(bars):
    """Return rolls as columns of notes, a string each."""
    rows = ["".join(map(str, np.flatnonzero(step))) or "-" for step in bars.reshape(-1, 5)]
    return " ".join(rows)


@pytest.fixture
def source(data_config, tmp_path):
    """Return a function that opens the folder."""

    def opened(path=tmp_path, **fields):
        music = {**SMALL, **fields.pop("music", {})}
        return make_source(data_config(name="midi", path=str(path), music=music, **fields))

    return opened


def test_times_are_rounded_to_sixteenths():
    # A sixteenth is 120 ticks: from 59 rounds to 0, from 60 to 1; the shortest note has a step.
    assert shown(Bars(**SMALL).of(encoded(note(60, 59, 240)))[0]) == "0 0 - -"
    assert shown(Bars(**SMALL).of(encoded(note(61, 60, 1)))[0]) == "- 1 - -"
    # Another division of a quarter note, and a note over two bars.
    across = note(62, 3 * 24, 2 * 24)
    assert shown(Bars(**SMALL).of(encoded(across, ticks=96))[0]) == "- - - 2 2 - - -"


def test_tracks_play_together_without_percussion():
    melody = note(60, 0, 240) + note(64, 0, 240)
    chord = [("note_on", 62, 80, 0, 3), ("note_on", 63, 80, 120, 3)]
    chord += [("note_on", 62, 0, 120, 3), ("note_off", 63, 0, 120, 3)]
    drums = note(61, 0, 480, channel=9)
    bars, notes, used = Bars(**SMALL).of(encoded(melody, chord, drums))
    assert shown(bars) == "02 023 34 4"
    assert (notes, used) == (4, 4)
    # Of two channels, each ends its own note; a note that does not end lasts as long as its track.
    same = [("note_on", 60, 80, 0, 0), ("note_on", 60, 80, 0, 1), ("note_off", 60, 0, 120, 0)]
    same += [("note_off", 60, 0, 120, 1)]
    open_end = [("note_on", 61, 80, 0, 0), ("note_off", 99, 0, 360, 0)]
    assert shown(Bars(**SMALL).of(encoded(same, open_end))[0]) == "01 01 1 -"


def test_silent_bars_and_other_pitches_are_left_out():
    found = note(59, 0, 120) + note(60, 0, 120) + note(64, 480, 120) + note(65, 0, 120)
    bars, notes, used = Bars(**SMALL).of(encoded(found))
    assert shown(bars) == "- 0 - - - - 4 -"
    assert (notes, used) == (4, 2)
    later = Bars(**SMALL).of(encoded(note(60, 8 * 120, 120)))[0]
    assert shown(later) == "0 - - -"
    assert len(Bars(**SMALL).of(encoded([]))[0]) == 0


def test_what_is_written_is_read_back():
    bars = scales("train", 12)
    kind, rule = kinds.of(bars.field), Bars(16, 60, 16)
    for roll in bars.arrays["music"]:
        np.testing.assert_array_equal(rule.of(kind.file(roll))[0], roll[None])


def test_folders_are_classes_and_an_archive_is_alike(source, tmp_path):
    folder = tmp_path / "set"
    for name, pitch in (("a/1.mid", 60), ("a/2.MIDI", 61), ("b/1.mid", 64)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(note(pitch, 0, 120) + note(pitch, 480, 120)))
    (folder / "read.me").write_text("")
    found = source(folder)
    assert (found.class_names, found.arrays["label"].tolist()) == (("a", "b"), [0, 0, 0, 0, 1, 1])
    assert shown(found.arrays["music"][::2]) == "0 - - - 1 - - - 4 - - -"
    assert found.field.lowest_pitch == 60
    assert found.notes == ("6 bars of 3 files",)
    assert "1 .me" in found.unused
    assert found.item_name(3) == str(folder / "a/2.MIDI[1]")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    packed = source(tmp_path / "set.zip")
    again = pickle.loads(pickle.dumps(packed))
    assert found.fingerprint() == packed.fingerprint() == again.fingerprint()


def test_damaged_files_are_named_or_left_out(source, tmp_path):
    good = encoded(note(60, 0, 120) + note(90, 0, 120))
    (tmp_path / "good.mid").write_bytes(good)
    damaged = {"cut": good[:-9], "text": b"no music", "empty": b""}
    damaged["frames"] = good[:12] + b"\xe7\x28" + good[14:]
    damaged["apart"] = encoded(note(60, 0, 120), form=2)
    damaged["endless"] = encoded(note(60, 2**28 - 1, 120), ticks=1)
    for name, content in damaged.items():
        path = tmp_path / f"{name}.mid"
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=rf"{name}\.mid is no intact MIDI file: .+\(data\.on_er"
        ):
            source()
        path.unlink()
    for name, content in damaged.items():
        (tmp_path / f"{name}.mid").write_bytes(content)
    found = source(on_error="skip")
    assert found.notes[:2] == (
        "1 bars of 1 files",
        "1 of 2 notes are of other pitches, and left out",
    )
    assert found.notes[2].startswith("6 damaged files are left out; the first: ")
    assert shown(found.arrays["music"]) == "0 - - -"


def test_damage_of_any_kind_is_reported():
    content = encoded(note(60, 0, 120) * 4)
    rng, rule = np.random.default_rng(0), Bars(**SMALL)
    from gan_jax.data.sources.midi import _DAMAGED

    for _ in range(300):
        raw = bytearray(content[: rng.integers(1, len(content) + 1)])
        for place in rng.integers(0, len(raw), 3):
            raw[place] = rng.integers(0, 256)
        try:
            bars, *_ = rule.of(bytes(raw))
        except _DAMAGED:
            continue
        assert bars.max(initial=0) <= 1


def test_mistakes_are_named(source, tmp_path, data_config):
    with pytest.raises(ConfigError, match=r"path is not set; accepted for data\.name = 'midi'"):
        make_source(data_config(name="midi"))
    with pytest.raises(DataError, match=r"has no MIDI files; accepted suffixes: \.mid \.midi"):
        source()
    (tmp_path / "a.mid").write_bytes(encoded(note(90, 0, 120)))
    with pytest.raises(DataError, match=r"has 1 notes, and none of the pitches 60 to 64 \(data\."):
        source()
    with pytest.raises(ConfigError, match=r"data\.on_error = 'no'; accepted: raise, skip"):
        source(on_error="no")
    for field, value, accepted in (
        ("steps", 0, "1 or more"),
        ("lowest_pitch", 128, "0 to 127"),
        ("pitches", 69, "1 to 68"),
    ):
        with pytest.raises(
            ConfigError, match=rf"data\.music\.{field} = {value}; accepted: {accepted}"
        ):
            source(music={field: value})
