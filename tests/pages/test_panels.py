"""Long curves keep their ends and extremes; the same metric of all players is in one panel."""

import math

import numpy as np
import pytest

from gan_jax.pages import panels


@pytest.mark.parametrize("count", [1, 2, 499, 500])
def test_short_curves_are_whole(count):
    np.testing.assert_array_equal(panels.thinned(np.zeros(count)), np.arange(count))


@pytest.mark.parametrize("count", [501, 502, 1000, 12345])
def test_long_curves_keep_ends_and_extremes(count):
    y = np.random.default_rng(count).normal(size=count)
    y[[0, -1]] = 0.0, 0.1
    kept = panels.thinned(y)
    assert len(kept) <= panels.MOST_POINTS
    assert len(kept) > 0.9 * panels.MOST_POINTS or count < 1000
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert (np.diff(kept) > 0).all()
    assert {y.argmin(), y.argmax()} <= set(kept)
    # Of every part, not only of the curve.
    for part in np.array_split(np.arange(1, count - 1), 249):
        assert {part[y[part].argmin()], part[y[part].argmax()]} <= set(kept)


def test_values_that_are_not_finite_do_not_hide_others():
    y = np.random.default_rng(0).normal(size=5000)
    y[::3], y[1::3] = math.nan, math.inf
    kept = panels.thinned(y)
    finite = np.where(np.isfinite(y))[0]
    assert {finite[y[finite].argmin()], finite[y[finite].argmax()]} <= set(kept)
    assert np.isfinite(y[kept[1:-1]]).all()
    assert len(panels.thinned(np.full(5000, math.nan))) <= panels.MOST_POINTS


def rows():
    return [
        {"step": 1, "kimg": 0.1, "d/loss": 1.0, "g/loss": 2.0, "d/real_score": 3.0},
        {"step": 2, "kimg": 0.2, "d/loss": math.nan, "g/loss": 4.0, "d/fake_score": 5.0},
        {"step": 3, "kimg": 0.3, "d/loss": 7.0, "g/learning_rate": 0.1, "alone": 8.0, "b/a": 9.0},
    ]


def test_panels_are_those_of_metrics_in_the_order_of_interest():
    found = panels.of_metrics(rows())
    titles = [panel.title for panel in found]
    assert titles == ["loss", "scores", "a", "alone", "learning rate"]
    loss, scores = found[:2]
    assert [(c.name, c.x.tolist()) for c in loss.curves] == [
        ("d", [0.1, 0.2, 0.3]),
        ("g", [0.1, 0.2]),
    ]
    np.testing.assert_array_equal(loss.curves[0].y, [1.0, math.nan, 7.0])
    assert loss.note == "1 value is not finite and not drawn"
    assert scores.note == ""
    assert [(c.name, c.y.tolist()) for c in scores.curves] == [("real", [3.0]), ("fake", [5.0])]
    assert {panel.axis for panel in found} == {"kimg"}


def test_players_keep_their_colours():
    by_title = {panel.title: panel for panel in panels.of_metrics(rows())}
    colours = {c.name: c.colour for c in by_title["loss"].curves}
    assert len(set(colours.values())) == 2
    (rate,) = by_title["learning rate"].curves
    assert rate.colour == colours["g"]
    assert len({c.colour for c in by_title["scores"].curves}) == 2


def test_without_kimg_curves_are_drawn_over_steps():
    without = [*rows(), {"step": 4, "d/loss": 1.0}]
    (loss, *_) = panels.of_metrics(without)
    assert loss.axis == "step"
    assert loss.curves[0].x.tolist() == [1, 2, 3, 4]


def test_rows_of_any_order_make_an_ascending_curve():
    (loss, *_) = panels.of_metrics(rows()[::-1])
    assert loss.curves[0].x.tolist() == [0.1, 0.2, 0.3]
    assert loss.curves[1].y.tolist() == [2.0, 4.0]
