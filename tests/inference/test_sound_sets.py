"""Metrics of two sets of sounds: of pairs as they are, and of a classifier's features."""

import zipfile

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.inference import sound_sets
from gan_jax.metrics import enhancement, extractors
from tests.experiments import program
from tests.metrics import stub

soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")
RNG = np.random.default_rng(0)
RATE = 8_000
EVALUATE = "experiments.evaluate"


def noise(samples, channels=1):
    return RNG.uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def save(path, sound, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype="FLOAT")


@pytest.fixture
def pairs(tmp_path):
    """Write clean and noisy sounds of several lengths, rates and channels; return the means."""
    found = {"si_sdr": [], "log_mel_distance": [], "same_pitch": []}
    sounds = {"x": (noise(900), RATE), "x.low": (noise(500), RATE), "a/y": (noise(700, 2), 16_000)}
    for name, (sound, rate) in sounds.items():
        spoilt = sound + 0.1 * noise(*sound.shape)
        save(tmp_path / "clean" / f"{name}.wav", sound, rate)
        # The order of x and x.low depends on the suffix.
        save(tmp_path / "made" / f"{name}.aiff", spoilt, rate)
        found["si_sdr"].append(enhancement.si_sdr(spoilt[None], sound[None])[0])
        distance = enhancement.log_mel_distance(spoilt[None], sound[None], rate)[0]
        found["log_mel_distance"].append(distance)
        found["same_pitch"].append(enhancement.same_pitch(spoilt[None], sound[None])[0])
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_files_of_one_name_are_compared_as_they_are(pairs, tmp_path):
    found = sound_sets.measure(tmp_path / "made", tmp_path / "clean", sound_sets.METRICS)
    assert found.values == pytest.approx(pairs, rel=1e-4)
    assert (found.protocol["n_fake"], found.protocol["n_real"]) == (3, 3)
    flags = (f"--samples={tmp_path / 'made'}", f"--against={tmp_path / 'clean'}")
    out = program.succeeded(program.call(*flags, module=EVALUATE)).out.splitlines()
    assert [line.split()[0] for line in out[:4]] == ["made", *sound_sets.METRICS]
    assert float(out[1].split()[1]) == pytest.approx(pairs["si_sdr"], abs=0.01)
    save(tmp_path / "made" / "x.aiff", noise(800))
    with pytest.raises(
        errors.DataError, match=r"x\.aiff is \[800, 1\] at 8000 Hz, .*\[900, 1\] at"
    ):
        sound_sets.measure(tmp_path / "made", tmp_path / "clean", ["si_sdr"])
    (tmp_path / "made" / "x.aiff").unlink()
    with pytest.raises(errors.DataError, match="x is in clean, and has no partner in made"):
        sound_sets.measure(tmp_path / "made", tmp_path / "clean", ["si_sdr"])


def test_arrays_are_compared_in_their_order(tmp_path):
    clean = np.stack([noise(600) for _ in range(3)])
    made = clean + 0.1 * np.stack([noise(600) for _ in range(3)])
    for name, array in (("clean", clean), ("made", made)):
        np.savez(tmp_path / f"{name}.npz", audio=array, sample_rate=RATE)
    found = sound_sets.measure(tmp_path / "made.npz", tmp_path / "clean.npz", ["si_sdr"])
    expected = float(np.mean(enhancement.si_sdr(made, clean)))
    assert found.values["si_sdr"] == pytest.approx(expected, rel=1e-4)
    for i, sound in enumerate(made[:2]):
        save(tmp_path / "folder" / f"{i}.wav", sound)
    with pytest.raises(errors.ConfigError, match="folder has 2 sounds and clean 3; accepted: as m"):
        sound_sets.measure(tmp_path / "folder", tmp_path / "clean.npz", ["si_sdr"])


def test_features_are_of_sounds_in_the_form_of_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))
    of_pictures = stub.extractor("classifier")
    monkeypatch.setitem(
        extractors.EXTRACTORS, "classifier", lambda setting: setting.labelled.adapted(of_pictures)
    )
    for i in range(12):
        sound = noise(2000) * (i + 1) / 12
        save(tmp_path / "real" / f"{i}.wav", sound)
        # The same, followed by what is cut off; and of half the level.
        save(tmp_path / "long" / f"{i}.wav", np.concatenate([sound, noise(300)]))
        save(tmp_path / "soft" / f"{i}.wav", 0.1 * sound)
    found = {
        name: sound_sets.measure(tmp_path / name, tmp_path / "real", ["classifier_fid"])
        for name in ("long", "soft")
    }
    assert found["long"].values["classifier_fid"] == pytest.approx(0, abs=1e-4)
    assert found["soft"].values["classifier_fid"] > 1e-3
    np.savez(tmp_path / "a.npz", audio=np.zeros((3, 2000), np.float32), sample_rate=16_000)
    with pytest.raises(errors.ConfigError, match=r"a are float32 \[2000, 1\] at 16000 Hz, those"):
        sound_sets.measure(tmp_path / "a.npz", tmp_path / "real", ["classifier_fid"])


def test_what_is_a_set_of_sounds(tmp_path):
    save(tmp_path / "set" / "a" / "x.wav", noise(10))
    assert sound_sets.is_of_sounds(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "set" / "a" / "x.wav", "a/x.wav")
        archive.writestr("b/y.png", b"")
    assert sound_sets.is_of_sounds(tmp_path / "set.zip" / "a")
    assert not sound_sets.is_of_sounds(tmp_path / "set.zip")
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 4, 4), np.uint8))
    assert not sound_sets.is_of_sounds(tmp_path / "a.npz")
    assert not sound_sets.is_of_sounds(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "metric", ["fid", "psnr", "si_sdr_gain", "classifier_accuracy", "classifier_modes"]
)
def test_metrics_that_do_not_suit_are_refused(metric):
    with pytest.raises(errors.ConfigError, match=rf"'{metric}', which is not measured on two sets"):
        sound_sets.measure("a", "b", [metric])
