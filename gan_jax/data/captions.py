"""Captions: a label that is a text of tokens, by which images are described and asked for.

The field of such a label is of kind ``caption``. Networks see the numbers of the tokens. Like that
of attributes, it has the captions of some images, by which samples are made where none is asked
for.
"""

import re
import unicodedata
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.spec import Field, some_vectors
from gan_jax.errors import ConfigError, suggestion

#: The token of words that are not in the vocabulary.
UNKNOWN = "\ufffd"
# What is between two words: spaces and punctuation, but no hyphen or apostrophe within a word.
_BETWEEN = re.compile(r"[^\w'-]+")
# Words that a message lists at most.
_LISTED = 50


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    plain = unicodedata.normalize("NFC", text.lower()).replace("\u2019", "'")
    return [word for part in _BETWEEN.split(plain) if (word := part.strip("'-"))]


def known(field: Field) -> dict[str, int]:
    """Return the words that can be asked for, and their tokens."""
    return {word: k for k, word in enumerate(field.vocabulary) if word not in ("", UNKNOWN)}


def field(length: int, meanings: dict[str, int], own: np.ndarray) -> Field:
    """Return the field of captions.

    Args:
      length: of the longest, in tokens; a shorter one ends in the token 0, which is repeated.
      meanings: of each word of the vocabulary, in the order of their tokens, which begin at 1.
        Words with the same number mean the same; those of meaning 0 can be left out.
      own: the captions of the images, int32 ``[n, length]``.
    """
    return Field(
        "caption",
        (length,),
        "int32",
        vocabulary=("", *meanings),
        separator=" ",
        meanings=(0, *meanings.values()),
        vectors=some_vectors(own),
    )


def tokens(field: Field, text: str) -> np.ndarray:
    """Return the tokens of a caption that is asked for, int32 ``[length]``.

    Args:
      field: of captions.
      text: words of the vocabulary; case and punctuation are ignored.

    Raises:
      ConfigError: a word is unknown, there are too many, or none.
    """
    number = known(field)
    found, length = words(text), field.shape[0]
    for word in found:
        if word not in number:
            listed = ", ".join(sorted(number)[:_LISTED])
            more = f" and {len(number) - _LISTED:,} other words" if len(number) > _LISTED else ""
            raise ConfigError(
                f"text = {text!r} has the unknown word {word!r}; accepted: {listed}{more}."
                f"{suggestion(word, list(number))}"
            )
    if not 1 <= len(found) <= length:
        raise ConfigError(f"text = {text!r} has {len(found)} words; accepted: 1 to {length}")
    return np.array([number[word] for word in found] + [0] * (length - len(found)), np.int32)


def present(field: Field, captions: jax.Array) -> jax.Array:
    """Return which meanings captions ``[..., length]`` have, bool ``[..., meanings]``.

    The first is that of all words that mean nothing, which no caption has.
    """
    meanings = jnp.take(jnp.asarray(field.meanings), captions, axis=0)
    numbers = jnp.arange(1 + max(field.meanings))
    return ((meanings[..., None] == numbers) & (numbers > 0)).any(axis=-2)


def agree(field: Field, first: jax.Array, second: jax.Array) -> jax.Array:
    """Return whether two captions ``[..., length]`` have the same meanings, in any order."""
    return (present(field, first) == present(field, second)).all(axis=-1)


def padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Return captions of several lengths as one array, int32 ``[len(rows), length]``."""
    return np.array([[*row, *[0] * (length - len(row))] for row in rows], np.int32)
