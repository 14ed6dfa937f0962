"""Whether pictures of shapes show what their captions ask for."""

import functools

import numpy as np

from gan_jax.data.sources.base import Source
from gan_jax.data.sources.shapes import (
    COMBINATIONS,
    FACTORS,
    HEIGHT_JITTER,
    PLACE_JITTER,
    RADIUS_JITTER,
    ShapeSource,
    factors,
    is_held_out,
    render,
)
from gan_jax.data.spec import Field
from gan_jax.errors import ConfigError
from gan_jax.metrics import templates
from gan_jax.metrics.names import Metric

# Positions of a template relative to its place, its height and its size.
_COLUMNS = np.linspace(-PLACE_JITTER, PLACE_JITTER, 3)
_ROWS = np.linspace(-HEIGHT_JITTER, HEIGHT_JITTER, 7)
_RADII = np.linspace(-RADIUS_JITTER, RADIUS_JITTER, 3)


@functools.cache
def _templates(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of all combinations at several positions, and their values, ``[m, 4]``."""
    which, radius, column, row = np.meshgrid(
        np.arange(len(COMBINATIONS)), _RADII, _COLUMNS, _ROWS, indexing="ij"
    )
    values = COMBINATIONS[which.ravel()]
    return render(values, radius.ravel(), column.ravel(), row.ravel(), side), values


def suitable(source: Source) -> list[str]:
    """Return the metrics of samples that captions of a source ask for."""
    if not isinstance(source, ShapeSource):
        return []
    return ["attributes"] if source.split == "train" else ["attributes", "attributes_held_out"]


def check(metric: Metric, source: Source, captioned: bool) -> None:
    """Raise a `ConfigError` if a metric of captions suits neither the game nor the source.

    Args:
      metric: of captions.
      source: of the captions that samples are asked for by.
      captioned: whether the generator can be asked for captions.
    """
    known = suitable(source)
    if not captioned or not known:
        raise ConfigError(
            f"eval.metrics has {metric.name!r}, but samples are not asked for by captions of "
            f"{source.name}; accepted: shapes as data.name, and generator.conditioning = 'text'"
        )
    if metric.name not in known:
        raise ConfigError(
            f"eval.metrics has {metric.name!r}, but split {source.split!r} of {source.name} has no "
            "combinations that are held out; accepted: eval.split = 'test'"
        )


def read(pictures: np.ndarray) -> np.ndarray:
    """Return the values of size, colour, form and place that pictures show, integers ``[n, 4]``.

    They are those of the nearest picture of a shape, in the mean square; a picture of no shape has
    values, too.

    Args:
      pictures: uint8 ``[n, side, side, 3]``.
    """
    known, values = _templates(pictures.shape[1])
    return values[templates.nearest(pictures, known)]


def attributes(field: Field, pictures: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """Return the shares of values that pictures show as their captions ask.

    Args:
      field: of the captions.
      pictures: uint8 ``[n, side, side, 3]``.
      tokens: of the captions, int32 ``[n, length]``.

    Returns:
      ``attributes``, the mean of the four factors, ``attributes_size`` and so on, those of one, and
      ``attributes_together``, the share of pictures that show all four; of the combinations that
      are trained on. Of the others, where captions ask for some, ``attributes_held_out`` and so on.
    """
    asked = factors(field, tokens)
    right, held_out = read(pictures) == asked, is_held_out(asked)
    found: dict[str, float] = {}
    for name, rows in (
        ("attributes", right[~held_out]),
        ("attributes_held_out", right[held_out]),
    ):
        if len(rows):
            found[name] = float(rows.mean())
            each = zip(FACTORS, rows.mean(axis=0).tolist(), strict=True)
            found |= {f"{name}_{factor}": share for factor, share in each}
            found[f"{name}_together"] = float(rows.all(axis=1).mean())
    return found
