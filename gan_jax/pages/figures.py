"""Samples inside a page, one by one: pictures, animations, and sounds that play."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gan_jax.data.kinds import Kind
from gan_jax.report import grids

_TYPES = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".mid": "audio/midi",
}
# The width of a sample on the page, in pixels.
_NARROWEST, _WIDEST = 112, 320


@dataclasses.dataclass(frozen=True)
class Figure:
    """One sample of a page.

    Attributes:
      alt: what it is, for readers who do not see it.
      label: its class or caption; empty: none.
      image: the picture, spectrogram or piano roll, as an address that contains it.
      sound: the WAV file, likewise; empty: none.
      notes: the MIDI file, likewise; empty: none.
    """

    alt: str
    label: str
    image: str
    sound: str = ""
    notes: str = ""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Samples of a page.

    Attributes:
      width: of each, in pixels.
      figures: the samples; of points one of them all.
      lines: samples of texts.
    """

    width: int
    figures: Sequence[Figure] = ()
    lines: Sequence[str] = ()


def address(suffix: str, content: bytes) -> str:
    """Return an address that contains a file."""
    return f"data:{_TYPES[suffix]};base64,{base64.b64encode(content).decode()}"


def of_samples(
    kind: Kind, made: np.ndarray, names: Sequence[str] | None, text: Mapping[str, str]
) -> Figures:
    """Return samples as a page shows them.

    Args:
      kind: of the data.
      made: samples ``[n, *kind.field.shape]`` as the data are stored.
      names: the class or caption of each; empty ones, or ``None``: there is none.
      text: of every file that has chunks of text, by their keys.
    """
    width = _WIDEST
    if kind.field.kind in ("image", "video"):
        width = int(np.clip(kind.field.shape[-2], _NARROWEST, _WIDEST))
    if kind.sheet == ".txt":
        return Figures(width, lines=kind.lines(made))
    if kind.crowd > 1:
        picture = address(".png", grids.png(kind.picture(made), text))
        return Figures(width, [Figure("Samples", "", picture)])
    named = zip(made, names or [""] * len(made), strict=True)
    shown = [_figure(kind, x, number, name, text) for number, (x, name) in enumerate(named, 1)]
    return Figures(width, shown)


def _figure(
    kind: Kind, example: np.ndarray, number: int, name: str, text: Mapping[str, str]
) -> Figure:
    files = kind.files(example, text) if kind.suffix else {}
    shown = next((suffix for suffix in (".png", ".gif") if suffix in files), ".png")
    if shown not in files:
        # A grid of one, without the lines around it.
        inner = slice(grids.PADDING, -grids.PADDING)
        drawn = kind.picture(example[None])[inner, inner]
        files = {**files, shown: grids.png(drawn, text)}
    places = {suffix: address(suffix, content) for suffix, content in files.items()}
    alt = f"Sample {number}, {name}" if name else f"Sample {number}"
    return Figure(alt, name, places[shown], places.get(".wav", ""), places.get(".mid", ""))
