"""Kinds of data: everything that depends on whether a field holds images, sound, labels and so on.

A kind converts stored arrays to what networks see and back, says which augmentations apply, writes
an example to a file and draws a batch as one picture. A new kind is a class in a
module here, an entry of `KINDS` and a source that uses it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from gan_jax.data.kinds.images import Image, Points, Video
from gan_jax.data.kinds.kind import Kind
from gan_jax.data.kinds.labels import Attributes, Caption, Label
from gan_jax.data.kinds.music import Music
from gan_jax.data.kinds.sound import Audio, Spectrogram, log_magnitudes
from gan_jax.data.kinds.text import Text
from gan_jax.data.spec import Field, Spec, data_names
from gan_jax.errors import ConfigError, lookup

__all__ = [
    "KINDS",
    "Audio",
    "Kind",
    "check_images",
    "check_kinds",
    "cropped",
    "is_sound",
    "log_magnitudes",
    "of",
    "to_network",
]

KINDS: dict[str, type[Kind]] = {
    "image": Image,
    "points": Points,
    "audio": Audio,
    "spectrogram": Spectrogram,
    "video": Video,
    "text": Text,
    "music": Music,
    "label": Label,
    "caption": Caption,
    "attributes": Attributes,
}


def of(field: Field) -> Kind:
    """Return the operations on the arrays of a field.

    Raises:
      ConfigError: its kind is unknown.
    """
    return lookup(KINDS, field.kind, "the kind of a field")(field)


def is_sound(field: Field) -> bool:
    """Return whether a field stores sound, whatever networks see of it."""
    return isinstance(of(field), Audio)


def to_network(spec: Spec, stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return a stored batch as networks see it, field by field."""
    return {name: of(spec[name]).to_network(x) for name, x in stored.items()}


def cropped(field: Field, size: int) -> Field:
    """Return the field of squares cut out of a field's images.

    Raises:
      ConfigError: its examples cannot be cropped, or are smaller.
    """
    accepted = "unset"
    if of(field).movable:
        smallest = min(field.shape[:2])
        if 1 <= size <= smallest:
            return dataclasses.replace(field, shape=(size, size, *field.shape[2:]))
        accepted = f"1 to {smallest}, or unset"
    raise ConfigError(
        f"data.crop = {size}; accepted for data points of shape {field.shape}: {accepted}"
    )


def check_images(spec: Spec, what: str) -> tuple[int, int, int]:
    """Return the shape of the images that all data fields hold.

    Args:
      spec: of the data.
      what: what needs images, for the message.

    Raises:
      ConfigError: they hold something else, or images of several shapes.
    """
    height, width, channels = check_kinds(spec, what, image="images")
    return height, width, channels


def check_kinds(spec: Spec, what: str, **accepted: str) -> tuple[int, ...]:
    """Return the shape of all data fields, which are of one of some kinds.

    Args:
      spec: of the data.
      what: what needs these kinds, for the message.
      **accepted: what each kind is called, by its name.

    Raises:
      ConfigError: they are of another kind, or of several kinds or shapes.
    """
    found = {(spec[name].kind, spec[name].shape) for name in data_names(spec)}
    if len(found) != 1 or next(iter(found))[0] not in accepted:
        have = ", ".join(f"{name}: {field.kind} {field.shape}" for name, field in spec.items())
        names = ", or ".join(accepted.values())
        raise ConfigError(f"data.name: the data have {have}; accepted for {what}: {names}")
    return found.pop()[1]
