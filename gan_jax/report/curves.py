"""Curves of metrics: small panels below each other, on one horizontal axis."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLOURS = ((31, 119, 180), (214, 69, 65), (44, 160, 44), (255, 127, 14), (128, 90, 190))
_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 28, 10
_AXIS = 34
_GREY, _BLACK = (178, 178, 178), (0, 0, 0)


def panels(
    x: Sequence[float], label: str, series: Sequence[Mapping[str, Sequence[float]]]
) -> np.ndarray:
    """Draw curves as dots and lines between them; values that are not finite are left out.

    Args:
      x: where the values are, two or more different numbers in any order.
      label: name of the horizontal axis.
      series: of each panel the curves by name, with one value for each of ``x``.

    Returns:
      uint8 ``[height, width, 3]``.

    Raises:
      ValueError: there are fewer than two different numbers, or a curve has another length.
    """
    places = np.asarray(x, np.float64)
    if len(np.unique(places)) < 2 or any(len(y) != len(x) for one in series for y in one.values()):
        raise ValueError(f"curves at {list(x)}; accepted: two numbers or more, and a value at each")
    order = np.argsort(places)
    low, high = places.min(), places.max()
    across = _LEFT + (places - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT * len(series) + _AXIS), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for index, curves in enumerate(series):
        top, bottom = index * _HEIGHT + _TOP, (index + 1) * _HEIGHT - _BOTTOM
        box = (_LEFT, top, _WIDTH - _RIGHT, bottom)
        draw.rectangle(box, outline=_GREY)
        known = np.concatenate([np.asarray(y, np.float64) for y in curves.values()])
        known = known[np.isfinite(known)]
        least, most = (known.min(), known.max()) if len(known) else (0.0, 1.0)
        margin = 0.08 * (most - least) or 0.5
        for value in sorted({float(least), float(most)}):
            down = _down(value, least - margin, most + margin, top, bottom)
            draw.text((_LEFT - 6, down), f"{value:.4g}", _BLACK, font, anchor="rm")
        at = float(_LEFT)
        for (name, y), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
            draw.text((at, top - 8), name, colour, font, anchor="ls")
            at += draw.textlength(name, font) + 14
            down = _down(np.asarray(y, np.float64), least - margin, most + margin, top, bottom)
            points = [(float(across[i]), float(down[i])) for i in order if np.isfinite(down[i])]
            draw.line(points, fill=colour, width=2)
            for a, b in points:
                draw.ellipse((a - 3, b - 3, a + 3, b + 3), fill=colour)
    end = _HEIGHT * len(series)
    for value, place in zip(places, across, strict=True):
        draw.text((float(place), end + 2), f"{value:g}", _BLACK, font, anchor="mt")
    draw.text(((_LEFT + _WIDTH - _RIGHT) / 2, end + 18), label, _BLACK, font, anchor="mt")
    return np.asarray(picture)


def _cycle(count: int) -> list[tuple[int, int, int]]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _down(value: np.ndarray | float, low: float, high: float, top: int, bottom: int):
    """Return how far down values are, in pixels; larger ones are higher up."""
    return bottom - (value - low) / (high - low) * (bottom - top)
