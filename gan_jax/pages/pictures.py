"""Pictures and texts inside a page: files of a run directory, encoded, as many as a page bears."""

import base64
import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

#: Pictures of samples in a page, at most, and their size in bytes.
MOST = 24
BUDGET = 24 * 2**20
# Characters of a text of samples that are shown.
_MOST_TEXT = 20_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The last chunk of every PNG: length, name and checksum.
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, or a text, of a page.

    Attributes:
      label: what is written beside it.
      uri: the PNG file as an address that contains it; empty: there is a text.
      width: of the picture in pixels.
      height: of the picture in pixels.
      text: lines.
    """

    label: str
    uri: str = ""
    width: int = 0
    height: int = 0
    text: str = ""


def embedded(content: bytes, label: str) -> Picture | None:
    """Return a PNG file as a picture of a page; ``None``: the content is damaged."""
    if not (content.startswith(_SIGNATURE) and content.endswith(_END)):
        return None
    width, height = struct.unpack(">II", content[16:24])
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(label, uri, width, height)


def shown(path: Path, label: str) -> Picture | None:
    """Return a PNG or text file as a picture of a page; ``None``: it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if path.suffix != ".txt":
        return embedded(content, label)
    text = content.decode(errors="replace")
    if (rest := len(text) - _MOST_TEXT) > 0:
        text = f"{text[:_MOST_TEXT]}\n({rest} characters more)"
    return Picture(label, text=text)


def spread(paths: Sequence[Path], most: int = MOST, budget: int = BUDGET) -> list[Path]:
    """Return as many of some files as a page bears, evenly spread, with the first and the last.

    Args:
      paths: existing files.
      most: the number of files, at most.
      budget: their size in bytes, which two files may exceed.
    """
    if not paths:
        return []
    largest = max(1, *(path.stat().st_size for path in paths))
    count = min(len(paths), most, max(2, budget // largest))
    return [paths[i] for i in np.unique(np.rint(np.linspace(0, len(paths) - 1, count)).astype(int))]
