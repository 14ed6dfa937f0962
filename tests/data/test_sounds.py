"""Folders of sound files: any rate, width, channels and length, and files that are damaged."""

import io
import pickle
import sys
import zipfile

import numpy as np
import pytest
from scipy.io import wavfile

from gan_jax.data import pipeline
from gan_jax.data.sources import labels_of, make_source
from gan_jax.data.sources.sounds import Clip
from gan_jax.errors import ConfigError, DataError

soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")

RATE = 8_000
CLIP = {"sample_rate": RATE, "samples": 1_000}


def sine(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def encoded(sound, rate=RATE, **form):
    """Return the bytes of a sound file, by default a WAV of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, **{"format": "WAV", "subtype": "PCM_16", **form})
    return buffer.getvalue()


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_wav", ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def source(data_config, tmp_path):
    """Return a function that opens the folder."""

    def opened(path=tmp_path, **fields):
        sound = {**CLIP, **fields.pop("sound", {})}
        return make_source(data_config(name="sounds", path=str(path), sound=sound, **fields))

    return opened


def test_messages_about_the_layout_speak_of_sounds(source, tmp_path):
    write(tmp_path, a_wav=encoded(sine(0.1, RATE)), b_wav=encoded(sine(0.1, RATE)))
    write(tmp_path, drums__a_wav=encoded(sine(0.1, RATE)))
    with pytest.raises(ConfigError, match="has 2 sounds beside the folders 'drums', which may"):
        source()
    for name in "bcd":
        write(tmp_path, **{f"drums__{name}_wav": encoded(sine(0.1, RATE))})
    assert source().unused == ("2 sounds such as a.wav beside the folders",)
    (tmp_path / "drums").rename(tmp_path / "train")
    with pytest.raises(ConfigError, match="'train' beside others or sounds, so that it may be"):
        source()


def test_16_bits_at_the_same_rate_are_kept_and_the_length_is_made(source, tmp_path):
    stored = np.random.default_rng(0).integers(-(2**15), 2**15, 1_500, np.int16)
    buffer = io.BytesIO()
    wavfile.write(buffer, RATE, stored)
    write(tmp_path, long_wav=buffer.getvalue(), short_wav=encoded(stored[:300]))
    found = source()
    assert found.field.shape == (1_000, 1)
    assert (found.field.dtype, found.field.sample_rate) == ("int16", RATE)
    assert "label" not in found.spec
    np.testing.assert_array_equal(found[0]["audio"][:, 0], stored[:1_000])
    np.testing.assert_array_equal(found[1]["audio"][:300, 0], stored[:300])
    assert not found[1]["audio"][300:].any()
    assert "stored: 8000 Hz, 1 channel(s), 0.04 to 0.19 s" in found.notes


@pytest.mark.parametrize("rate", [4_000, 11_025, 44_100])
@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_other_rates_are_resampled(source, tmp_path, rate, seconds):
    write(tmp_path, a_wav=encoded(sine(seconds, rate), rate))
    found = source()[0]["audio"][:, 0] / 2**15
    expected = np.zeros(1_000)
    same = sine(seconds, RATE)[:1_000]
    expected[: len(same)] = same
    inside = slice(40, min(len(same), 1_000) - (40 if len(same) < 1_000 else 0))
    np.testing.assert_allclose(found[inside], expected[inside], atol=5e-3)
    # Of a longer sound, no more than is needed is read, and its end is no edge.
    assert np.abs(found[len(same) + 40 :]).max(initial=0.0) < 5e-3


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"subtype": "PCM_24"}, 1),
        ({"subtype": "PCM_U8"}, 2**8),
        ({"subtype": "FLOAT"}, 1),
        ({"format": "FLAC", "subtype": "PCM_24"}, 1),
        ({"format": "OGG", "subtype": "VORBIS"}, 2_000),
    ],
)
def test_other_widths_and_formats_are_read(source, tmp_path, form, error):
    sound = sine(0.125, RATE)
    suffix = form.get("format", "wav").lower()
    (tmp_path / f"a.{suffix}").write_bytes(encoded(sound, **form))
    found = source()[0]["audio"][:, 0].astype(float)
    np.testing.assert_allclose(found, sound * 2**15, atol=error)


def test_floats_beyond_full_scale_are_clipped(source, tmp_path):
    write(tmp_path, a_wav=encoded(4 * sine(0.1, RATE), subtype="FLOAT"))
    found = source()[0]["audio"]
    assert (found.min(), found.max()) == (-(2**15), 2**15 - 1)


def test_channels_are_averaged_or_doubled(source, tmp_path):
    left = sine(0.125, RATE)
    write(tmp_path, mono_wav=encoded(left), stereo_wav=encoded(np.stack([left, 0 * left], axis=1)))
    mono, stereo = source(), source(sound={"channels": 2})
    np.testing.assert_allclose(mono[1]["audio"], mono[0]["audio"] / 2, atol=1)
    assert stereo.field.shape == (1_000, 2)
    np.testing.assert_array_equal(*stereo[0]["audio"].T)
    assert not stereo[1]["audio"][:, 1].any()
    write(tmp_path, many_wav=encoded(np.stack([left] * 4, axis=1)))
    assert source()[0]["audio"].shape == (1_000, 1)
    with pytest.raises(DataError, match=r"many\.wav has 4 channels; accepted .*: 1 or 2"):
        source(sound={"channels": 2})


WHOLE = encoded(sine(0.2, RATE))
NOT_FINITE = encoded(np.array([0.0, np.nan, 0.5]), subtype="FLOAT")
DAMAGED = [
    (encoded(np.zeros(0)), "has no samples"),
    (b"", "is no sound that can be decoded: "),
    (b"only a text", "is no sound that can be decoded: "),
    (WHOLE[:-100], "is truncated"),
    (NOT_FINITE, "has samples that are not finite numbers"),
]


# A file of floats holds its time, by which the processes that run tests would name it differently.
@pytest.mark.parametrize(
    ("content", "reason"), DAMAGED, ids=["silent", "empty", "text", "cut", "not_finite"]
)
def test_a_damaged_file_is_named_or_left_out(source, tmp_path, content, reason):
    write(tmp_path, a_wav=content, b_wav=WHOLE)
    with pytest.raises(DataError, match=rf"a\.wav {reason}.*on_error = \"skip\" leaves it out"):
        source()
    found = source(on_error="skip")
    np.testing.assert_array_equal(found[0]["audio"], found[1]["audio"])
    assert reason in found.failures[0]


def test_a_wav_without_a_length_is_whole(source, tmp_path):
    streamed = bytearray(WHOLE)
    streamed[4:8] = b"\xff\xff\xff\xff"
    write(tmp_path, a_wav=bytes(streamed), b_wav=WHOLE)
    found = source()
    np.testing.assert_array_equal(found[0]["audio"], found[1]["audio"])


def test_a_folder_of_damaged_files_is_an_error(source, tmp_path):
    write(tmp_path, a_wav=b"", b_wav=b"?")
    with pytest.raises(DataError, match="2 sounds in a row fail; the first: "):
        source(on_error="skip")


def test_folders_are_classes_and_splits(source, tmp_path):
    write(
        tmp_path / "all",
        train__cat__1_wav=WHOLE,
        train__cat__2_wav=WHOLE,
        train__dog__1_wav=encoded(sine(0.1, RATE, 1_000.0)),
        test__dog__1_wav=WHOLE,
    )
    (tmp_path / "all/train/readme.txt").write_text("")
    train, test = (source(tmp_path / "all", split=split) for split in ("train", "test"))
    assert train.class_names == ("cat", "dog")
    assert labels_of(train).tolist() == train.read([0, 1, 2])["label"].tolist() == [0, 0, 1]
    assert (len(test), int(test[0]["label"])) == (1, 1)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted((tmp_path / "all").rglob("*.wav")):
            archive.write(path, path.relative_to(tmp_path / "all"))
    zipped = source(tmp_path / "all.zip")
    assert zipped.fingerprint() == train.fingerprint()
    assert train.fingerprint() != test.fingerprint()
    np.testing.assert_array_equal(zipped.read([0, 1, 2])["audio"], train.read([0, 1, 2])["audio"])
    loaded = pipeline.load(pickle.loads(pickle.dumps(train)))
    np.testing.assert_array_equal(loaded["audio"], train.read([0, 1, 2])["audio"])
    other = source(tmp_path / "all", sound={"sample_rate": 7_000})
    assert other.decoded_key() != train.decoded_key()


def test_mistakes_are_named(source, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"has no sounds; accepted suffixes: \.aif .*\.wav"):
        source()
    with pytest.raises(ConfigError, match=r"data\.path is not set; .* of sounds"):
        source("")
    for field, value in {"sample_rate": 0, "samples": 0, "channels": 3}.items():
        with pytest.raises(ConfigError, match=rf"data\.sound\.{field} = {value}; accepted: 1 or"):
            Clip(**{field: value})
    write(tmp_path, a_wav=WHOLE)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DataError, match="not installed: pip install soundfile"):
        source()
