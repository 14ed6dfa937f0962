"""Sound as pictures, its pitch, and which metrics suit it: closed forms, parity with SciPy."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from configs import base
from gan_jax import errors
from gan_jax.data.mel import mel_filters
from gan_jax.data.sources import ArraySource, make_source
from gan_jax.data.sources.tones import PITCHES, tones
from gan_jax.evaluation import choosing, sounds
from gan_jax.evaluation.real_images import labelled_images
from gan_jax.evaluation.settings import Settings
from gan_jax.metrics import sound
from gan_jax.metrics.extractor import Extractor

RATE = 8_000
TIME = np.arange(1_024) / RATE


def sine(frequency, amplitude=1.0):
    return (amplitude * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)[None]


def test_windows_are_those_of_the_paper_at_16_khz():
    assert sound.window_of(16_000) == (1024, 128)
    assert sound.window_of(RATE) == (512, 64)


def test_mel_filters_share_every_frequency_between_two_bands():
    filters = mel_filters(RATE, 512, sound.BANDS, sound.LOWEST)
    frequencies = np.linspace(0, RATE / 2, 257)
    mel = 2595 * np.log10(1 + np.array([40, RATE / 2]) / 700)
    peaks = 700 * (10 ** (np.linspace(mel[0], mel[1], 34)[1:-1] / 2595) - 1)
    inside = (frequencies >= peaks[0]) & (frequencies <= peaks[-1])
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1.0)
    np.testing.assert_allclose(filters[inside] @ peaks, frequencies[inside])
    assert not filters[frequencies <= 40].any()


def test_levels_are_those_of_scipy():
    x = np.random.default_rng(0).normal(0, 0.1, (2, 1_000)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (224, 248)))  # Sixteen windows, every 64 samples.
    _, _, spectrum = scipy.signal.stft(
        padded, nperseg=512, noverlap=448, boundary=None, padded=False, detrend=False
    )
    power = np.abs(2 * spectrum) ** 2
    expected = 10 * np.log10(
        np.einsum("nft,fb->ntb", power, mel_filters(RATE, 512, sound.BANDS, sound.LOWEST))
    )
    found = sound.log_mel(jnp.asarray(x), RATE)
    assert found.shape == (2, 16, 32)
    np.testing.assert_allclose(found, np.maximum(expected, -60.0), atol=2e-3)


def test_levels_are_relative_to_a_sinusoid_of_amplitude_1():
    loud, quiet, silent = (
        np.asarray(sound.log_mel(jnp.asarray(sine(1000.0, amplitude)), RATE))[0, 8]
        for amplitude in (1.0, 0.5, 0.0)
    )
    assert 0.0 < loud.max() < 1.8  # The main lobe of the window has 1.5 times the power.
    assert loud.max() - quiet.max() == pytest.approx(20 * np.log10(2), abs=1e-3)
    np.testing.assert_allclose(silent, -60.0, atol=1e-4)


def test_a_picture_shows_time_to_the_right_and_bands_downwards():
    x = np.concatenate([sine(500.0)[0, :512], sine(2000.0)[0, 512:]])[None, :, None]
    picture = np.asarray(sound.pictures(jnp.asarray(x), RATE))
    assert (picture.shape, picture.dtype) == ((1, 32, 16, 1), np.uint8)
    brightest = picture[0, :, :, 0].argmax(axis=0)
    assert len(set(brightest[:7])) == len(set(brightest[9:])) == 1
    assert brightest[0] < brightest[-1]
    # Half of one channel is the same as half of both; white is 0 dB.
    stereo = np.concatenate([x, np.zeros_like(x)], axis=2)
    np.testing.assert_array_equal(
        sound.pictures(jnp.asarray(stereo), RATE), sound.pictures(jnp.asarray(x / 2), RATE)
    )
    assert (picture.max(), picture.min()) == (255, 0)


@pytest.mark.parametrize(
    ("samples", "frames"), [(512, 8), (1_024, 16), (2_048, 32), (2_049, 16), (16_384, 32)]
)
def test_a_picture_has_at_most_32_frames(samples, frames):
    shape = sound.picture_shape(samples, RATE)
    assert shape == (32, frames, 1)
    x = np.random.default_rng(0).normal(0, 0.05, (2, samples, 1)).astype(np.float32)
    levels = np.asarray(sound.log_mel(jnp.asarray(x[..., 0]), RATE))
    group = -(-levels.shape[1] // 32)
    means = [levels[:, group * i : group * (i + 1)].mean(axis=1) for i in range(frames)]
    expected = 255 * (1 + np.stack(means, axis=2)[..., None] / 60)
    found = np.asarray(sound.pictures(jnp.asarray(x), RATE)).astype(float)
    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.51)


def test_too_short_a_sound_has_no_picture():
    with pytest.raises(errors.MetricError, match="of 448 samples at 8000 Hz; accepted: 512 sam"):
        sound.picture_shape(448, RATE)


def test_the_strongest_frequency_is_within_one_step_of_a_pitch():
    step = RATE / 1_024
    pitches = np.array([500.0, 1000.0])
    x = np.concatenate(
        [sine(500.0), sine(1000.0 + 0.9 * step), sine(700.0), sine(500.0) + 3 * sine(800.0)]
    )[..., None]
    assert sound.pitch_accuracy(x, RATE, pitches) == 0.5
    assert sound.pitch_accuracy(0 * x, RATE, pitches) == 0.0
    stored = tones("test", 50)
    heard = stored.arrays["audio"] / 32768.0
    assert sound.pitch_accuracy(heard, RATE, PITCHES) == 1.0
    with pytest.raises(errors.MetricError, match="finite"):
        sound.pitch_accuracy(np.full((1, 64, 1), np.nan), RATE, PITCHES)


def levels(variables, images, layers):
    del variables
    return {layer: images.astype(jnp.float32).mean((1, 3)) for layer in layers}


def test_the_classifier_learns_from_and_sees_pictures_of_stored_sound():
    source = tones("train", 20)
    labelled = labelled_images(source)
    pictures, classes = labelled.read()
    assert f":{sound.protocol_of(RATE)}; shifted in time" in labelled.fingerprint
    assert not labelled.vertical
    every = sounds.pictures(source.field, source.arrays["audio"])
    same = (pictures[:, None] == every).all(axis=(2, 3, 4))
    assert same.sum(axis=0).tolist() == [1] * 20
    np.testing.assert_array_equal(classes, source.arrays["label"][same.argmax(axis=1)])
    plain = Extractor("classifier", {"features": 16}, "features", None, (), levels, {"a": 1})
    extractor = labelled.adapted(plain)
    assert extractor.protocol["input"] == (
        "log-mel: 32 bands, windows of 512 samples every 64, 60 dB"
    )
    seen = extractor.apply((), source.arrays["audio"], ("features",))["features"]
    whole = levels((), np.asarray(pictures), ("features",))["features"]
    np.testing.assert_allclose(
        np.sort(np.asarray(seen), axis=0), np.sort(np.asarray(whole), axis=0), rtol=1e-6
    )
    given = labelled_images(source, source.arrays).read()
    np.testing.assert_array_equal(given[0], pictures)


def chosen(source, *names, num_classes=None):
    settings = Settings(num_fake=100, **({"metrics": names} if names else {}))
    return [m.name for m in choosing.choose_metrics(settings, source, num_classes)]


def test_metrics_of_sound(tmp_path):
    source = tones("train", 200)
    compared = ["classifier_is", "classifier_fid", "classifier_precision", "classifier_recall"]
    assert chosen(source) == ["pitch_accuracy", *compared]
    assert chosen(source, num_classes=10)[-1] == "classifier_accuracy"
    np.savez(tmp_path / "a.npz", **source.arrays, sample_rate=RATE)
    config = base.get_config().data
    config.update(name="npz", path=str(tmp_path / "a.npz"))
    stored = make_source(config)
    assert chosen(stored) == compared
    with pytest.raises(errors.ConfigError, match="pitches of a are unknown; accepted: tones"):
        chosen(stored, "pitch_accuracy")


@pytest.mark.parametrize("name", ["fid", "modes", "classifier_ppl", "psnr", "classifier_modes"])
def test_metrics_of_images_are_refused(name):
    with pytest.raises(errors.ConfigError, match=rf"'{name}', but .*accepted: "):
        chosen(tones("train", 200), name)


def test_sounds_without_labels_or_too_short_have_no_classifier():
    source = tones("train", 200)
    audio = {"audio": source.arrays["audio"]}
    plain = ArraySource("plain", "train", audio, {"audio": source.field})
    assert chosen(plain) == []
    with pytest.raises(errors.ConfigError, match=r"no labels .*; accepted: data with labels"):
        chosen(plain, "classifier_is")
    field = dataclasses.replace(source.field, shape=(256, 1))
    short = {**source.arrays, "audio": source.arrays["audio"][:, :256]}
    brief = ArraySource("brief", "train", short, {**source.spec, "audio": field})
    assert "sounds of 256 samples" in choosing.refusal(Settings(), brief, brief)
