"""Music: bars of known scales and rhythms, piano rolls as networks see them, and MIDI files."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources import make_source
from gan_jax.data.sources.draws import random_arrays
from gan_jax.data.sources.scales import LOWEST_PITCH, scales
from gan_jax.errors import ConfigError
from gan_jax.report import midi, synthesis

SIZE = 2000


@pytest.fixture(scope="module")
def source():
    """Return bars, which tests do not change."""
    return scales("train", SIZE)


def test_bars_are_in_the_scale_of_their_class(source):
    rolls, labels = source.arrays["music"][..., 0], source.arrays["label"]
    assert source.spec["music"] == specs.music((16, 16), 60)
    assert np.bincount(labels).tolist() == [SIZE // 4] * 4
    semitones = {
        "C major": {0, 2, 4, 5, 7, 9, 11},
        "C minor": {0, 2, 3, 5, 7, 8, 10},
        "D major": {2, 4, 6, 7, 9, 11, 1},
        "D minor": {2, 4, 5, 7, 9, 10, 0},
    }
    for number, name in enumerate(source.class_names):
        used = np.flatnonzero(rolls[labels == number].any(axis=(0, 1)))
        # No pitch below the tonic is played.
        assert set(used) == {
            p for p in range("CxD".index(name[0]), 16) if p % 12 in semitones[name]
        }
        assert {p for p in range(16) if p % 12 in semitones[name]} == set(
            np.flatnonzero(source.scales[number])
        )


def test_bars_have_the_chords_and_rhythms_of_the_grammar(source):
    rolls, labels = source.arrays["music"][..., 0], source.arrays["label"]
    chosen = rolls[labels == 0]  # C major: thirds on C, D and E, and a melody from G upwards.
    halves = chosen.reshape(-1, 2, 8, 16)
    chords = np.stack([halves[..., [low, high]].all(axis=(2, 3)) for low, high in ((0, 4), (2, 5))])
    np.testing.assert_allclose(chords.mean(axis=(1, 2)), 0.3, atol=0.05)
    np.testing.assert_allclose(halves[..., :6].any(axis=(2, 3)).mean(), 0.9, atol=0.03)
    # The chord on E has G, too, where the melody may be; from A upwards there is the melody alone.
    beats = chosen[:, :, 9:].reshape(-1, 4, 4, 7)
    assert (beats.sum(axis=3) <= 1).all()
    np.testing.assert_array_equal(beats[:, :, 0], beats[:, :, 1])
    np.testing.assert_array_equal(beats[:, :, 2], beats[:, :, 3])
    # Of beats with the highest notes, 0.4 of 0.8 are quarter notes, which are one pitch.
    both = beats[:, :, 0].any(axis=2) & beats[:, :, 2].any(axis=2)
    same = (beats[:, :, 0] == beats[:, :, 2]).all(axis=2)
    np.testing.assert_allclose(same[both].mean(), 0.53, atol=0.05)
    # F is below the melody: it is in the chord on D alone.
    assert not (chosen[..., 5] > chosen[..., 2]).any()
    # Eighth notes of one beat are neighbours in the scale, or one pitch apart.
    first, second = (beats[:, :, i][both & ~same] @ np.array([0, 0, 1, 2, 0, 3, 0]) for i in (0, 2))
    assert set(np.abs(first - second).tolist()) == {1.0, 2.0}


def test_splits_of_bars_differ_and_mistakes_are_named(data_config):
    train, test = (make_source(data_config(name="scales", split=s)) for s in ("train", "test"))
    assert train.fingerprint().startswith("scales:train:800:16x16x1:")
    same = (train.arrays["music"] == test.arrays["music"]).all(axis=(1, 2, 3))
    assert same.mean() < 0.01
    with pytest.raises(ConfigError, match=r"data\.split = 'val' is unknown; accepted: test, train"):
        make_source(data_config(name="scales", split="val"))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0"):
        make_source(data_config(name="scales", toy_size=0))


def test_networks_see_minus_one_and_one(source):
    kind, stored = kinds.of(source.field), source.arrays["music"][:9]
    seen = kind.to_network(stored)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, np.where(stored == 1, 1.0, -1.0))
    np.testing.assert_array_equal(kind.to_stored(seen), stored)
    assert kind.to_stored(jnp.array([-0.1, 0.0, 0.1])).tolist() == [0, 0, 1]
    drawn = random_arrays(source.spec, 50)["music"]
    assert (drawn.dtype, np.unique(drawn).tolist()) == (np.uint8, [0, 1])
    assert specs.from_json(specs.to_json(source.spec)) == source.spec


def test_a_picture_has_time_to_the_right_and_pitch_upwards():
    roll = np.zeros((1, 40, 32, 1), np.uint8)
    roll[0, :3, 5] = 1
    picture = kinds.of(specs.music((40, 32), 60)).picture(roll)[2:-2, 2:-2, 0]
    expected = np.zeros((32, 40), np.uint8)
    expected[32 - 1 - 5, :3] = 255
    np.testing.assert_array_equal(picture, expected)


def test_successive_steps_are_one_note():
    roll = np.zeros((5, 3), np.uint8)
    roll[:, 2], roll[1:3, 0], roll[4, 0] = 1, 1, 1
    assert midi.notes(roll) == [(0, 5, 2), (1, 3, 0), (4, 5, 0)]
    assert midi.notes(np.zeros((5, 3), np.uint8)) == []


def test_a_midi_file_is_that_of_the_standard():
    roll = np.zeros((8, 2, 1), np.uint8)
    roll[2:6, 1] = 1
    kind = kinds.of(specs.music((8, 2), 60))
    content = kind.file(roll)
    # Format 0, one track, 480 ticks a quarter note; 240 = 81 70 and 480 = 83 60 in 7 bits a byte.
    assert content.hex(" ") == (
        "4d 54 68 64 00 00 00 06 00 00 00 01 01 e0 4d 54 72 6b 00 00 00 16 "
        "00 ff 51 03 07 a1 20 81 70 90 3d 50 83 60 80 3d 00 81 70 ff 2f 00"
    )
    assert kind.is_complete(content)
    assert not kind.is_complete(content[:-1])
    assert (kind.suffix, int(kind.facts()["lowest_pitch"])) == (".mid", 60)


def test_a_wav_file_beside_it_has_its_sound():
    roll = np.zeros((8, 2, 1), np.uint8)
    roll[2:6, 1] = 1
    kind = kinds.of(specs.music((8, 2), 60))
    files = kind.files(roll)
    assert tuple(files) == kind.suffixes == (".mid", ".wav")
    assert files[".mid"] == kind.file(roll)
    rate, levels = wavfile.read(io.BytesIO(files[".wav"]))
    assert (rate, levels.dtype) == (synthesis.SAMPLE_RATE, np.int16)
    expected = 32767 * synthesis.sound(roll[..., 0], 60)
    np.testing.assert_allclose(levels, expected, atol=0.51)
    assert kind.is_complete(files[".wav"])
    assert not kind.is_complete(files[".wav"][:-1])


def test_a_midi_file_holds_the_notes_at_their_times(source):
    mido = pytest.importorskip("mido", reason="mido reads MIDI files (extra: music)")
    kind = kinds.of(source.field)
    for roll in source.arrays["music"][:20]:
        file = mido.MidiFile(file=io.BytesIO(kind.file(roll)))
        assert file.length == pytest.approx(2.0)  # A bar of four beats at 120 a minute.
        heard, sounding, step = np.zeros_like(roll[..., 0]), set(), 0
        for message in file.tracks[0]:
            after = step + message.time * 4 // file.ticks_per_beat
            heard[step:after, list(sounding)] = 1
            step = after
            if message.type == "note_on":
                assert message.note - LOWEST_PITCH not in sounding
                sounding.add(message.note - LOWEST_PITCH)
            elif message.type == "note_off":
                sounding.remove(message.note - LOWEST_PITCH)
        np.testing.assert_array_equal(heard, roll[..., 0])
