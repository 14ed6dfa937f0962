"""The search space: ``def search(space)`` of a configuration file.

def search(space):
    space.log_uniform("optimizer.generator.learning_rate", 1e-5, 1e-3)
    space.choice("loss.name", ["hinge", "non_saturating"])
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.sweeps import definition


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field that a search varies.

    Attributes:
      field: the dotted configuration field.
      kind: ``"uniform"``, ``"log_uniform"``, ``"integers"`` or ``"choice"``.
      low: the smallest value; ``None`` for a choice.
      high: the largest value, inclusive; ``None`` for a choice.
      values: the values of a choice.
    """

    field: str
    kind: str
    low: float | None = None
    high: float | None = None
    values: list[Any] = dataclasses.field(default_factory=list)


class Space:
    """The ``space`` of ``def search(space)``; its methods are called once per varied field.

    Attributes:
      parameters: the parameters added so far.

    Args:
      config: the configuration whose fields are varied.
      common: the fields that ``--config.FIELD=VALUE`` sets for all runs.
    """

    def __init__(self, config: ConfigDict, common: Sequence[str] = ()) -> None:
        self.parameters: list[Parameter] = []
        self._config = config
        self._common = common

    def uniform(self, field: str, low: float, high: float) -> None:
        """Vary a field uniformly between two numbers."""
        self._range("uniform", field, low, high)

    def log_uniform(self, field: str, low: float, high: float) -> None:
        """Vary a field log-uniformly between two positive numbers."""
        self._range("log_uniform", field, low, high)

    def integers(self, field: str, low: int, high: int) -> None:
        """Vary a field over the integers from ``low`` to ``high``, inclusive."""
        self._range("integers", field, low, high)

    def choice(self, field: str, values: Sequence[Any]) -> None:
        """Choose the value of a field from a list."""
        checked = [self._check(field, value) for value in values]
        if len(set(map(repr, checked))) < max(2, len(checked)):
            raise errors.ConfigError(
                f"search: {field}, choice of {list(values)!r}; accepted: two or more that differ"
            )
        self._add(Parameter(field, "choice", values=checked))

    def _range(self, kind: str, field: str, low: float, high: float) -> None:
        low, high = self._check(field, low), self._check(field, high)
        ranges = {float: ("uniform", "log_uniform"), int: ("integers",)}
        accepted = (*ranges.get(type(low), ()), "choice")
        if kind not in accepted:
            raise errors.ConfigError(
                f"search: {field}, {kind}; accepted for this field: {', '.join(accepted)}"
            )
        if not low < high or (kind == "log_uniform" and low <= 0):
            least = " and above 0" if kind == "log_uniform" else ""
            raise errors.ConfigError(
                f"search: {field}, {kind} from {low} to {high}; accepted: low < high{least}"
            )
        self._add(Parameter(field, kind, low, high))

    def _check(self, field: str, value: Any) -> Any:
        if field == definition.SEED:
            raise errors.ConfigError(
                f"search: {field} cannot be searched; --seeds=N repeats every run"
            )
        return definition.checked(self._config, field, value, self._common, "search")

    def _add(self, parameter: Parameter) -> None:
        if parameter.field in (one.field for one in self.parameters):
            raise errors.ConfigError(f"search: {parameter.field} is named twice")
        self.parameters.append(parameter)


def collect(
    describe: Callable[[Space], None], config: ConfigDict, common: Sequence[str] = ()
) -> list[Parameter]:
    """Return the parameters that ``describe`` adds; see `Space` for the other arguments.

    Raises:
      ConfigError: a parameter is invalid, or none is added.
    """
    space = Space(config, common)
    describe(space)
    if not space.parameters:
        raise errors.ConfigError(
            "search(space) has added no field; call for example space.uniform(field, low, high)"
        )
    return space.parameters
