"""The runs of a grid: ``def sweep(add)`` of a configuration file, and ``--seeds``.

A run is a set of overrides: values by dotted configuration field. All overrides are validated here,
before any run starts.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import json
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gan_jax import errors

SEED = "train.seed"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
# With ``_seed=123`` and a suffix appended, a name is still a valid file name.
_LONGEST_NAME = 120


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      name: name of the run and of its directory.
      group: common name of the runs that differ only in the seed.
      overrides: values by dotted configuration field, serializable as JSON.
    """

    name: str
    group: str
    overrides: Mapping[str, Any]

    @property
    def group_overrides(self) -> dict[str, Any]:
        """The overrides that all runs of its group share."""
        return {field: value for field, value in self.overrides.items() if field != SEED}


def load(path: str | Path) -> ModuleType:
    """Return a configuration file as a module, for the functions beside its ``get_config``.

    Side effect: executes the file. Raises `ConfigError` if it is not a Python file.
    """
    spec = importlib.util.spec_from_file_location("sweep_config", path)
    if spec is None or spec.loader is None:
        raise errors.ConfigError(f"--config={path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, name: str, subject: Any, arg: str) -> None:
    """Call a configuration file's ``sweep(add)`` or ``search(space)``; `ConfigError`: it has none.

    A function of two parameters receives ``arg``, the text after the colon of ``--config``, too.
    """
    function = getattr(module, name, None)
    if not callable(function):
        example = {
            "sweep": 'def sweep(add): add(**{"train.seed": 0})',
            "search": 'def search(space): space.log_uniform("penalty.weight", 0.1, 10.0)',
        }[name]
        raise errors.ConfigError(
            f"--config={module.__file__} has no function {name!r}; for example: {example}"
        )
    function(*(subject, arg)[: len(inspect.signature(function).parameters)])


class Definition:
    """The ``add`` of ``def sweep(add)``, called once per run.

    Attributes:
      runs: the runs added so far.

    Args:
      config: the configuration that the runs change, with the common overrides applied.
      common: the fields that ``--config.FIELD=VALUE`` sets for all runs.
      seeds: repeat every run with ``train.seed`` 0 to ``seeds - 1``; ``None``: do not repeat.
    """

    def __init__(
        self, config: ConfigDict, common: Collection[str] = (), seeds: int | None = None
    ) -> None:
        check_seeds(seeds, common)
        self.runs: list[Run] = []
        self._config = config
        self._common = frozenset(common)
        self._seeds = seeds
        self._defaults = leaves(config)
        self._by_values: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def __call__(self, name: str | None = None, **overrides: Any) -> None:
        """Add a run: ``add(**{"penalty.weight": 1.0})``.

        Args:
          name: name of the run; derived from the overrides by default.
          **overrides: values by dotted configuration field.

        Raises:
          ConfigError: a field is unknown, a value is invalid, the name is not a valid directory
            name, or the run is a duplicate.
        """
        values = {
            field: checked(self._config, field, value, self._common)
            for field, value in overrides.items()
        }
        if name is not None and not (_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME):
            raise errors.ConfigError(
                f"sweep: name={name!r}; accepted: up to {_LONGEST_NAME} letters, digits and ._=+-, "
                "a letter or digit first"
            )
        if self._seeds is None:
            self._add(name, values)
            return
        if SEED in values:
            raise errors.ConfigError(
                f"--seeds={self._seeds} sets {SEED}, and so does the sweep ({_words(overrides)}); "
                "use only one of them"
            )
        for seed in range(self._seeds):
            stem = name or name_of(values)
            self._add(f"{stem}_seed={seed}", {**values, SEED: seed}, group=stem)

    def _add(self, name: str | None, values: dict[str, Any], group: str | None = None) -> None:
        shared = {field: value for field, value in values.items() if field != SEED}
        if group is None:
            group = name if name is not None and SEED not in values else name_of(shared)
        run = Run(name or name_of(values), group, values)
        if run.name in (one.name for one in self.runs):
            raise errors.ConfigError(
                f'sweep: two runs are named "{run.name}"; give one of them another name=...'
            )
        # Setting a field to its default gives the same run as not setting it.
        whole = _canonical({**self._defaults, **values})
        if whole in self._by_values:
            raise errors.ConfigError(
                f'sweep: "{run.name}" ({_words(values) or "no overrides"}) is the same run as '
                f'"{self._by_values[whole]}"'
            )
        rest = _canonical({**self._defaults, **shared, SEED: None})
        if self._groups.setdefault(group, rest) != rest:
            raise errors.ConfigError(
                f'sweep: runs that differ in more than the seed would share the row "{group}" of '
                "the table; give them different names"
            )
        self._by_values[whole] = run.name
        self.runs.append(run)


def check_seeds(seeds: int | None, common: Collection[str]) -> None:
    """Raise `ConfigError` if ``--seeds`` and ``--config.train.seed`` are both given."""
    if seeds is not None and SEED in common:
        raise errors.ConfigError(f"--seeds={seeds} and --config.{SEED}; use only one of them")


def collect(
    define: Callable[[Definition], None],
    config: ConfigDict,
    common: Collection[str] = (),
    seeds: int | None = None,
) -> list[Run]:
    """Return the runs that ``define`` adds; see `Definition` for the arguments.

    Raises:
      ConfigError: a run is invalid, or none is added.
    """
    definition = Definition(config, common, seeds)
    define(definition)
    if not definition.runs:
        raise errors.ConfigError("sweep(add) has added no run; call add(...) once per run")
    return definition.runs


def leaves(config: ConfigDict) -> dict[str, Any]:
    """Return the value of every field of a configuration that is not a group, by dotted name."""
    return flatten_dict(config.to_dict(), sep=".")


def checked(
    config: ConfigDict, field: str, value: Any, common: Collection[str] = (), where: str = "sweep"
) -> Any:
    """Return a value converted to the type of its field.

    Args:
      config: the configuration.
      field: the dotted field.
      value: its value; NumPy scalars are converted to numbers of Python.
      common: fields that are set for all runs.
      where: the function that gave the value, for messages.

    Raises:
      ConfigError: the field is unknown, of another type, or among ``common``.
    """
    known = leaves(config)
    if field not in known:
        inside = [name for name in known if name.startswith(f"{field}.")]
        if inside:
            raise errors.ConfigError(
                f"{where}: {field} is a group of fields; accepted: {', '.join(inside)}"
            )
        raise errors.ConfigError(
            f"{where}: {field} is not a field.{errors.suggestion(field, known)}"
        )
    if field in common:
        raise errors.ConfigError(
            f"{where}: {field} is set for all runs by --config.{field}, and by the {where} itself; "
            "use only one of them"
        )
    if isinstance(value, list | tuple):
        value = [_native(one) for one in value]
    value = _native(value)
    *groups, leaf = field.split(".")
    kind = functools.reduce(operator.getitem, groups, config).get_type(leaf)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        bool: isinstance(value, bool),
        int: is_number and isinstance(value, int),
        float: is_number and math.isfinite(value),
        str: isinstance(value, str),
        tuple: isinstance(value, list),
    }
    if not fits.get(kind):
        accepted = kind.__name__ if kind in fits else "nothing but its default"
        raise errors.ConfigError(f"{where}: {field} = {value!r}; accepted: {accepted}")
    return value if kind is tuple else kind(value)


def _native(value: Any) -> Any:
    """Return the Python number of a scalar of NumPy or JAX, and anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def name_of(overrides: Mapping[str, Any]) -> str:
    """Return a name for a run that depends only on its own overrides."""
    parts = []
    for field, value in overrides.items():
        items = value if isinstance(value, list | tuple) else [value]
        text = re.sub(r"[^A-Za-z0-9._+-]+", "-", "-".join(map(str, items))).strip("-")
        parts.append(f"{'seed' if field == SEED else field}={text}")
    name = "_".join(parts) or "default"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(_canonical(overrides).encode()).hexdigest()[:8]
        name = f"{name[: _LONGEST_NAME - 9]}-{digest}"
    return name


def flag(field: str, value: Any) -> str:
    """Return the command-line flag that sets a field."""
    if isinstance(value, list | tuple):
        value = tuple(value)
    return f"--config.{field}={value}"


def _words(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in overrides.items())


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)
