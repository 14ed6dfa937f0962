"""Checks of networks' fields, made when a network is constructed: before anything is compiled."""

from collections.abc import Iterable, Sequence

from gan_jax.errors import ConfigError, suggestion


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


def check_image_shape(
    architecture: str, shape: tuple[int, ...], accepted: Iterable[int], more: bool = False
) -> int:
    """Return the resolution of a square image shape that `architecture` can make.

    Args:
      architecture: the network's name, for the message.
      shape: of one data point, `(height, width, channels)`.
      accepted: the resolutions the architecture admits, ascending.
      more: the pattern of powers of two goes on above the last one listed.

    Raises:
      ConfigError: the shape is not that of a square image of an accepted resolution.
    """
    resolutions = tuple(accepted)
    listed = ", ".join(map(str, resolutions)) + (", and on by powers of two" if more else "")
    if len(shape) != 3:
        raise ConfigError(
            f"data.name: {architecture} is a network for images, but one data point has shape "
            f"{tuple(shape)}; accepted: (height, width, channels), or a network named mlp."
        )
    height, width, channels = shape
    check_size("data.channels", channels)
    power_above = more and _is_size(height) and height > resolutions[-1]
    power_above = power_above and not height & (height - 1)
    if height != width or not (height in resolutions or power_above):
        value = f"{height}" if height == width else f"{height}x{width}"
        raise ConfigError(
            f"data.resolution = {value} cannot be made by {architecture}; accepted: {listed} "
            "(square)."
        )
    return height
