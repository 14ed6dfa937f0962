"""SI-SDR, the distance of log-mel spectrograms and equal pitches, against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from gan_jax.errors import MetricError
from gan_jax.metrics import enhancement, sound

RATE = 8_000
RNG = np.random.default_rng(0)
S = RNG.normal(size=(3, 1024, 2)).astype("float32")


def orthogonal(s):
    """Return noise that is orthogonal to each sound, of its energy."""
    noise = RNG.normal(size=s.shape)
    along = np.sum(noise * s, axis=(1, 2)) / np.sum(s * s, axis=(1, 2))
    noise -= along[:, None, None] * s
    scale = np.linalg.norm(s, axis=(1, 2)) / np.linalg.norm(noise, axis=(1, 2))
    return (scale[:, None, None] * noise).astype("float32")


@pytest.mark.parametrize("scale", [1.0, 0.3, -2.0])
@pytest.mark.parametrize("decibels", [-10.0, 0.0, 10.0, 35.0])
def test_orthogonal_noise_has_the_ratio_of_energies_at_every_scale(decibels, scale):
    e = scale * (S + 10 ** (-decibels / 20) * orthogonal(S))
    np.testing.assert_allclose(enhancement.si_sdr(e, S), [decibels] * 3, atol=1e-3)


def test_si_sdr_is_that_of_the_definition():
    e = 0.7 * S + 0.3 * RNG.normal(size=S.shape).astype("float32") + 0.1
    expected = []
    for x, y in zip(e.reshape(3, -1).astype(float), S.reshape(3, -1).astype(float), strict=True):
        nearest = (x @ y) / (y @ y) * y
        expected.append(10 * np.log10(np.sum(nearest**2) / np.sum((nearest - x) ** 2)))
    np.testing.assert_allclose(enhancement.si_sdr(e, S), expected, rtol=1e-4)


def test_si_sdr_is_limited():
    silence = np.zeros_like(S)
    np.testing.assert_array_equal(enhancement.si_sdr(S, S), [100.0] * 3)
    np.testing.assert_array_equal(enhancement.si_sdr(silence, silence), [100.0] * 3)
    np.testing.assert_array_equal(enhancement.si_sdr(silence, S), [-100.0] * 3)
    np.testing.assert_array_equal(enhancement.si_sdr(S, silence), [-100.0] * 3)
    # Up to the rounding of float32.
    assert np.all(np.asarray(enhancement.si_sdr(0.3 * S, S)) >= 90.0)
    assert np.all(np.asarray(enhancement.si_sdr(1e-30 * S, S)) <= 100.0)


def test_the_log_mel_distance_of_a_louder_sound_is_its_gain():
    time = np.arange(2048) / RATE
    chirp = 0.1 * signal.chirp(time, 200.0, time[-1], 3800.0)
    s = (chirp + 0.03 * RNG.normal(size=(2, 2048)))[..., None].astype("float32")
    found = enhancement.log_mel_distance(2.0 * s, s, RATE)
    np.testing.assert_allclose(found, [20 * np.log10(2.0)] * 2, atol=0.02)
    np.testing.assert_array_equal(enhancement.log_mel_distance(s, s, RATE), [0.0, 0.0])


def test_the_log_mel_distance_is_that_of_the_definition():
    e = (0.5 * S + 0.1 * RNG.normal(size=S.shape)).astype("float32")
    levels = [np.asarray(sound.log_mel(jnp.asarray(x.mean(axis=-1)), RATE)) for x in (e, S)]
    expected = np.abs(levels[0] - levels[1]).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(enhancement.log_mel_distance(e, S, RATE), expected, rtol=1e-5)


def test_pitches_are_the_same_within_one_step_of_the_spectrum():
    """At 1,024 samples a step is 7.8 Hz; harmonics that are weaker do not count."""
    time = np.arange(1024)[:, None] / RATE
    step = RATE / 1024
    offsets = np.array([0.0, 1.0, -1.0, 2.0, -2.0])
    waves = np.sin(2.0 * np.pi * (80 + offsets[:, None, None]) * step * time + 1.0)
    s = np.sin(2.0 * np.pi * 80 * step * time) + 0.9 * np.sin(2.0 * np.pi * 160 * step * time)
    reference = np.broadcast_to(s, waves.shape).astype("float32")
    found = enhancement.same_pitch(0.1 * waves.astype("float32"), reference)
    np.testing.assert_array_equal(found, [1.0, 1.0, 1.0, 0.0, 0.0])
    assert found.dtype == np.float32
    with pytest.raises(MetricError, match="finite"):
        enhancement.same_pitch(np.nan * reference, reference)


def test_a_metric_of_pairs_is_chosen_by_its_name():
    e = 0.5 * S[:, :, ::-1]
    distance = enhancement.log_mel_distance(e, S, RATE)
    for name, expected in (
        ("si_sdr", enhancement.si_sdr(e, S)),
        ("log_mel_distance", distance),
        ("same_pitch", enhancement.same_pitch(e, S)),
    ):
        np.testing.assert_array_equal(enhancement.pair_values(name, e, S, RATE), expected)


@pytest.mark.parametrize(
    ("one", "other"), [(S, S[:, :-1]), (S[0], S[0]), (S[:0], S[:0]), (S.astype(int), S)]
)
def test_what_is_no_pair_of_sounds_is_refused(one, other):
    with pytest.raises(MetricError, match="accepted: floats"):
        enhancement.si_sdr(one, other)
    with pytest.raises(MetricError, match="accepted: floats"):
        enhancement.same_pitch(one, other)
    with pytest.raises(MetricError, match="accepted: floats"):
        enhancement.log_mel_distance(one, other, RATE)
