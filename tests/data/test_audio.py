"""Audio through the whole of the data path: a kind of data that is neither image nor point."""

import io
import itertools
import sys

import jax
import numpy as np
import pytest
from scipy.io import wavfile

from gan_jax.data import device, kinds
from gan_jax.data import spec as specs
from gan_jax.data.pipeline import make_pipeline
from gan_jax.data.sources import make_source
from gan_jax.data.sources.tones import PITCHES, SAMPLE_RATE, tones
from gan_jax.errors import ConfigError, DataError

DTYPES = ("int16", "float32")


def as_networks_see(source, count):
    rows = source.read(range(count))
    return {name: np.asarray(x) for name, x in kinds.to_network(source.spec, rows).items()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_tones_have_the_pitch_of_their_class(dtype):
    source = tones("train", 200, dtype)
    assert source.field == specs.Field("audio", (1024, 1), dtype, sample_rate=SAMPLE_RATE)
    batch = as_networks_see(source, 200)
    sound = batch["audio"][..., 0]
    assert sound.dtype == np.float32
    peak = np.abs(sound).max(axis=1)
    assert 0.29 < peak.min() < 0.5 < 0.9 < peak.max() <= 1.0
    spectrum = np.abs(np.fft.rfft(sound, 8192, axis=1))
    found = spectrum.argmax(axis=1) * SAMPLE_RATE / 8192
    expected = PITCHES[batch["label"]]
    # Half a semitone is 3 %.
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert np.bincount(batch["label"]).tolist() == [20] * 10
    # The phases are random: tones of one class are not alike.
    same = sound[batch["label"] == 0] / peak[batch["label"] == 0, None]
    assert np.abs(np.corrcoef(same)[np.triu_indices(20, 1)]).mean() < 0.8


def test_tones_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    found = tones("train", 10).arrays["audio"]
    monkeypatch.setattr(sys.modules[tones.__module__], "_TOGETHER", 3)
    np.testing.assert_array_equal(tones("train", 10).arrays["audio"], found)


def test_tones_stay_those_of_earlier_versions():
    """Runs are continued, and compared, on the same data: values of commit 302a581."""
    found = tones("train", 12).arrays["audio"][[0, 11]][:, [1, 50, 300, 1023], 0]
    expected = [[-99, 3095, 5862, -3874], [-148, 13870, -11822, -10780]]
    # Another machine's sines may differ in the last bit.
    np.testing.assert_allclose(found, expected, atol=1)


def test_splits_of_tones_differ_and_mistakes_are_named(data_config):
    train, test = (make_source(data_config(name="tones", split=s)) for s in ("train", "test"))
    assert train.fingerprint().startswith("tones:train:800:1024x1:")
    assert not (train.arrays["audio"] == test.arrays["audio"]).all(axis=(1, 2)).any()
    with pytest.raises(ConfigError, match=r"data\.split = 'val' is unknown; accepted: test, train"):
        make_source(data_config(name="tones", split="val"))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0"):
        make_source(data_config(name="tones", toy_size=0))


def test_every_int16_comes_back_from_a_network_exactly():
    field = specs.Field("audio", (2**16, 1), "int16", sample_rate=8000)
    every = np.arange(-(2**15), 2**15, dtype=np.int16)[None, :, None]
    kind = kinds.of(field)
    seen = kind.to_network(every)
    assert float(seen.min()) == -1.0
    assert float(seen.max()) < 1.0
    np.testing.assert_array_equal(kind.to_stored(seen), every)
    loud = kind.to_stored(np.array([[[-3.0], [3.0]]], np.float32))
    assert loud.ravel().tolist() == [-(2**15), 2**15 - 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_resident_tones_are_those_streamed(dtype):
    source = tones("train", 40, dtype)
    shared = {"seed": 3, "global_batch": 6, "batches_per_step": 1, "steps_per_call": 1}
    got = []
    for resident in (True, False):
        pipe = make_pipeline(source, **shared, resident=resident)
        with pipe.batches(0) as batches:
            calls = list(itertools.islice(batches, 8))
        assert {n: (x.shape, x.dtype) for n, x in calls[0].items()} == pipe.abstract_batch()
        got.append([jax.tree.map(np.asarray, device.fetch(pipe.data, call)) for call in calls])
    jax.tree.map(np.testing.assert_array_equal, *got)
    assert got[0][0]["audio"].shape == (1, 1, 6, 1024, 1)
    assert got[0][0]["audio"].dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wav_file_holds_what_was_stored(dtype):
    source = tones("train", 1, dtype)
    stored = source[0]["audio"]
    kind = kinds.of(source.field)
    content = kind.file(stored)
    rate, read = wavfile.read(io.BytesIO(content))
    assert (rate, read.dtype) == (SAMPLE_RATE, dtype)
    np.testing.assert_array_equal(read.reshape(stored.shape), stored)
    assert kind.is_complete(content)
    assert not kind.is_complete(content[:-1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_npz_of_sound_is_read_back(tmp_path, data_config, dtype):
    source = tones("train", 12, dtype)
    facts = kinds.of(source.field).facts()
    path = tmp_path / "tones.npz"
    np.savez(path, **source.arrays, **facts)
    again = make_source(data_config(name="npz", path=str(path)))
    assert again.field == source.field
    assert again.num_classes == 10
    np.testing.assert_array_equal(again.arrays["audio"], source.arrays["audio"])
    np.testing.assert_array_equal(again.arrays["label"], source.arrays["label"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"audio": np.zeros((2, 9), np.float64)}, r"audio is float64 \[2, 9\]; accepted: int16 or"),
        ({"audio": np.zeros((2, 9), np.float32)}, "audio without sample_rate"),
        (
            {"audio": np.zeros((2, 9), np.float32), "sample_rate": np.float32(8000)},
            r"sample_rate is float32 \[\]; accepted: a positive integer",
        ),
        (
            {"audio": np.zeros((2, 9), np.int16), "image": np.zeros((2, 4, 4), np.uint8)},
            "has image and audio; accepted: one of",
        ),
        ({"sound": np.zeros((2, 9), np.int16)}, "has no data; .*found: sound"),
    ],
)
def test_unfit_sound_is_refused_by_name(tmp_path, data_config, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))


def test_a_picture_of_tones_shows_their_pitches():
    source = tones("train", 10)
    rows = source.read(range(10))
    picture = kinds.of(source.field).picture(rows["audio"], columns=5)
    height, width = 2 * 65, 2 * 29  # Bands and frames, every pixel doubled.
    assert picture.shape == (2 * (height + 2) + 2, 5 * (width + 2) + 2, 1)
    # The brightest band of each tile, counted from the bottom in steps of 62.5 Hz.
    for number, pitch in enumerate(PITCHES):
        top, left = 2 + number // 5 * (height + 2), 2 + number % 5 * (width + 2)
        tile = picture[top : top + height : 2, left : left + width : 2, 0].astype(int)
        band = 64 - tile.sum(axis=1).argmax()
        assert abs(band * 62.5 - pitch) <= 62.5


def test_sound_is_neither_cropped_nor_mirrored():
    from gan_jax.training.preparation import Prepare

    source = tones("train", 4)
    with pytest.raises(ConfigError, match=r"data\.flip = True; accepted for 'audio' of kind 'aud"):
        Prepare(source.spec, flip=True)
    with pytest.raises(ConfigError, match=r"data\.crop = 8; .*accepted.*unset"):
        Prepare(source.spec, crop=8)
    assert specs.from_json(specs.to_json(source.spec)) == source.spec
