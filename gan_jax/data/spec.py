"""The specification of a data set: its examples are named fields, each of one kind.

A source has a specification ``{name: Field}``, its batches are dictionaries of arrays by the same
names, and so is ``Turn.batch`` of a player. The names in use are ``image``, ``points``,
``audio``, ``video``, ``text``, ``music`` and ``label``, a class, a vector of attributes or a
caption; ``a`` and ``b`` are the two images of an example for translation. The operations on the
arrays of a kind are in `gan_jax.data.kinds`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_jax.errors import ConfigError, lookup, require

LABEL = "label"
# Examples whose vectors are recorded with a field.
_SHOWN = 256


@dataclasses.dataclass(frozen=True)
class Field:
    """One array of an example.

    Attributes:
      kind: a key of `gan_jax.data.kinds.KINDS`.
      shape: of one example's array; ``()`` for a label.
      dtype: name of the NumPy dtype in which the source stores it.
      class_names: of a label, in the order of its values.
      attributes: of a label that is a vector of numbers, their names; see
        `gan_jax.data.attributes`.
      scales: of attributes, the mean and the deviation by which networks see each; of spectrograms
        those of the logarithm of each frequency's magnitude.
      stft: of spectrograms, the window and the hop in samples.
      vectors: of attributes or captions, those of some images.
      sample_rate: of audio, in Hz.
      vocabulary: of text and captions, the token of each number; the first is the end, and stands
        for no text.
      separator: of text and captions, what is between two tokens when it is written.
      meanings: of captions, a number for each token: equal ones mean the same, 0 means nothing.
      lowest_pitch: of music, the MIDI number of its first column; 60 is C4.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    class_names: tuple[str, ...] | None = None
    sample_rate: int | None = None
    attributes: tuple[str, ...] | None = None
    scales: tuple[tuple[float, float], ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    vocabulary: tuple[str, ...] = ()
    stft: tuple[int, int] | None = None
    separator: str = ""
    meanings: tuple[int, ...] = ()
    lowest_pitch: int | None = None


Spec = Mapping[str, Field]


def image(shape: Sequence[int]) -> Field:
    """Return the field of a uint8 image ``(height, width, channels)``."""
    return Field("image", tuple(shape), "uint8")


def label(class_names: Sequence[str]) -> Field:
    """Return the field of a label, int32, whose values have these names."""
    return Field("label", (), "int32", class_names=tuple(class_names))


def labelled(name: str, field: Field, classes: int | Sequence[str] | None = None) -> Spec:
    """Return the specification of one field and, unless ``classes`` is ``None``, a label.

    Args:
      name: of the field.
      field: the data point.
      classes: names of the classes; a number ``k`` stands for "0" to "k - 1".
    """
    if isinstance(classes, int):
        classes = [str(k) for k in range(classes)]
    return {name: field} if classes is None else {name: field, LABEL: label(classes)}


def images(shape: Sequence[int], classes: int | Sequence[str] | None = None) -> Spec:
    """Return the specification ``{"image", "label"}``; see `labelled`."""
    return labelled("image", image(shape), classes)


def points(classes: int | Sequence[str] | None = None) -> Spec:
    """Return the specification of 2-D points ``{"points", "label"}``; see `labelled`."""
    return labelled("points", Field("points", (2,), "float32"), classes)


def text(length: int, tokens: Sequence[str], separator: str = "") -> Field:
    """Return the field of a text of at most ``length`` tokens, int32.

    Args:
      length: a shorter text ends in the token 0, which is repeated.
      tokens: of the vocabulary, without that of the end.
      separator: what is between two tokens when they are written.
    """
    return Field("text", (length,), "int32", vocabulary=("", *tokens), separator=separator)


def music(shape: tuple[int, int], lowest_pitch: int) -> Field:
    """Return the field of a piano roll ``(steps, pitches, 1)`` of 0 and 1, uint8.

    Args:
      shape: steps, each a sixteenth note, and pitches, in semitones.
      lowest_pitch: the MIDI number of the first one.
    """
    return Field("music", (*shape, 1), "uint8", lowest_pitch=lowest_pitch)


def some_vectors(labels: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return the vectors, evenly spread over ``[n, length]``, that `Field.vectors` holds."""
    spread = np.unique(np.linspace(0, len(labels) - 1, _SHOWN).astype(int))
    return tuple(map(tuple, labels[spread].tolist()))


def without_examples(spec: Spec) -> Spec:
    """Return a specification without what differs between the splits of one data set."""
    return {name: dataclasses.replace(field, scales=(), vectors=()) for name, field in spec.items()}


def pairs(shape: Sequence[int]) -> Spec:
    """Return the specification ``{"a", "b"}`` of two images of one shape."""
    return {"a": image(shape), "b": image(shape)}


def data_names(spec: Spec) -> list[str]:
    """Return the names of all fields but the label."""
    return [name for name in spec if name != LABEL]


def data_name(spec: Spec) -> str:
    """Return the name of the one field that is not a label: the data point.

    Raises:
      ConfigError: there is not exactly one.
    """
    names = data_names(spec)
    if len(names) != 1:
        raise ConfigError(
            f"the examples have the fields {', '.join(names)}; accepted here: one field beside the "
            "label (data.pairing = 'none')"
        )
    return names[0]


def data_field(spec: Spec) -> Field:
    """Return the field of the data point; see `data_name`."""
    return spec[data_name(spec)]


def target(spec: Spec) -> Field:
    """Return the field of what a translation is compared with: ``b`` of pairs, or the data point.

    The images ``a`` of pairs may be smaller, see `pair_scale`.
    """
    return spec["b"] if "b" in spec else data_field(spec)


def pair_scale(spec: Spec) -> int:
    """Return the size of the images ``b`` of pairs over that of ``a``; 1 for other data."""
    return spec["b"].shape[0] // spec["a"].shape[0] if "b" in spec else 1


def data(batch: Mapping[str, Any], spec: Spec) -> Any:
    """Return the array of the data points of a batch; see `data_name`."""
    return batch[data_name(spec)]


def class_names(spec: Spec) -> tuple[str, ...] | None:
    """Return the names of the classes, or ``None`` where examples have none."""
    return spec[LABEL].class_names if LABEL in spec else None


def num_classes(spec: Spec) -> int | None:
    """Return the number of classes, or ``None`` where examples have none."""
    names = class_names(spec)
    return None if names is None else len(names)


def label_size(spec: Spec) -> int | None:
    """Return the number of classes, attributes or tokens, or ``None`` where there is no label."""
    if LABEL not in spec or not spec[LABEL].shape:
        return num_classes(spec)
    return len(spec[LABEL].vocabulary) or spec[LABEL].shape[0]


def class_number(names: Sequence[str], name: str | int, field: str) -> int:
    """Return the number of a class, given by its name, or else by its number.

    Args:
      names: of all classes.
      name: a name; a number, also as text, counts where no class has that name.
      field: that gave it, for the message.

    Raises:
      UnknownNameError: there is no such class.
    """
    if isinstance(name, int):
        accepted = f"0 to {len(names) - 1}"
        require(0 <= name < len(names), field, name, accepted)
        return name
    by_name = {known: k for k, known in enumerate(names)}
    return lookup({**{str(k): k for k in range(len(names))}, **by_name}, name, field)


def words(spec: Spec) -> str:
    """Return the shapes of the data, such as ``32x32x3``, for records and messages."""
    return "+".join("x".join(map(str, spec[name].shape)) for name in data_names(spec))


def to_json(spec: Spec) -> dict[str, dict[str, Any]]:
    """Return a specification as JSON-able dictionaries."""
    return {name: dataclasses.asdict(field) for name, field in spec.items()}


def from_json(record: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Return the specification of which `to_json` returned the record."""

    def value(x: Any) -> Any:
        return tuple(map(value, x)) if isinstance(x, list) else x

    return {name: Field(**{k: value(x) for k, x in row.items()}) for name, row in record.items()}
