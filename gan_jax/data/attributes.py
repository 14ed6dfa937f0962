"""Attributes: a label of several numbers, such as the 40 of CelebA, of which images have any.

The field of such a label is of kind ``attributes``. It has the vectors of some images, by which
samples are made where none is asked for. So does that of captions (`gan_jax.data.captions`), which
are vectors of tokens.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.data import captions
from gan_jax.data.spec import LABEL, Field, Spec, some_vectors
from gan_jax.errors import ConfigError, lookup


class Scale(NamedTuple):
    """How networks see the numbers of one attribute: ``(number - mean) / deviation``."""

    mean: float = 0.0
    deviation: float = 1.0


def scale_of(numbers: np.ndarray) -> Scale:
    """Return the scale of an attribute by its numbers in a set, ``[n]``.

    Numbers within -1 and 1 stay as they are; others are standardised.
    """
    if np.abs(numbers).max() <= 1:
        return Scale()
    return Scale(float(numbers.mean()), float(numbers.std()) or 1.0)


def field(names: tuple[str, ...], every: np.ndarray, own: np.ndarray) -> Field:
    """Return the field of vectors of attributes.

    Args:
      names: of the attributes.
      every: the vectors of the whole set, ``[m, len(names)]``, which determine the scales.
      own: those of the images of the source, ``[n, len(names)]``.
    """
    return Field(
        "attributes",
        (len(names),),
        "float32",
        attributes=names,
        scales=tuple(map(scale_of, every.T)),
        vectors=some_vectors(own),
    )


def of(spec: Spec) -> Field | None:
    """Return the field of attributes or captions, or ``None`` where examples have neither."""
    found = spec.get(LABEL)
    return found if found is not None and found.kind in ("attributes", "caption") else None


def asked(field: Field, text: str) -> np.ndarray:
    """Return the vectors that a text asks for, ``[n, len(names)]``; of captions ``[1, length]``.

    Args:
      field: of attributes or captions.
      text: a caption; or ``Smiling=1,Male=-1`` gives these attributes of the field's vectors other
        values; ``size=large``, of a column of texts, too. Numbers alone, ``1,-1``, are a whole
        vector.

    Raises:
      ConfigError: an attribute or a word is unknown, or the value of an attribute is no number.
    """
    if field.kind == "caption":
        return captions.tokens(field, text)[None]
    assert field.attributes is not None
    names, parts = field.attributes, [part.strip() for part in text.split(",")]
    if not any("=" in part for part in parts) and len(parts) == len(names):
        return np.array([[_number(part, text) for part in parts]], np.float32)
    vectors = np.array(field.vectors, np.float32)
    for part in parts:
        if part in names:  # One of the texts of a column, which exclude each other.
            column = part.partition("=")[0]
            group = [k for k, name in enumerate(names) if name.startswith(f"{column}=")]
            vectors[:, group] = 0.0
            vectors[:, names.index(part)] = 1.0
            continue
        name, _, value = part.rpartition("=")
        place = lookup({known: k for k, known in enumerate(names)}, name or part, "label")
        vectors[:, place] = _number(value, text)
    return np.unique(vectors, axis=0)


def _number(value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise ConfigError(
            f"label = {text!r} has {value!r}; accepted: NAME=NUMBER, with commas between several, "
            "or a number for each attribute"
        )
    return number
