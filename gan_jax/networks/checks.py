"""Checks of networks' fields, made when a network is constructed: before anything is compiled."""

from collections.abc import Sequence

from gan_jax.errors import ConfigError, DataKindError, suggestion


def check_choice(field: str, value: object, accepted: Sequence[str]) -> None:
    """Raise a `ConfigError` unless `value` is one of `accepted`."""
    if value not in accepted:
        raise ConfigError(
            f"{field} = {value!r} is unknown; accepted: {', '.join(accepted)}."
            f"{suggestion(str(value), accepted)}"
        )


def _is_size(value: object) -> bool:
    # XLA counts in 32 bits.
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def check_size(field: str, value: object) -> None:
    """Raise a `ConfigError` unless `value` is a whole number above zero, and below 2^31."""
    if not _is_size(value):
        raise ConfigError(
            f"{field} = {value!r} cannot work; accepted: a whole number above 0 (and below 2^31)."
        )


def check_sizes(field: str, values: object, length: int | None = None, meaning: str = "") -> None:
    """Raise a `ConfigError` unless `values` is a tuple of whole numbers above zero, below 2^31.

    Args:
      field: the configuration field, for the message.
      values: what the user gave.
      length: how many there must be; None: any number.
      meaning: what the numbers stand for, for the message.
    """
    if (
        not isinstance(values, tuple)
        or not all(map(_is_size, values))
        or (length is not None and len(values) != length)
    ):
        count = "a tuple of" if length is None else f"a tuple of {length}"
        raise ConfigError(
            f"{field} = {values!r} cannot work; accepted: {count} whole numbers above 0{meaning}."
        )


def check_widths(field: str, widths: int | tuple[int, ...], length: int, meaning: str) -> None:
    """Raise a `ConfigError` unless `widths` is one width, or a tuple of ``length`` widths."""
    if isinstance(widths, int):
        check_size(field, widths)
    else:
        check_sizes(field, widths, length, f" ({meaning}), or one number")


def widths_of(widths: int | tuple[int, ...], length: int) -> tuple[int, ...]:
    """Return one width for each of ``length`` layers, of a field that is one or all of them."""
    return (widths,) * length if isinstance(widths, int) else widths


def width_at(side: int, features: int, most: int) -> int:
    """Return the width at a map's side: `features` at 64, in inverse proportion up to `most`."""
    return max(1, min(features * 64 // side, most))


def check_count(field: str, value: object, most: int | None = None) -> None:
    """Raise a `ConfigError` unless `value` is a whole number from 0 up to `most`."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < 0
        or (most is not None and value > most)
    ):
        accepted = "a whole number, 0 or more" if most is None else f"a whole number, 0 to {most}"
        raise ConfigError(f"{field} = {value!r} cannot work; accepted: {accepted}.")


def check_axes(network: str, kind: str, shape: Sequence[int], axes: str, more: str = "") -> None:
    """Raise a `DataKindError` unless data of a shape have as many axes as a network's.

    Args:
      network: its name, for the message.
      kind: of the data that it is for, for the message.
      shape: of one data point.
      axes: that it is for, such as "samples, channels".
      more: what else is accepted, for the message.
    """
    if len(shape) != len(axes.split(", ")):
        raise DataKindError(
            f"data.name: {network} is a network for {kind}, but one data point has shape "
            f"{tuple(shape)}; accepted: ({axes}){more}"
        )


COARSEST = 4
"""Halvings of an image end while its shorter side has at least this many pixels."""


def halvings(shape: Sequence[int]) -> int:
    """Return how often an image ``(height, width, ...)`` is halved, to a shorter side of 4 to 7."""
    return (min(shape[:2]) // COARSEST).bit_length() - 1


def check_image_shape(architecture: str, shape: tuple[int, ...], least: int = 1) -> None:
    """Raise a `ConfigError` unless networks that halve an image admit its shape.

    Height and width are multiples of ``2 ** halvings(shape)``: their ratio is free, and 28x28 has a
    coarsest map of 7x7, 96x64 one of 6x4.

    Args:
      architecture: the network's name, for the message.
      shape: of one data point, `(height, width, channels)`.
      least: the smallest number of halvings.
    """
    more = ", or a network named mlp."
    check_axes(architecture, "images", shape, "height, width, channels", more)
    height, width, channels = shape
    check_size("data.channels", channels)
    value = f"{height}" if height == width else f"({height}, {width})"
    failed = f"data.resolution = {value} cannot be made by {architecture}; accepted: "
    smallest = COARSEST << least
    if not _is_size(height) or not _is_size(width) or min(height, width) < smallest:
        raise ConfigError(f"{failed}{smallest} or more.")
    multiple = 1 << halvings(shape)
    if height % multiple or width % multiple:
        below = [side // multiple * multiple for side in (height, width)]
        above = [-(-side // multiple) * multiple for side in (height, width)]
        near = [str(tuple(sides) if height != width else sides[0]) for sides in (below, above)]
        raise ConfigError(
            f"{failed}at this size multiples of {multiple}, such as {' or '.join(near)}."
        )


def check_video_shape(architecture: str, shape: Sequence[int]) -> None:
    """Raise a `ConfigError` unless networks that halve frames admit videos of a shape.

    Args:
      architecture: the network's name, for the message.
      shape: of one data point, `(frames, height, width, channels)`.
    """
    check_axes(architecture, "videos", shape, "frames, height, width, channels")
    check_image_shape(architecture, tuple(shape[1:]))
