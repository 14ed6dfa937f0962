"""The sound of piano rolls: pitches, times, and samples without clicks or clipping."""

import numpy as np
import pytest

from gan_jax.report import synthesis
from gan_jax.report.synthesis import SAMPLE_RATE, STEP, sound


def roll(*columns, steps=16, pitches=128, of=slice(None)):
    made = np.zeros((steps, pitches), np.uint8)
    made[of, list(columns)] = 1
    return made


def spectrum(samples):
    """Return frequencies in steps of 1/8 of a bin, and their magnitudes."""
    size = 8 * len(samples)
    return np.fft.rfftfreq(size, 1 / SAMPLE_RATE), np.abs(np.fft.rfft(samples, size))


def cents(found, expected):
    return 1200 * np.log2(found / expected)


@pytest.mark.parametrize(
    ("column", "lowest", "expected"), [(69, 0, 440.0), (0, 60, 261.6256), (67, 60, 12543.85)]
)
def test_a_note_is_loudest_at_the_frequency_of_its_pitch(column, lowest, expected):
    made = sound(roll(column, pitches=68 + (lowest == 0) * 60), lowest)
    frequencies, magnitudes = spectrum(made)
    assert abs(cents(frequencies[magnitudes.argmax()], expected)) < 1
    # Nothing is folded back from above half the rate: there is nothing below the lowest sine.
    assert magnitudes[frequencies < 0.9 * expected].max() < 5e-3 * magnitudes.max()


def test_two_notes_are_two_peaks_and_have_harmonics_of_half_the_amplitude():
    frequencies, magnitudes = spectrum(sound(roll(60, 67), 0))

    def peak(low, high):
        chosen = (low < frequencies) & (frequencies < high)
        return frequencies[chosen][magnitudes[chosen].argmax()], magnitudes[chosen].max()

    (first, loud), (second, same), (octave, half) = peak(250, 300), peak(380, 410), peak(500, 540)
    assert abs(cents(first, 261.6256)) < 1
    assert abs(cents(second, 391.9954)) < 1
    assert same == pytest.approx(loud, rel=0.02)
    assert octave == pytest.approx(2 * first, rel=1e-3)
    assert half == pytest.approx(loud / 2, rel=0.02)


def test_notes_sound_at_their_time_alone_and_begin_and_end_softly():
    made = sound(roll(60, of=slice(4, 8)), 0)
    assert made.shape == (16 * STEP,)
    assert made.dtype == np.float32
    assert STEP * 8 == SAMPLE_RATE  # A sixteenth note at 120 quarter notes a minute.
    inside = made[4 * STEP : 8 * STEP]
    assert not made[: 4 * STEP].any()
    assert not made[8 * STEP :].any()
    assert np.abs(inside[: STEP // 2]).max() > 0.5
    assert np.abs(inside[-STEP:]).max() > 0.5
    # No step between two samples is larger than the sine waves themselves have.
    largest = np.abs(np.diff(inside[STEP : 2 * STEP])).max()
    assert np.abs(np.diff(made)).max() <= 1.01 * largest
    assert np.abs(made[4 * STEP :][:10]).max() < 0.002
    assert np.abs(inside[-10:]).max() < 0.001


def test_silence_is_silent_and_nothing_clips():
    np.testing.assert_array_equal(sound(np.zeros((4, 8)), 60), np.zeros(4 * STEP))
    for columns in ([60], range(48, 72), range(128)):
        made = sound(roll(*columns, steps=2), 0)
        assert 0.02 < np.abs(made).max() <= 0.9 + 1e-6
    # Notes in turn are as loud as one.
    turns = np.eye(2, 128, k=60, dtype=np.uint8)
    assert np.abs(sound(turns, 0)).max() > 0.6
    assert synthesis.frequency(81) == 880.0
