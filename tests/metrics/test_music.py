"""Statistics of piano rolls: by hand, and on real bars."""

import numpy as np
import pytest

from gan_jax.data.sources.scales import scales
from gan_jax.errors import MetricError
from gan_jax.metrics import music, names
from gan_jax.metrics.compare import compare_music


def rolls(*bars, pitches=5):
    """Return rolls from strings, whose columns are steps: "0 02 -" has a rest at the end."""
    found = np.zeros((len(bars), len(bars[0].split()), pitches, 1), np.uint8)
    for roll, bar in zip(found, bars, strict=True):
        for step, notes in zip(roll, bar.split(), strict=True):
            step[[int(note) for note in notes.strip("-")]] = 1
    return found


def test_violations_are_weighted_by_steps():
    one_scale = np.array([[True, False, True, False, True]])
    both = np.array([[True, False, True, False, True], [False, True, False, True, False]])
    found = rolls("01 1 2 -", "3 3 3 4")
    assert music.scale_violations(found, one_scale, np.array([0, 0])) == 5 / 8
    assert music.scale_violations(found, both, np.array([0, 1])) == 3 / 8
    # Without a label, each roll has the scale that suits it: of the first one, either.
    assert music.scale_violations(found, both) == 3 / 8
    assert music.scale_violations(rolls("- -"), both) == 0.0


def test_polyphony_counts_the_notes_of_steps():
    assert music.polyphony(rolls("01 1 2 -", "012 3 - -")).tolist() == [3, 3, 1, 1, 0, 0]


def test_intervals_are_those_of_the_highest_voice():
    # Up by 2, over a rest down by 1, and held; a lower voice and rests at the ends do not count.
    found = music.intervals(rolls("- 01 03 - - 2 02 2 -"))
    assert found.shape == (9,)
    assert {int(i) - 4: int(found[i]) for i in found.nonzero()[0]} == {2: 1, -1: 1}
    # No interval is between two bars, and the same note after a rest is none.
    assert music.intervals(rolls("0 - 0", "4 4 4")).sum() == 0


def test_total_variation_by_hand():
    one, other = np.array([1, 1, 2]), np.array([0, 5, 5])
    assert music.total_variation(one, other) == pytest.approx(0.25)
    assert music.total_variation(one, 7 * one) == 0.0
    assert music.total_variation(np.array([1, 0]), np.array([0, 3])) == 1.0
    none = np.zeros(3, int)
    assert music.total_variation(one, none) == music.total_variation(none, one) == 1.0
    assert music.total_variation(none, none) == 0.0


def test_real_bars_are_alike_and_damaged_ones_are_not():
    train, test = (scales(split, 2000) for split in ("train", "test"))
    real, labels = train.arrays["music"], train.arrays["label"]
    metrics = [names.parse(name, ()) for name in names.MUSIC_STATISTICS]

    def measured(rolls, labels=labels):
        return compare_music(metrics, rolls, test.arrays["music"], train.scales, labels)

    found = measured(real)
    assert found["scale_violations"] == found["empty_bars"] == 0.0
    assert 0.0 < found["polyphony_tv"] < 0.02
    assert 0.0 < found["interval_tv"] < 0.05
    # Another key changes the scale alone.
    raised = measured(np.pad(real, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1])
    assert raised["scale_violations"] > 0.3
    assert raised["interval_tv"] < 0.1
    # The nearest of four scales suits most bars of another class.
    assert measured(real, np.roll(labels, 1))["scale_violations"] > 0.1
    assert measured(real, None)["scale_violations"] == 0.0
    # A noisy bar has more notes, and larger intervals.
    noise = (np.random.default_rng(0).random(real.shape) < 0.1).astype(np.uint8)
    noisy = measured(real | noise)
    assert min(noisy["polyphony_tv"], noisy["interval_tv"]) > 0.2
    silent = measured(np.where(np.arange(2000)[:, None, None, None] < 500, 0, real))
    assert silent["empty_bars"] == 0.25


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.zeros((2, 3, 4), np.uint8), r"rolls are uint8\[2, 3, 4\]; accepted: uint8 \[n, steps"),
        (np.zeros((2, 3, 4, 1)), r"rolls are float64\[2, 3, 4, 1\]"),
        (np.zeros((0, 3, 4, 1), np.uint8), r"rolls are uint8\[0, 3, 4, 1\]"),
        (np.full((2, 3, 4, 1), 255, np.uint8), "values up to 255; accepted: 0 and 1"),
    ],
)
def test_what_is_no_roll_is_refused(found, message):
    with pytest.raises(MetricError, match=message):
        music.polyphony(found)


def test_scales_of_other_pitches_are_refused():
    with pytest.raises(MetricError, match="1 rolls of 5 pitches with no labels and scales of 4"):
        music.scale_violations(rolls("0"), np.ones((1, 4), bool))
    with pytest.raises(MetricError, match="1 rolls of 5 pitches with 2 labels"):
        music.scale_violations(rolls("0"), np.ones((1, 5), bool), np.zeros(2, int))
