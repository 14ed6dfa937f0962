"""The errors that a user can cause; each message names the field, its value, what is accepted."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class GanJaxError(Exception):
    """Base of every error whose message is meant for the user; the command line prints it bare."""


class ConfigError(GanJaxError, ValueError):
    """A field of the configuration has a value that cannot work."""


class UnknownNameError(ConfigError):
    """A field of the configuration has a name that no entry of its registry has."""


class DataKindError(ConfigError):
    """A network is for another kind of data than those that it is given."""


class DataError(GanJaxError):
    """A data set is missing, damaged or unfit for what was asked of it."""


class CheckpointError(GanJaxError):
    """A checkpoint is missing, damaged, or does not fit the state it is restored into."""


class WorkdirError(GanJaxError):
    """A run directory cannot be used: unwritable, of another config, or in use."""


class DivergenceError(GanJaxError):
    """Training produced a number that is not finite, or samples far worse than its best."""


class DeviceMemoryError(GanJaxError):
    """A device has too little memory for what is asked of it."""


class PeerError(GanJaxError):
    """Another process of the same run is gone."""


class SweepError(GanJaxError):
    """A sweep cannot be run, or some of its runs have failed."""


class MetricError(GanJaxError):
    """A metric cannot be computed: too few images, unfit features, missing weights."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean "x"?`` for the known name nearest to ``name``, or an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def require(holds: bool, field: str, value: object, accepted: str) -> None:
    """Raise a `ConfigError` with the field, its value and what is accepted, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{field} = {value!r}; accepted: {accepted}")


def lookup(registry: Mapping[str, T], name: str, field: str) -> T:
    """Return ``registry[name]``.

    Args:
      registry: a plain dict from names to things.
      name: the name that the user gave.
      field: the configuration field it was given in, for the message.

    Raises:
      UnknownNameError: the name is unknown; the message lists the known ones.
    """
    if name in registry:
        return registry[name]
    known = sorted(registry)
    raise UnknownNameError(
        f"{field} = {name!r} is unknown; accepted: {', '.join(known)}.{suggestion(name, known)}"
    )
