"""Settings of what a configuration chooses by name: a network, a loss, a penalty, a game, ...

An *entry* is a dataclass, a Flax module or a function in a registry, which is a dict by name. Its
parameters that have defaults are its settings; its docstring explains them.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from gan_jax.errors import ConfigError, lookup, suggestion

T = TypeVar("T")

GIVEN = ("axis_name", "total_steps")
"""Parameters of entries of any kind that the program gives: never settings."""


def options(group: Any, entry: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings of the entry that a configuration group names.

    These are the fields of the sub-group of that name, and those of the group itself that are
    parameters of the entry. Unset ones are left out. Lists, as in a configuration that was read
    from JSON, become tuples.

    Args:
      group: has a field ``name``, and may have a sub-group for each name.
      entry: what the name stands for.
    """
    known = inspect.signature(entry).parameters
    shared = {k: v for k, v in group.items() if k in known and k != "name"}
    own = group.get(group.name)
    chosen = {**shared, **(own if isinstance(own, ConfigDict) else {})}
    return {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in chosen.items()
        if v is not None and not (k in shared and isinstance(v, ConfigDict))
    }


def build(
    registry: Mapping[str, Callable[..., T]],
    field: str,
    name: str,
    options: Mapping[str, Any],
    *,
    hidden: Collection[str] = (),
    **given: Any,
) -> T:
    """Return the entry of a name, called with its settings.

    Args:
      registry: entries by name.
      field: the configuration group that the name and the settings come from, for messages.
      name: a key of ``registry``.
      options: settings; one that is ``None`` is left at its default, a list becomes a tuple.
      hidden: further parameters that are not settings.
      **given: other arguments; those that are no parameters of the entry are left out.

    Raises:
      ConfigError: the name or a setting is unknown, or a setting has a value that cannot work.
    """
    entry = lookup(registry, name, f"{field}.name")
    parameters = inspect.signature(entry).parameters
    accepted = sorted(
        key
        for key, parameter in parameters.items()
        if parameter.default is not parameter.empty and key not in (*GIVEN, *hidden)
    )
    chosen = {}
    for option, value in options.items():
        if value is None:
            continue
        if option not in accepted:
            raise ConfigError(
                f"{field}.{name}.{option} = {value!r} is unknown; accepted: "
                f"{', '.join(accepted) or 'none'}.{suggestion(option, accepted)}"
            )
        chosen[option] = tuple(value) if isinstance(value, list) else value
    return entry(**chosen, **{key: value for key, value in given.items() if key in parameters})
