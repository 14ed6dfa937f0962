"""Curves: larger values are higher up, and numbers are where they belong."""

import numpy as np
import pytest

from gan_jax.report import curves

BLUE, RED = (31, 119, 180), (214, 69, 65)


def dots(picture, colour):
    """Return the rows of a colour at the left and the right end of its curve."""
    down, across = np.nonzero((picture == colour).all(-1))
    plotted = down > 25  # Above are the names.
    down, across = down[plotted], across[plotted]
    ends = [down[across == x].mean() for x in (across.min() + 3, across.max() - 3)]
    return ends, (across.min(), across.max())


def test_larger_values_are_higher_up_in_any_order():
    picture = curves.panels([1.0, 0.25, 0.5], "psi", [{"rise": [3, 1, 2], "fall": [1, 3, 2]}])
    assert picture.dtype == np.uint8
    assert picture.shape == (184, 420, 3)
    (left, right), (first, last) = dots(picture, BLUE)
    assert left > right + 50
    assert (first, last) == (61, 403)
    (left, right), _ = dots(picture, RED)
    assert left < right - 50
    given = [{"rise": [1, 2, 3], "fall": [3, 2, 1]}]
    np.testing.assert_array_equal(curves.panels([0.25, 0.5, 1.0], "psi", given), picture)


def test_panels_have_scales_of_their_own_and_leave_out_what_is_not_finite():
    picture = curves.panels([0, 1, 2], "x", [{"a": [1, 2, 3]}, {"b": [100, np.nan, 500]}])
    assert picture.shape == (334, 420, 3)
    top, bottom = picture[:150], picture[150:300]
    assert dots(top, BLUE)[0][0] > dots(top, BLUE)[0][1] + 50
    np.testing.assert_allclose(dots(top, BLUE)[0], dots(bottom, BLUE)[0], atol=1)
    curves.panels([0, 1], "x", [{"constant": [2, 2], "none": [np.nan, np.inf]}])


def test_what_is_no_curve_is_refused():
    for x, y in (([1], [1]), ([1, 1], [1, 2]), ([1, 2], [1])):
        with pytest.raises(ValueError, match="accepted: two numbers or more, and a value at each"):
            curves.panels(x, "x", [{"a": y}])
