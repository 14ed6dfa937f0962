"""Settings: what a configuration can set of an entry, and the groups of fields made from that.

An *entry* is a dataclass, a Flax module or a function. Its parameters that have a plain default (a
number, a text, a tuple, or ``None`` for a number or text that may be unset) are its settings; the
section ``Attributes`` or ``Args`` of its docstring explains them; a class attribute ``TINY`` bounds
those that make a run long or large, for smoke runs. Entries are chosen by name from *registries*,
which are dicts: one that is added there has its group of configuration fields, their validation and
their help.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import docstring_parser
from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference

from gan_jax.errors import ConfigError, lookup, suggestion

T = TypeVar("T")
Entry = Callable[..., Any]

# Parameters that the program gives, never settings. `build` offers the first ones to every entry.
_OFFERED = ("axis_name", "dtype", "num_classes", "param_dtype")
_GIVEN = (*_OFFERED, "heads", "stage", "total_steps")
_PLAIN = (bool, int, float, str, tuple)
NUMBER_OR_TUPLE = (int, tuple)
"""The type of fields that are one whole number or a tuple of them."""


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of a configuration.

    Attributes:
      fields: an entry whose settings are fields of the group; ``None``: there are none. A setting
        whose default is a `Group` or a dataclass is a sub-group.
      choices: a registry, with a sub-group for the settings of each entry.
      name: the entry that is chosen by default, which is the group's field ``name``; "none" may
        stand for no entry. ``None``: the group has no such field and all entries apply; of one
        whose setting ``weight`` is 0, that setting alone does.
      shared: settings that several entries have, which are fields of the group itself. Their
        defaults are those of the entry ``name``.
      hidden: parameters of entries that are not settings here.
    """

    fields: Entry | None = None
    choices: Mapping[str, Entry] = dataclasses.field(default_factory=dict)
    name: str | None = None
    shared: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def own(self, entry: Entry) -> dict[str, inspect.Parameter]:
        """Return the settings in the sub-group of an entry."""
        out = (*self.shared, *self.hidden)
        return {k: p for k, p in parameters(entry).items() if k not in out}

    def common(self) -> dict[str, inspect.Parameter]:
        """Return the settings in the group itself."""
        found = parameters(self.fields) if self.fields is not None else {}
        if self.shared and self.name is not None:
            default = parameters(self.choices[self.name])
            found |= {name: default[name] for name in self.shared}
        return {k: p for k, p in found.items() if k not in self.hidden}

    def entry(self, config: Any, path: str = "") -> Entry | None:
        """Return the entry that a configuration group chooses; ``None``: none.

        Raises:
          ConfigError: the name is unknown.
        """
        if self.name is None or (config.name == self.name and self.name not in self.choices):
            return None
        return lookup(self.choices, config.name, f"{path}name")

    def names(self) -> list[str]:
        """Return the names that can be chosen."""
        return sorted({*self.choices, *([self.name] if self.name is not None else [])})


def parameters(entry: Entry) -> dict[str, inspect.Parameter]:
    """Return the settings of an entry, or of its class attribute ``Settings`` if it has one."""
    found = inspect.signature(_holder(entry)).parameters
    return {k: p for k, p in found.items() if k not in _GIVEN and _is_setting(p)}


def _holder(entry: Entry) -> Entry:
    return getattr(entry, "Settings", entry)


def _is_setting(parameter: inspect.Parameter) -> bool:
    default = parameter.default
    if default is None:
        # Every Flax module may be given a name.
        return parameter.name != "name" and _kind(parameter) in (*_PLAIN, NUMBER_OR_TUPLE)
    return isinstance(default, _PLAIN) or subgroup(parameter) is not None


def _kind(parameter: inspect.Parameter) -> Any:
    """Return the type of a setting; of one that may be unset, the type it has when it is set."""
    kinds: list[Any] = []
    if typing.get_origin(parameter.annotation) in (typing.Union, types.UnionType):
        given = (k for k in typing.get_args(parameter.annotation) if k is not type(None))
        kinds = [typing.get_origin(k) or k for k in given]
    if set(kinds) == set(NUMBER_OR_TUPLE):
        return NUMBER_OR_TUPLE
    if parameter.default is not None:
        return type(parameter.default)
    return kinds[0] if len(kinds) == 1 else None


def subgroup(parameter: inspect.Parameter) -> Group | None:
    """Return the group that a setting is; ``None``: it is a field."""
    default = parameter.default
    if isinstance(default, Group):
        return default
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return Group(type(default))
    return None


def create(group: Group) -> ConfigDict:
    """Return a configuration group with every field at its default."""
    config = ConfigDict()
    if group.name is not None:
        config.name = group.name
    _fill(config, group.common())
    for name, entry in group.choices.items():
        if own := group.own(entry):
            config[name] = ConfigDict()
            _fill(config[name], own)
    return config


def _fill(config: ConfigDict, settings: Mapping[str, inspect.Parameter]) -> None:
    for name, parameter in settings.items():
        if (inner := subgroup(parameter)) is not None:
            config[name] = create(inner)
        elif parameter.default is None or _kind(parameter) == NUMBER_OR_TUPLE:
            config[name] = FieldReference(parameter.default, field_type=_kind(parameter))
        else:
            config[name] = parameter.default


def options(group: Any, entry: Entry) -> dict[str, Any]:
    """Return the arguments for ``entry``, which a configuration group names.

    These are the fields of the sub-group of that name, and those of the group itself that are
    parameters of the entry. Unset ones are left out. Lists, as in a configuration that was read
    from JSON, become tuples.
    """
    known = inspect.signature(entry).parameters
    shared = {k: v for k, v in group.items() if k in known and k not in ("name", group.name)}
    return arguments({**shared, **group.get(group.name, {})})


def arguments(fields: Any) -> dict[str, Any]:
    """Return the fields that are set, lists as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if v is not None}


def build(registry: Mapping[str, Callable[..., T]], path: str, name: str, /, **arguments: Any) -> T:
    """Return the entry of a name, called with arguments.

    Args:
      registry: entries by name.
      path: the configuration group that the name and the settings come from, for messages.
      name: a key of ``registry``.
      **arguments: settings, and what the program gives. A setting that is ``None`` stays at its
        default; a list becomes a tuple. Those of `_OFFERED` that the entry does
        not have are left out.

    Raises:
      ConfigError: the name or a setting is unknown, or a setting has a value that cannot work.
    """
    entry = lookup(registry, name, f"{path}.name")
    known = inspect.signature(entry).parameters
    chosen = {}
    for key, value in arguments.items():
        if key in known:
            chosen[key] = tuple(value) if isinstance(value, list) else value
        elif value is not None and key not in _OFFERED:
            accepted = sorted(parameters(entry))
            raise ConfigError(
                f"{path}.{name}.{key} = {value!r} is unknown; accepted: "
                f"{', '.join(accepted) or 'none'}.{suggestion(key, accepted)}"
            )
    return entry(**{key: value for key, value in chosen.items() if value is not None})


class Field(NamedTuple):
    """A field of a configuration."""

    path: str  # Its dotted name.
    config: ConfigDict  # The group it is in.
    name: str  # Its name there.
    default: Any
    meaning: str  # From the docstring of its entry.
    accepted: str  # Values that it may have, as far as they are known.
    bound: Any = None  # The largest value in a smoke run; `None`: any.

    @property
    def value(self) -> Any:
        """Its value."""
        return self.config[self.name]


def walk(group: Group, config: Any, path: str = "", *, every: bool = False) -> Iterator[Field]:
    """Yield the fields of a configuration group that apply to the entries it chooses.

    Args:
      group: what the fields are made from.
      config: the group of the configuration.
      path: its dotted name and a dot, or "".
      every: whether to yield those of entries that are not chosen, too.

    Raises:
      ConfigError: an entry that is chosen is unknown.
    """
    entry = None
    if group.name is not None:
        entry = group.entry(config, path)
        meaning = _summary(entry) if entry is not None else "Nothing is chosen."
        names = ", ".join(group.names())
        yield Field(f"{path}name", config, "name", group.name, meaning, names)
        if entry is None and not every:
            return
    for name, parameter in group.common().items():
        holder = group.fields if name not in group.shared else entry
        if every or (holder is not None and name in parameters(holder)):
            yield from _fields(holder, name, parameter, config, path, every)
    for choice, other in group.choices.items():
        if every or group.name is None or choice == config.name:
            below = f"{path}{choice}."
            off = not every and group.name is None and config[choice].get("weight") == 0
            for name, parameter in group.own(other).items():
                if not off or name == "weight":
                    yield from _fields(other, name, parameter, config[choice], below, every)


def _fields(
    entry: Entry | None,
    name: str,
    parameter: inspect.Parameter,
    config: Any,
    path: str,
    every: bool,
) -> Iterator[Field]:
    if (inner := subgroup(parameter)) is not None:
        yield from walk(inner, config[name], f"{path}{name}.", every=every)
        return
    kinds = {
        bool: "True, False",
        int: "an integer",
        float: "a number",
        tuple: "a tuple",
        NUMBER_OR_TUPLE: "an integer, or a tuple of integers",
    }
    accepted = kinds.get(_kind(parameter), "")
    if parameter.default is None:
        accepted = f"{accepted or 'a text'}, or None"
    meaning = _meanings(entry).get(name, "") if entry is not None else ""
    bound = getattr(entry, "TINY", {}).get(name)
    yield Field(f"{path}{name}", config, name, parameter.default, meaning, accepted, bound)


@functools.cache
def _meanings(entry: Entry) -> dict[str, str]:
    """Return what docstrings say of an entry's parameters; those of base classes count too."""
    holder = _holder(entry)
    found: dict[str, str] = {}
    for each in reversed(getattr(holder, "__mro__", (holder,))):
        for parameter in docstring_parser.parse(each.__doc__ or "").params:
            found[parameter.arg_name] = " ".join((parameter.description or "").split())
    return found


def _summary(entry: Entry) -> str:
    """Return the first line of an entry's docstring."""
    return docstring_parser.parse(entry.__doc__ or "").short_description or ""


def chosen(group: Group, config: Any) -> ConfigDict:
    """Return a copy of a configuration group without the sub-groups of entries not chosen."""
    nested = {k: inner for k, p in group.common().items() if (inner := subgroup(p)) is not None}
    kept = ConfigDict()
    for name, value in config.items():
        if name in nested:
            kept[name] = chosen(nested[name], value)
        elif group.name is None or name not in group.choices or name == config.name:
            kept[name] = value
    return ConfigDict(kept.to_dict())


def shrink(group: Group, config: Any) -> None:
    """Bound settings by their entries' ``TINY``, in place; the entries of a tuple one by one."""
    for field in walk(group, config, every=True):
        if field.bound is not None:
            value = field.value
            small = tuple(min(v, field.bound) for v in value) if isinstance(value, tuple) else None
            field.config[field.name] = min(value, field.bound) if small is None else small
