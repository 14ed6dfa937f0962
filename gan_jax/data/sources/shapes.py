"""Pictures of one shape and their captions: a synthetic data set for text to image.

A picture has 16x16 pixels in colour, or more. Its shape has a size, a colour, a form and a place,
which the caption names; how high it stands, and by how little it is off its place and its size, the
caption does not say. A caption is one of several phrasings with one of several words for each
value.
Twelve of the 96 combinations are held out of the split "train", so that it can be measured whether
a generator combines words as it has never seen them combined.
"""

import itertools

import numpy as np

from gan_jax.data import captions
from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.data.spec import LABEL, Field, image
from gan_jax.errors import lookup, require

SIDE = 16
"""Of the smallest pictures, whose pixels are the unit of all lengths."""
#: By factor, the words for each value; a picture has one value of each factor.
FACTORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "size": (("small", "little", "tiny"), ("large", "big")),
    "colour": (("red", "crimson"), ("green",), ("blue", "azure"), ("yellow", "golden")),
    "form": (("disc", "circle"), ("square", "box"), ("cross", "plus"), ("triangle",)),
    "place": (("left",), ("centre", "center", "middle"), ("right",)),
}
PHRASINGS = (
    "a {size} {colour} {form} {place}",
    "the {colour} {form} at the {place} is {size}",
    "at the {place} is a {size} {colour} {form}",
    "{place} a {form} which is {size} and {colour}",
)
LENGTH = 9
RADII = (2.5, 4.25)
"""Half of the widths of small and large shapes, in pixels."""
RADIUS_JITTER, PLACE_JITTER, HEIGHT_JITTER = 0.25, 0.5, 1.5
"""The largest difference from a size, a place and the middle of the height, in pixels."""
COLOURS = np.array([(220, 50, 50), (50, 190, 60), (60, 80, 220), (225, 205, 50)], np.float64)
BACKGROUND = 80.0
PLACES = (4.5, 7.5, 10.5)
"""Columns of the centres, from the centre of the first pixel on."""
_MIDDLE = (SIDE - 1) / 2
# Pictures that are drawn at a time: arrays of all would not fit into a processor's cache.
_TOGETHER = 256
# The seeds of the splits: pictures of one are not those of the other.
SPLITS = {"train": 4, "test": 5}

_VALUES = [words for values in FACTORS.values() for words in values]
_COUNTS = tuple(len(values) for values in FACTORS.values())
_PLAIN = sorted({w for text in PHRASINGS for w in text.split() if not w.startswith("{")})
#: By word its meaning: 0, or the number of a value of a factor, over all factors, from 1 on.
MEANINGS = {
    **dict.fromkeys(_PLAIN, 0),
    **{word: k for k, words in enumerate(_VALUES, start=1) for word in words},
}
#: The values of every combination, int64 ``[96, 4]``.
COMBINATIONS = np.array(list(itertools.product(*map(range, _COUNTS))))


def is_held_out(values: np.ndarray) -> np.ndarray:
    """Return whether combinations are not in the split "train", bool ``[n]``.

    There is one for each form at each place; each value is held out equally often.

    Args:
      values: by factor, in the order of `FACTORS`, integers ``[n, 4]``.
    """
    size, colour, form, place = np.transpose(values)
    return (colour == (form + place) % 4) & (size == (form // 2 + place) % 2)


class ShapeSource(ArraySource):
    """A source of pictures of shapes with captions."""


def shapes(split: str, size: int, side: int = SIDE) -> ShapeSource:
    """Return pictures ``image`` ``[side, side, 3]`` with their captions ``label`` ``[9]``.

    The combinations take turns: of "train" the 84 that are not held out, of "test" all 96.

    Args:
      split: "train" or "test".
      size: number of pictures.
      side: of a picture, in pixels. Those of the same number are the same at any size.

    Raises:
      ConfigError: the split is unknown, the size is not positive, or the side is below 16.
    """
    seed = lookup(SPLITS, split, "data.split")
    right = isinstance(side, int) and side >= SIDE
    require(right, "data.resolution", side, f"a whole number, {SIDE} or more")
    require(size >= 1, "data.toy_size", size, "1 or more")
    present = COMBINATIONS if split == "test" else COMBINATIONS[~is_held_out(COMBINATIONS)]
    values = present[np.arange(size) % len(present)]
    radius, column, row, phrasing, *words = uniform(seed, (4 + len(FACTORS), size))
    images = render(
        values,
        radius=RADIUS_JITTER * (2 * radius - 1),
        column=PLACE_JITTER * (2 * column - 1),
        row=HEIGHT_JITTER * (2 * row - 1),
        side=side,
    )
    texts = [_caption(*each) for each in zip(values, phrasing, np.transpose(words), strict=True)]
    number = {word: k for k, word in enumerate(MEANINGS, start=1)}
    tokens = captions.padded([[number[w] for w in text.split()] for text in texts], LENGTH)
    spec = {"image": image(images.shape[1:]), LABEL: captions.field(LENGTH, MEANINGS, tokens)}
    return ShapeSource("shapes", split, {"image": images, LABEL: tokens}, spec)


def _caption(values: np.ndarray, phrasing: float, draws: np.ndarray) -> str:
    """Return a caption of one combination by random numbers in [0, 1)."""
    chosen = {}
    for (factor, every), value, draw in zip(FACTORS.items(), values, draws, strict=True):
        words = every[value]
        chosen[factor] = words[int(draw * len(words))]
    return PHRASINGS[int(phrasing * len(PHRASINGS))].format(**chosen)


def render(
    values: np.ndarray,
    radius: np.ndarray,
    column: np.ndarray,
    row: np.ndarray,
    side: int = SIDE,
) -> np.ndarray:
    """Return pictures of shapes on grey, uint8 ``[n, side, side, 3]``, with edges one pixel wide.

    Args:
      values: by factor, in the order of `FACTORS`, integers ``[n, 4]``.
      radius: how much larger than their size they are, in sixteenths of the side, ``[n]``.
      column: how far right of their place their centres are, likewise.
      row: how far below the middle.
      side: in pixels.
    """
    parts = range(_TOGETHER, len(values), _TOGETHER)
    split = [np.split(each, parts) for each in (values, radius, column, row)]
    drawn = [_rendered(v, r, x, y, side) for v, r, x, y in zip(*split, strict=True)]
    return np.concatenate(drawn)


def _rendered(
    values: np.ndarray, radius: np.ndarray, column: np.ndarray, row: np.ndarray, side: int
) -> np.ndarray:
    """Return a few pictures, as `render` does all."""
    size, colour, form, place = np.transpose(values)
    r = (np.asarray(RADII)[size] + radius)[:, None, None]
    scale = side / SIDE
    centres = (np.arange(side) + 0.5) / scale - 0.5
    y = centres[:, None] - (_MIDDLE + row)[:, None, None]
    x = np.abs(centres[None, :] - (np.asarray(PLACES)[place] + column)[:, None, None])
    # Signed distances to the edge, positive inside.
    square = r - np.maximum(x, np.abs(y))
    cross = np.minimum(square, r / 3 - np.minimum(x, np.abs(y)))
    # Two sides rise by 2 pixels in each to the apex in the middle of the upper edge.
    triangle = np.minimum(square, (y + r - 2 * x) / np.sqrt(5))
    distances = np.stack([r - np.sqrt(x**2 + y**2), square, cross, triangle])
    coverage = np.clip(scale * distances[form, np.arange(len(form))] + 0.5, 0.0, 1.0)
    difference = COLOURS[colour][:, None, None] - BACKGROUND
    return np.round(BACKGROUND + coverage[..., None] * difference).astype(np.uint8)


def factors(field: Field, tokens: np.ndarray) -> np.ndarray:
    """Return the values that captions ask for, integers ``[n, 4]`` in the order of `FACTORS`.

    Args:
      field: of the captions.
      tokens: int32 ``[n, length]``, each with one value of every factor.
    """
    meanings = np.asarray(field.meanings)[tokens] - 1
    columns = []
    for count in _COUNTS:
        columns.append(np.where(meanings < count, meanings, -1).max(axis=1))
        # From here on the values of the next factor are numbered from 0.
        meanings = np.where(meanings < count, -1, meanings - count)
    return np.stack(columns, axis=1)
