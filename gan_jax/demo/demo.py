"""What the demos of runs share: how a server uses them, and how they read forms."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gan_jax import errors

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

#: Bytes of an upload, at most.
LARGEST = 32 * 2**20
#: The fields of a form by name.
Form = Mapping[str, str]


class Demo(Protocol):
    """What a server shows."""

    def warm(self) -> None:
        """Compile what the first answer needs."""

    def page(self) -> str:
        """Return the page as HTML."""

    def answer(self, form: Form, body: bytes) -> str:
        """Return the answer to a form as HTML.

        Args:
          form: the values of its fields by name.
          body: the file that is uploaded; empty: none is.

        Raises:
          GanJaxError: a field has a value that is not accepted, or the file cannot be used.
        """


def facts(run: "Run", step: int) -> dict[str, Any]:
    """Return what the head of the page says of a run."""
    return {
        "title": run.path.resolve().name,
        "variant": run.config.variant,
        "step": step,
        "data": run.data["name"],
    }


def whole(form: Form, name: str, least: int, most: int, default: int) -> int:
    """Return a whole number of a form; an empty field is the default."""
    given = form.get(name, "").strip()
    if not given:
        return default
    found = int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else -1
    errors.require(least <= found <= most, name, given, f"a whole number from {least} to {most}")
    return found


def number(form: Form, name: str, least: float, most: float) -> float | None:
    """Return a number of a form; ``None``: the field is empty."""
    given = form.get(name, "").strip()
    if not given:
        return None
    try:
        found = float(given)
    except ValueError:
        found = float("nan")
    bounds = f"from {least:g} on" if most == float("inf") else f"from {least:g} to {most:g}"
    errors.require(
        least <= found <= most and found < float("inf"), name, given, f"a number {bounds}"
    )
    return found
