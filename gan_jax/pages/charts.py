"""Charts as inline SVG, drawn by Matplotlib, whose colours are variables of the page's style."""

import html
import io
import logging
import re
from typing import Any

import numpy as np

from gan_jax.pages.panels import Panel

#: Colours of curves, which the page defines for a light and a dark background.
COLOURS = 8
_DASHES = ("solid", "dashed", "dotted")
# Matplotlib draws in these colours, which are then replaced by variables.
_INK, _LINE, _SERIES = "#010101", "#020202", "#0303{:02x}"
_VARIABLE = re.compile(r"#(0101(?P<ink>01)|0202(?P<line>02)|0303(?P<series>[0-9a-f]{2}))\b")
_SIZE = (4.0, 2.1)  # Inches of 72 units.
# A point is marked where a curve has no more than these.
_MARKED = 40
_SETTINGS: Any = {
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "gan_jax",
    "xtick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.color": _LINE,
    "ytick.labelcolor": _INK,
}


def figure(panel: Panel) -> dict[str, Any]:
    """Return a panel with its drawing and the classes of its keys, for a template."""
    keys = [(curve.name, key(curve.colour)) for curve in panel.curves]
    return {"title": panel.title, "keys": keys, "svg": svg(panel), "note": panel.note}


def key(number: int) -> str:
    """Return the classes of the style of a curve: its colour, and dashes once all are used."""
    return f"c{number % COLOURS} d{number // COLOURS % len(_DASHES)}"


def svg(panel: Panel) -> str:
    """Return a chart as an SVG element, which depends on the panel alone.

    It names no file and no address. Its colours are the variables ``--ink``, ``--line`` and
    ``--series-0``, ``--series-1``, ... of the style of the page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The first chart of an installation looks for fonts, and says so if that takes some seconds.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    buffer = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for curve in panel.curves:
            marker = "o" if len(curve.x) <= _MARKED else ""
            style: Any = {
                "color": _SERIES.format(curve.colour % COLOURS),
                "linestyle": _DASHES[curve.colour // COLOURS % len(_DASHES)],
            }
            y = np.where(np.isfinite(curve.y), curve.y, np.nan)
            axes.plot(curve.x, y, linewidth=1.4, marker=marker, markersize=3, **style)
        axes.set_xlabel(panel.axis)
        axes.grid(True, axis="y")
        axes.locator_params(nbins=5, axis="y")
        axes.locator_params(nbins=6, axis="x")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)  # They would not be unique in a page.
    label = html.escape(f"{panel.title} over {panel.axis}", quote=True)
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return _VARIABLE.sub(_variable, drawn)


def _variable(found: re.Match[str]) -> str:
    if found["series"]:
        return f"var(--series-{int(found['series'], 16)})"
    return "var(--ink)" if found["ink"] else "var(--line)"
