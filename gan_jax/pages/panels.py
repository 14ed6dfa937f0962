"""Curves for charts: which metrics share a panel, and which points of long curves are shown."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_jax.pages.contents import is_number

#: Points of a curve that are shown at most.
MOST_POINTS = 500
#: The rule by which points of longer curves are chosen, in words.
THINNING = (
    f"A curve of more than {MOST_POINTS} points is divided into parts of equal length; the lowest "
    "and the highest point of each are shown, and the first and the last point of the curve."
)
# Panels in the order in which they are looked at; others follow by name, then the last ones.
_FIRST = ("loss", "scores", "adversarial", "penalty")
_LAST = ("gradient_norm", "learning_rate")
_SCORES = {"real_score": "real", "fake_score": "fake"}


@dataclasses.dataclass(frozen=True)
class Curve:
    """Values of one metric.

    Attributes:
      name: for the legend.
      x: float64 ``[n]``, ascending.
      y: float64 ``[n]``; gaps where it is not finite.
      colour: number of the colour.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int

    @property
    def gaps(self) -> int:
        """How many values are not finite."""
        return int(np.sum(~np.isfinite(self.y)))


@dataclasses.dataclass(frozen=True)
class Panel:
    """Curves in one chart.

    Attributes:
      title: what they show.
      axis: name of the horizontal axis.
      curves: one or more.
    """

    title: str
    axis: str
    curves: tuple[Curve, ...]

    @property
    def note(self) -> str:
        """What the chart cannot show; empty: it shows everything."""
        count = sum(curve.gaps for curve in self.curves)
        values = "1 value is" if count == 1 else f"{count} values are"
        return f"{values} not finite and not drawn" if count else ""


def thinned(y: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Return the numbers of the points that are shown, int64, ascending; see `THINNING`.

    Args:
      y: ``[n]``; values that are not finite are chosen only where a part has no others.
      most: points that are shown at most, 4 or more.
    """
    count = len(y)
    if count <= most:
        return np.arange(count)
    kept = {0, count - 1}
    for part in np.array_split(np.arange(1, count - 1), (most - 2) // 2):
        finite = part[np.isfinite(y[part])]
        chosen = finite if len(finite) else part
        kept |= {int(chosen[np.argmin(y[chosen])]), int(chosen[np.argmax(y[chosen])])}
    return np.asarray(sorted(kept))


def axis_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what curves of rows are drawn over: "kimg" where every row has it, else "step"."""
    return "kimg" if all(is_number(row.get("kimg")) for row in rows) else "step"


def curve(
    rows: Sequence[Mapping[str, Any]], metric: str, axis: str, name: str, colour: int
) -> Curve:
    """Return the curve of a metric, with the points that are shown.

    Args:
      rows: with ``axis`` in each; those without the metric are passed over.
      metric: its name in the rows.
      axis: "kimg" or "step".
      name: of the curve.
      colour: number of its colour.
    """
    found = [row for row in rows if is_number(row.get(metric))]
    x = np.asarray([row[axis] for row in found], np.float64)
    y = np.asarray([row[metric] for row in found], np.float64)
    order = np.argsort(x, kind="stable")
    shown = order[thinned(y[order])]
    return Curve(name, x[shown], y[shown], colour)


def of_metrics(rows: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Return the panels of a run's metrics.

    The same metric of several players is in one panel, and so are the scores of real and generated
    data. A player has the same colour in all panels.
    """
    axis = axis_of(rows)
    names = metric_names(rows)
    players = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
    judges = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in _SCORES}
    groups: dict[str, list[tuple[str, str, int]]] = {}
    for name in names:
        player, _, metric = name.rpartition("/")
        colour = players.index(player)
        title, label = metric, player or metric
        if metric in _SCORES:
            title, label = "scores", _SCORES[metric]
            label = f"{player} {label}" if len(judges) > 1 else label
            colour = 2 * colour + (metric == "fake_score")
        groups.setdefault(title, []).append((name, label, colour))
    return [
        Panel(words(title), axis, tuple(curve(rows, n, axis, label, c) for n, label, c in members))
        for title, members in sorted(groups.items(), key=lambda item: place(item[0]))
    ]


def metric_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all metrics of rows, in their order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in ("step", "kimg")]


def words(name: str) -> str:
    """Return the name of a metric as it is written in a heading."""
    return name.replace("_", " ")


def place(title: str) -> tuple[int, str]:
    """Return where a panel is in the order of panels."""
    if title in _FIRST:
        return _FIRST.index(title), ""
    return (len(_FIRST), title) if title not in _LAST else (len(_FIRST) + 1, title)
