"""Sound files through a run: lengths, rates, channels, tiles, and what is refused or reported."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data.degrade import make as degradation
from gan_jax.games.translation import A_TO_B, Direction
from gan_jax.inference.translate_sounds import SoundRequest, translate
from gan_jax.metrics import enhancement
from tests.inference.sound_filter import (
    RATE,
    REACH,
    TAPS,
    Filter,
    Opened,
    OpenFilter,
    filtered,
    noise,
)

soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")


def save(path, sound, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, **options)
    return path


def read(path):
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert soundfile.info(path).subtype == "PCM_16"
    return sound, rate


@pytest.mark.parametrize("samples", [1, 5, 64, 1001])
def test_a_sound_of_any_length_comes_out_in_its_length(samples, tmp_path):
    sound = noise(samples)
    path = save(tmp_path / "a.wav", sound, subtype="FLOAT")
    summary = translate(SoundRequest(OpenFilter(), path, tmp_path / "out"))
    assert summary.text == f"translated 1 of 1 sound at step 4: {tmp_path / 'out'}"
    made, rate = read(tmp_path / "out" / "a.wav")
    assert (made.shape, rate) == ((samples, 1), RATE)
    if samples > 3:
        np.testing.assert_allclose(made, filtered(sound, samples), atol=2e-5)
    translate(SoundRequest(OpenFilter(), path, tmp_path / "raw", raw=True))
    np.testing.assert_allclose(read(tmp_path / "raw" / "a.wav")[0], made / 2, atol=3e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_arrays_are_translated_as_files_are(channels, tmp_path):
    run = Opened(Filter(channels=channels))
    given = np.round(2**15 * np.stack([noise(1003, channels) for _ in range(2)])).astype(np.int16)
    for i, sound in enumerate(given):
        save(tmp_path / "in" / f"{i}.wav", sound)
    how = {"tile": 64, "overlap": 16, "batch_size": 3}
    translate(SoundRequest(run, tmp_path / "in", tmp_path / "out", **how))
    written = [soundfile.read(tmp_path / "out" / f"{i}.wav", dtype="int16")[0] for i in range(2)]
    made = run.translate(given, **how)
    assert made.dtype == np.int16
    np.testing.assert_array_equal(made, np.stack(written).reshape(made.shape))
    np.testing.assert_allclose(run.translate(given), made, atol=1)
    halved = run.translate(given, average=False)
    np.testing.assert_allclose(halved, made / 2, atol=1.1)
    with pytest.raises(
        errors.ConfigError, match=r"sounds are float64 \[2, 1003, .\]; accepted: int1"
    ):
        run.translate(given / 2**15)
    with pytest.raises(errors.ConfigError, match="dropout = 3; accepted for sounds: None"):
        run.translate(given, dropout=3)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_tiles_make_the_same_sound_as_the_whole(batch_size, tmp_path):
    path = save(tmp_path / "a.wav", noise(1003))
    translate(SoundRequest(OpenFilter(), path, tmp_path / "whole"))
    how = {"tile": 64, "overlap": 16, "batch_size": batch_size}
    translate(SoundRequest(OpenFilter(), path, tmp_path / "tiles", **how))
    whole, tiles = (read(tmp_path / name / "a.wav")[0] for name in ("whole", "tiles"))
    np.testing.assert_allclose(tiles, whole, atol=2 / 32768)


def test_channels_are_translated_one_by_one_and_widths_read(tmp_path):
    sound = noise(200, 3)
    save(tmp_path / "in" / "b.wav", sound, subtype="PCM_24")
    save(tmp_path / "in" / "sub" / "a.flac", sound[:, :1])
    summary = translate(SoundRequest(OpenFilter(), tmp_path / "in", tmp_path / "out"))
    assert not summary.failures
    assert set(summary.outputs) == {"b.wav", "sub/a.flac"}
    expected = filtered(sound, 200)
    np.testing.assert_allclose(read(tmp_path / "out" / "b.wav")[0], expected, atol=4e-5)
    one = read(tmp_path / "out" / "sub" / "a.wav")[0]
    np.testing.assert_allclose(one, expected[:, :1], atol=4e-5)


def test_networks_of_two_channels_take_one_twice_and_refuse_three(tmp_path):
    run = OpenFilter(Filter(2))
    for channels in (1, 2, 3):
        save(tmp_path / "in" / f"{channels}.wav", noise(64, channels))
    summary = translate(SoundRequest(run, tmp_path / "in", tmp_path / "out"))
    assert summary.failures == {"3.wav": "has 3 channels; accepted: 1 or 2"}
    first, second = (read(tmp_path / "out" / f"{n}.wav")[0] for n in (1, 2))
    assert first.shape == second.shape == (64, 2)
    np.testing.assert_array_equal(first[:, 0], first[:, 1])


@pytest.mark.parametrize("rate", [4_000, 11_025, 44_100])
def test_rates_and_lengths_of_files_are_kept(rate, tmp_path):
    """A tone below both rates' halves comes out as at the run's own rate."""
    time = np.arange(rate // 4 + 3) / rate
    path = save(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 500 * time), rate)
    translate(SoundRequest(OpenFilter(), path, tmp_path / "out"))
    made, found = read(tmp_path / "out" / "a.wav")
    assert (made.shape, found) == ((len(time), 1), rate)
    # The filter at 500 Hz.
    angles = 2 * np.pi * 500 / RATE * (np.arange(5) - REACH)
    response = np.sum(np.asarray(TAPS) * np.exp(1j * angles))
    expected = np.imag(0.5 * response * np.exp(2j * np.pi * 500 * time))
    inner = slice(rate // 20, -rate // 20)
    np.testing.assert_allclose(made[inner, 0], expected[inner], atol=5e-3)


def test_files_that_cannot_be_used_are_reported_and_the_others_translated(tmp_path, capsys):
    folder = tmp_path / "in"
    whole = save(folder / "good.wav", noise(300)).read_bytes()
    save(folder / "empty.wav", noise(0))
    (folder / "cut.wav").write_bytes(whole[:-200])
    (folder / "text.wav").write_text("no sound")
    save(folder / "nan.wav", np.full((8, 1), np.nan, np.float32), subtype="FLOAT")
    (folder / "notes.txt").touch()
    summary = translate(SoundRequest(OpenFilter(), folder, tmp_path / "out"))
    assert summary.text == (
        f"translated 1 of 5 sounds at step 4: {tmp_path / 'out'}; 1 other file not used: notes.txt"
    )
    assert set(summary.outputs) == {"good.wav"}
    assert summary.failures["empty.wav"] == "has no samples"
    assert summary.failures["cut.wav"] == "is truncated"
    assert summary.failures["nan.wav"] == "has samples that are not finite numbers"
    assert summary.failures["text.wav"].startswith("is no sound that can be decoded: ")
    reported = capsys.readouterr().err.splitlines()
    assert f"failed: {folder / 'cut.wav'}: is truncated" in reported
    assert len(reported) == 4
    run = OpenFilter(Filter(spoils=degradation("noise", snr=(10.0, 10.0))))
    summary = translate(SoundRequest(run, folder / "cut.wav", tmp_path / "none", degrade=True))
    assert summary.text.endswith("none; all failed; reasons in scores.json")


def test_clean_sounds_are_degraded_and_measured_at_the_runs_rate(tmp_path):
    run = OpenFilter(Filter(spoils=degradation("noise", snr=(10.0, 10.0))))
    sound = noise(400, 2)
    path = save(tmp_path / "in" / "a.wav", sound, subtype="FLOAT")
    save(tmp_path / "in" / "b.wav", sound[:300], subtype="FLOAT")
    how = {"degrade": True, "tile": 64, "overlap": 16}
    summary = translate(SoundRequest(run, path.parent, tmp_path / "out", **how))
    assert summary.text.endswith("; scores in scores.json")
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert record["sounds"] == summary.scores
    assert record["protocol"]["degradation"] == {"name": "noise", "snr": [10.0, 10.0], "clip": True}
    found = summary.scores["a.wav"]
    assert found["input_si_sdr"] == pytest.approx(10.0, abs=0.3)
    assert record["mean"]["si_sdr"] == pytest.approx(
        (found["si_sdr"] + summary.scores["b.wav"]["si_sdr"]) / 2
    )
    made = read(tmp_path / "out" / "a.wav")[0]
    expected = enhancement.si_sdr(made[None], sound[None])[0]
    assert found["si_sdr"] == pytest.approx(float(expected), abs=0.01)
    distance = enhancement.log_mel_distance(made[None], sound[None], RATE)[0]
    assert found["log_mel_distance"] == pytest.approx(float(distance), abs=0.01)
    assert summary.table().splitlines()[-1].startswith("mean")
    # The same seed draws the same noise; another one, and each channel and file, other noise.
    again = translate(SoundRequest(run, path.parent, tmp_path / "again", **how))
    assert again.scores == summary.scores
    other = translate(SoundRequest(run, path.parent, tmp_path / "other", **how, seed=1))
    assert other.scores["a.wav"] != found
    rest = made - filtered(sound, 400)
    assert abs(np.corrcoef(rest.T)[0, 1]) < 0.3
    with pytest.raises(errors.ConfigError, match="--degrade, but nothing degrades inputs"):
        SoundRequest(OpenFilter(), path, tmp_path / "none", degrade=True)


@dataclasses.dataclass(frozen=True)
class Beeper(Filter):
    """Makes a sample of each frame's loudest band, its number over 16, from spectrograms."""

    @property
    def directions(self):
        return {A_TO_B: Direction(16, 1, scale=16)}

    @property
    def degradation(self):
        return degradation("mel", sample_rate=RATE, window=64, hop=16, bands=16)

    def render(self, variables, seen, direction, keys):
        loudest = seen.argmax(axis=-1)[..., None] / 16.0
        return loudest.repeat(16, axis=1) * variables["gain"]


@pytest.mark.parametrize("samples", [64, 403, 2_000])
def test_a_vocoders_inputs_are_computed_of_sounds_in_tiles(samples, tmp_path):
    run = Opened(Beeper())
    wave = 0.5 * np.sin(2 * np.pi * 0.5 * np.arange(samples) ** 2 / RATE).astype(np.float32)
    path = save(tmp_path / "a.wav", wave[:, None])
    how = {"tile": 256, "overlap": 128}
    translate(SoundRequest(run, path, tmp_path / "out", **how))
    made = read(tmp_path / "out" / "a.wav")[0]
    padded = jnp.asarray(np.pad(wave, (0, -samples % 16), mode="reflect"))[None, :, None]
    loudest = np.asarray(run.game.degradation.log_mel(padded))[0].argmax(axis=-1) / 16
    assert made.shape == (samples, 1)
    np.testing.assert_allclose(made[:, 0], loudest.repeat(16)[:samples], atol=2 / 2**15)
    arrays = run.translate(np.round(2**15 * wave).astype(np.int16)[None, :, None], **how)
    np.testing.assert_allclose(arrays[0] / 2**15, made, atol=2 / 2**15)
    if samples == 403:
        # Measured beside what Griffin and Lim's algorithm makes of the same spectrogram.
        summary = translate(SoundRequest(run, path, tmp_path / "scored", degrade=True, **how))
        np.testing.assert_array_equal(read(tmp_path / "scored" / "a.wav")[0], made)
        found = summary.scores["a.wav"]
        distance = enhancement.log_mel_distance(made[None], wave[None, :, None], RATE)[0]
        assert found["log_mel_distance"] == pytest.approx(float(distance), abs=0.01)
        assert found["input_log_mel_distance"] < 0.7 * found["log_mel_distance"]


def test_arguments_that_cannot_work_are_refused(tmp_path):
    path = save(tmp_path / "a.wav", noise(64))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_bytes(b"")
    with pytest.raises(errors.DataError, match=r"\(--input\) has no sounds, but 1 \.png"):
        SoundRequest(OpenFilter(), tmp_path / "none", tmp_path / "out")
    with pytest.raises(errors.ConfigError, match=r"a\.wav is an input; accepted: another folder"):
        SoundRequest(OpenFilter(), path, tmp_path)
    with pytest.raises(errors.ConfigError, match=r"--tile=64 with --overlap=64"):
        SoundRequest(OpenFilter(), path, tmp_path / "out", tile=64, overlap=64)
    with pytest.raises(errors.ConfigError, match=r"--batch_size=0; accepted: 1 or more"):
        SoundRequest(OpenFilter(), path, tmp_path / "out", batch_size=0)
    translate(SoundRequest(OpenFilter(), path, tmp_path / "out"))
    with pytest.raises(errors.WorkdirError, match=r"a\.wav already exists; pass --overwrite"):
        SoundRequest(OpenFilter(), path, tmp_path / "out")
