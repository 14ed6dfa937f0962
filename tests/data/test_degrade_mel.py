"""Log-mel spectrograms as inputs of vocoders: SciPy, shifts, gradients, inversion, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from gan_jax.data import degrade
from gan_jax.data.mel import mel_filters
from gan_jax.errors import ConfigError

RATE = 8_000
FIELDS = {"sample_rate": RATE, "window": 256, "hop": 64, "bands": 32, "floor": 1e-3}
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 640, 1)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), 3)


def mel(**fields):
    return degrade.make("mel", **{**FIELDS, **fields})


log_mel = jax.jit(mel().log_mel)


def triangles(bands, low, high):
    """Return filters by interpolation between three corners each."""
    scale = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (low, high)), bands + 2)
    corners = 700 * (10 ** (scale / 2595) - 1)
    bins = np.arange(129) * RATE / 256
    return np.stack([np.interp(bins, corners[b : b + 3], [0, 1, 0]) for b in range(bands)], 1)


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, None), (100.0, 3_000.0)])
def test_filters_are_triangles_between_corners(lowest, highest):
    found = mel_filters(RATE, 256, 20, lowest, highest)
    np.testing.assert_allclose(found, triangles(20, lowest, highest or RATE / 2), atol=1e-9)


@pytest.mark.parametrize("highest", [None, 3_000.0])
def test_spectrograms_are_those_of_scipy(highest):
    padded = np.pad(SOUND[..., 0], ((0, 0), (96, 96)))
    _, _, spectrum = scipy.signal.stft(
        padded, nperseg=256, noverlap=192, boundary=None, padded=False, detrend=False
    )
    bands = np.einsum("nft,fb->ntb", 2 * np.abs(spectrum), triangles(32, 0.0, highest or 4_000.0))
    made = mel(highest=highest)
    found = jax.jit(made)(KEYS, SOUND)
    assert found.known is None
    assert (made.scale, made.inputs(1)) == (64, 32)
    assert found.input.shape == (3, 10, 32)
    np.testing.assert_allclose(found.input, np.log(np.maximum(bands / 1e-3, 1.0)), atol=1e-3)
    # That of a loss has the whole band.
    whole = np.einsum("nft,fb->ntb", 2 * np.abs(spectrum), triangles(32, 0.0, 4_000.0))
    np.testing.assert_allclose(
        jax.jit(made.log_mel)(SOUND), np.log(np.maximum(whole / 1e-3, 1.0)), atol=1e-3
    )


def test_a_sinusoid_of_amplitude_1_is_about_1_over_the_floor_and_silence_0():
    wave = np.sin(2 * np.pi * 1_000 * np.arange(640) / RATE).astype(np.float32)[None, :, None]
    found = np.asarray(log_mel(wave))[0, 2:-2]
    assert abs(found.max() - np.log(1e3)) < 0.3
    np.testing.assert_array_equal(log_mel(0.0 * wave), 0.0)


def test_a_shift_by_a_hop_shifts_the_spectrogram_by_a_frame():
    long = np.random.default_rng(1).normal(size=(1, 1024, 1)).astype(np.float32)
    left, right = (log_mel(x) for x in (long[:, :-64], long[:, 64:]))
    np.testing.assert_allclose(right[:, 2:-3], left[:, 3:-2], atol=1e-4)


def test_gradients_are_finite_also_in_silence():
    quiet = mel(floor=1e-5)
    target = jax.jit(quiet.log_mel)(SOUND)
    slope = jax.jit(jax.grad(lambda x: jnp.mean(jnp.abs(quiet.log_mel(x) - target))))
    for level in (0.0, 1e-9, 1.0):
        gradient = slope(np.float32(level / 2) * SOUND)
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() > 0.0) == (level > 1e-6)


def test_inputs_are_shown_as_sounds_of_their_bands():
    """Phases are lost, but pitches are found again; of wide bands, in part of the level."""
    time = np.arange(1024) / RATE
    pitches = np.array([400.0, 1_000.0, 2_500.0])
    waves = 0.5 * np.sin(2 * np.pi * pitches[:, None] * time).astype(np.float32)[..., None]
    made = mel()
    shown = jax.jit(lambda x: made.shown(made(KEYS, x).input))
    sound = np.asarray(shown(waves))
    assert (sound.shape, sound.dtype) == (waves.shape, np.float32)
    strongest = np.abs(np.fft.rfft(sound[..., 0])).argmax(axis=1) * RATE / 1024
    np.testing.assert_allclose(strongest, pitches, rtol=0.05)
    np.testing.assert_allclose(sound.std(axis=(1, 2)), waves.std(axis=(1, 2)), rtol=0.45)
    before, after = (np.asarray(log_mel(x)) for x in (waves, sound))
    assert np.abs(before - after)[:, 2:-2].mean() < 0.5
    np.testing.assert_array_equal(shown(0.0 * waves), 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hop": 0}, r"degrade\.mel\.hop = 0; accepted: a whole number above 0"),
        ({"hop": 100}, r"degrade\.mel\.window = 256; accepted: a multiple of the hop 100"),
        ({"hop": 256}, r"window = 256; accepted: a multiple of the hop 256, at least twice"),
        ({"lowest": 4_000.0}, r"lowest = 4000\.0; accepted: 0 to below 4000 Hz"),
        ({"highest": 8_000.0}, r"highest = 8000\.0; accepted: above 0 and up to 4000 Hz, or None"),
        ({"floor": 0.0}, r"floor = 0\.0; accepted: a number above 0"),
        ({"bands": 128}, r"bands = 128; accepted: fewer: \d+ bands lie between"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        mel(**fields)


def test_sounds_that_do_not_suit_are_refused():
    with pytest.raises(ConfigError, match=r"sounds of 600 samples.*hop = 64; accepted: a multiple"):
        mel().check((600, 1))
    with pytest.raises(ConfigError, match=r"data\.sound\.channels = 2 .*'mel'; accepted: 1"):
        mel().check((640, 2))
