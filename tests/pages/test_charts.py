"""A chart shows the values that it is given, and nothing of it comes from elsewhere."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gan_jax.pages.panels import Curve, Panel

pytest.importorskip("matplotlib")
from gan_jax.pages import charts


def panel(*values, title="loss", x=None):
    curves = []
    for i, y in enumerate(values):
        places = np.arange(len(y), dtype=float) if x is None else np.asarray(x, float)
        curves.append(Curve(f"c{i}", places, np.asarray(y, float), i))
    return Panel(title, "kimg", tuple(curves))


def path(drawn, colour):
    """Return the corners ``[n, 2]`` of a curve, upwards, and how many parts it has."""
    (d,) = re.findall(rf'<path d="([^"]*)"[^>]*stroke: var\(--series-{colour}\)', drawn)
    points = re.findall(r"[ML] ([\d.]+) ([\d.]+)", d)
    return np.asarray(points, float) * [1, -1], d.count("M ")


def test_points_are_in_proportion_to_values():
    x = np.cumsum(1 + np.arange(60) % 3)
    y, z = np.sin(x), np.cos(x) * 0.5
    drawn = charts.svg(panel(y, z, x=x))
    for colour, values in ((0, y), (1, z)):
        points, parts = path(drawn, colour)
        assert parts == 1
        assert len(points) == 60
        for axis, expected in ((0, x), (1, values)):
            scale = np.ptp(points[:, axis]) / np.ptp(expected)
            np.testing.assert_allclose(
                points[:, axis] - points[0, axis], scale * (expected - expected[0]), atol=1e-3
            )
    # Both have one scale.
    assert np.ptp(path(drawn, 0)[0][:, 1]) > 1.9 * np.ptp(path(drawn, 1)[0][:, 1])


def test_values_that_are_not_finite_are_gaps():
    y = [0.0, 1.0, math.nan, 2.0, 3.0, math.inf, 1.0, -math.inf, 1.0, 1.0]
    points, parts = path(charts.svg(panel(y)), 0)
    assert parts >= 3
    assert np.isfinite(points).all()
    assert charts.svg(panel([math.nan, math.nan])).startswith("<svg")


def test_a_chart_is_one_element_without_addresses():
    drawn = charts.svg(panel([1, 2, 3], title='<b> & "loss"'))
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == '<b> & "loss" over kimg'
    addresses = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', drawn)
    assert all((a or b).startswith("#") for a, b in addresses)
    assert set(re.findall(r"https?://[^\"]*", drawn)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_colours_are_those_of_the_page():
    drawn = charts.svg(panel(*[[i, i + 1] for i in range(charts.COLOURS + 1)]))
    numbers = set(map(int, re.findall(r"var\(--series-(\d+)\)", drawn)))
    assert numbers == set(range(charts.COLOURS))
    assert "var(--ink)" in drawn
    assert "var(--line)" in drawn
    assert not re.search(r"#0[123]0", drawn)


def test_equal_panels_give_equal_charts_and_others_share_no_names():
    assert charts.svg(panel([1, 2])) == charts.svg(panel([1, 2]))
    drawn = charts.svg(panel([1, 2])) + charts.svg(panel([1, 200]))
    names = re.findall(r' id="([^"]*)"', drawn)
    assert names
    for name in names:
        definitions = re.findall(rf'<\w+ id="{name}".*?</\w+>', drawn, re.DOTALL)
        assert len(set(definitions)) == 1
