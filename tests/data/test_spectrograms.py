"""Spectrograms of sound and their inverse: closed forms, parity with SciPy, tones and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources import make_source
from gan_jax.data.sources.spectral import Spectrograms
from gan_jax.data.sources.tones import PITCHES
from gan_jax.data.stft import griffin_lim, inverse, stft
from gan_jax.errors import ConfigError
from gan_jax.metrics.sound import pitch_accuracy


def noise(samples, n=2):
    return np.random.default_rng(0).normal(0, 0.1, (n, samples)).astype(np.float32)


@pytest.mark.parametrize(("window", "hop"), [(64, 32), (64, 16)])
def test_spectra_are_those_of_scipy(window, hop):
    x, before = noise(160), (window - hop) // 2
    padded = np.pad(x, ((0, 0), (before, window - hop - before)))
    _, _, expected = scipy.signal.stft(
        padded, nperseg=window, noverlap=window - hop, boundary=None, padded=False, detrend=False
    )
    found = stft(jnp.asarray(x), window, hop)
    assert found.shape == (2, 160 // hop, window // 2 + 1)
    scale = np.hanning(window + 1)[:-1].sum()
    np.testing.assert_allclose(found, scale * expected.swapaxes(1, 2), atol=1e-5)


@pytest.mark.parametrize(("window", "hop", "samples"), [(64, 32, 160), (64, 8, 150), (16, 8, 41)])
def test_the_inverse_gives_the_sound_back(window, hop, samples):
    x = noise(samples)
    found = jax.jit(lambda x: inverse(stft(x, window, hop), samples, window, hop))(x)
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_the_inverse_is_nearest_in_the_sum_of_squares():
    """The gradient of the distance of spectra, with each frequency but the ends twice, is 0."""
    shape = (1, 10, 33)
    rng = np.random.default_rng(1)
    target = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    target[..., [0, -1]] = target[..., [0, -1]].real
    weights = np.full(33, 2.0, np.float32)
    weights[[0, -1]] = 1.0

    def distance(x):
        return jnp.sum(weights * jnp.square(jnp.abs(stft(x, 64, 16) - target)))

    found = inverse(jnp.asarray(target), 160, 64, 16)
    slope = jax.jit(jax.grad(distance))
    assert np.abs(slope(found)).max() < 1e-3 * np.abs(slope(jnp.zeros_like(found))).max()


def test_phases_are_found_in_turns():
    x = np.sin(2 * np.pi * 0.07 * np.arange(512))[None].astype(np.float32)
    magnitude = np.abs(stft(jnp.asarray(x), 64, 16))

    def error(turns):
        found = griffin_lim(jnp.asarray(magnitude), 512, 64, 16, turns)
        return np.sqrt(np.mean((np.abs(stft(found, 64, 16)) - magnitude) ** 2) / magnitude.var())

    assert error(16) < 0.5 * error(0)


@pytest.fixture
def source(data_config):
    def made(**fields):
        spectrogram = {"window": 256, "hop": 64}
        return make_source(data_config(name="tones", **{"spectrogram": spectrogram, **fields}))

    return made


def test_networks_see_scaled_logarithms_and_tones_come_back(source):
    tones = source(toy_size=100)
    kind = kinds.of(tones.field)
    assert (tones.field.shape, kind.shape, tones.field.stft) == ((1024, 1), (128, 16, 1), (256, 64))
    assert specs.from_json(specs.to_json(tones.spec)) == tones.spec
    stored = jnp.asarray(tones.arrays["audio"])
    seen = np.asarray(jax.jit(kind.to_network)(stored))
    assert seen.shape == (100, *kind.shape)
    assert np.abs(seen).max() <= 1.0
    # The lowest frequency comes first: the loudest is the pitch, 31.25 Hz from row to row.
    logs = seen[..., 0].mean(axis=2) * kind._scales[1] + kind._scales[0]
    np.testing.assert_allclose(logs.argmax(axis=1) * 31.25, PITCHES[tones.arrays["label"]], atol=32)
    # A frequency's mean is 0 and its deviation a third, but for what is clipped.
    np.testing.assert_allclose(seen.mean(axis=(0, 2, 3)), 0.0, atol=0.05)
    np.testing.assert_allclose(seen.std(axis=(0, 2, 3)), 1 / 3, atol=0.05)
    batch, example = kind.to_network(stored[None, :3]), kind.to_network(stored[0])
    np.testing.assert_allclose(batch[0], seen[:3], atol=1e-6)
    np.testing.assert_allclose(example, seen[0], atol=1e-6)
    back = jax.jit(kind.to_stored)(seen)
    assert (back.shape, back.dtype) == (stored.shape, jnp.int16)
    heard = np.asarray(kind.sound(back))
    assert pitch_accuracy(heard, 8_000, PITCHES) > 0.9
    decays = [np.square(np.asarray(kind.sound(x))[..., 0]) for x in (stored, back)]
    ratios = [np.log(x[:, 512:].sum(axis=1) / x[:, :512].sum(axis=1)) for x in decays]
    np.testing.assert_allclose(*ratios, atol=0.8)
    loudness = [np.abs(np.asarray(kind.sound(x))).max(axis=(1, 2)) for x in (stored, back)]
    assert np.corrcoef(*loudness)[0, 1] > 0.9


def test_settings_that_cannot_work_are_named(source, data_config):
    for fields, message in (
        ({"window": 100}, r"window = 100; accepted: 0, or a power of two of 16"),
        ({"window": 64, "hop": 64}, r"hop = 64; accepted: a half, a quarter"),
        ({"window": 64, "hop": 24}, r"hop = 24; accepted: "),
    ):
        with pytest.raises(ConfigError, match=rf"data\.spectrogram\.{message}"):
            Spectrograms(**fields)
    with pytest.raises(ConfigError, match="of kind 'image'"):
        make_source(data_config(spectrogram={"window": 64, "hop": 16}))
    assert source(spectrogram={}).field.kind == "audio"
