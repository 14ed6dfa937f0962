"""Tables of pages: settings, data, evaluations, starts; plain data from a run's `Contents`."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.pages.contents import Contents, Row, is_number
from gan_jax.pages.panels import Panel, axis_of, curve, metric_names, words
from gan_jax.runs import config as run_config

# Names of classes that are listed.
_SHOWN_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of a configuration: its dotted name, value, default and meaning."""

    path: str
    value: Any
    default: Any
    meaning: str

    @property
    def differs(self) -> bool:
        """Whether the value is not the default."""
        return bool(self.value != self.default)


def settings(config: ConfigDict, path: Path) -> list[Setting]:
    """Return the fields that apply to a run.

    Args:
      config: of the run.
      path: of the run, for the message.

    Raises:
      ConfigError: the run uses an entry of a registry that is not registered in this process.
    """
    try:
        fields = run_config.fields(config)
    except errors.UnknownNameError as error:
        raise errors.ConfigError(
            f"{path}: {error} If a file of your own registers it, import that file first: "
            "--import=FILE on the command line"
        ) from error
    return [Setting(f.path, plain(f.value), plain(f.default), _sentence(f.meaning)) for f in fields]


def _sentence(meaning: str) -> str:
    return meaning[:1].upper() + meaning[1:]


def plain(value: Any) -> Any:
    """Return a value as JSON would give it back."""
    return json.loads(json.dumps(value))


def data_facts(data: Mapping[str, Any], config: ConfigDict) -> list[tuple[str, str]]:
    """Return what a page says of a run's data set, as names and values."""
    facts = [("name", data["name"]), ("examples", f"{data['size']:,}")]
    facts += [("split", str(config.data.split))]
    for name, field in specs.from_json(data["spec"]).items():
        shape = "x".join(map(str, field.shape)) or "one number"
        parts = [field.kind, shape, field.dtype]
        if field.class_names is not None:
            named = ", ".join(field.class_names[:_SHOWN_CLASSES])
            more = ", ..." if len(field.class_names) > _SHOWN_CLASSES else ""
            parts.append(f"{len(field.class_names)} classes ({named}{more})")
        if field.attributes is not None:
            parts.append(f"{len(field.attributes)} attributes")
        if field.sample_rate is not None:
            parts.append(f"{field.sample_rate:,} Hz")
        if field.vocabulary:
            parts.append(f"{len(field.vocabulary) - 1:,} tokens")
        facts.append((f"field {name}", ", ".join(parts)))
    if levels := data.get("levels"):
        facts.append(("levels", ", ".join(f"{name} {value}" for name, value in levels.items())))
    return [*facts, ("fingerprint", data["fingerprint"])]


@dataclasses.dataclass(frozen=True)
class Measured:
    """The evaluations of one protocol.

    Attributes:
      protocol: it.
      words: it, in one line.
      metrics: names, without those of standard deviations.
      rows: by train step, those of the file.
    """

    protocol: Mapping[str, Any]
    words: str
    metrics: list[str]
    rows: list[Row]

    @property
    def json(self) -> str:
        """The protocol as indented JSON."""
        return json.dumps(self.protocol, indent=2, sort_keys=True, ensure_ascii=False)

    def panels(self) -> list[Panel]:
        """Return a panel per metric with two values or more."""
        axis = axis_of(self.rows)
        drawn = [curve(self.rows, m, axis, m, i) for i, m in enumerate(self.metrics)]
        return [Panel(words(c.name), axis, (c,)) for c in drawn if len(set(c.x)) > 1]


def by_protocol(rows: Sequence[Row]) -> list[Measured]:
    """Return evaluations grouped by their protocols, in the order of the file."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps(row["protocol"], sort_keys=True), []).append(row)
    return [_measured(json.loads(key), found) for key, found in groups.items()]


def _measured(protocol: Mapping[str, Any], rows: Sequence[Row]) -> Measured:
    # A process that evaluates a run may record steps in another order.
    numbers = sorted(
        ({name: x for name, x in row.items() if is_number(x)} for row in rows),
        key=lambda row: row["step"],
    )
    names = metric_names(numbers)
    metrics = [n for n in names if not (n.endswith("_std") and n.removesuffix("_std") in names)]
    return Measured(protocol, protocol_words(protocol), metrics, numbers)


def protocol_words(protocol: Mapping[str, Any]) -> str:
    """Return a protocol in one line, whichever version has written it."""
    # Imported late: evaluation needs scikit-learn and SciPy, which take a second to load.
    from gan_jax.runs import run_evaluation

    try:
        return run_evaluation.words(protocol)
    except (AttributeError, KeyError, TypeError, ValueError):
        return json.dumps(protocol, sort_keys=True, ensure_ascii=False)


def last_values(rows: Sequence[Row]) -> list[tuple[str, float, Row, Row]]:
    """Return every metric with its last value, and the rows of its least and greatest one.

    Values that are not finite count as last ones only; a metric without others has its last row.
    """
    found = []
    for name in metric_names(rows):
        own = [row for row in rows if name in row]
        finite = [row for row in own if abs(row[name]) < float("inf")] or own[-1:]
        least = min(finite, key=lambda row: row[name])
        most = max(finite, key=lambda row: row[name])
        found.append((name, own[-1][name], least, most))
    return found


def command(start: Mapping[str, Any]) -> str:
    """Return the command of a start as it is typed in a shell; empty: it is not recorded."""
    argv = start.get("argv")
    if not (isinstance(argv, list) and argv):
        return ""
    program, *arguments = map(str, argv)
    path = Path(program)
    if path.suffix != ".py":
        named = [path.name]
    elif path.parent.name == "experiments":
        named = ["python", "-m", f"experiments.{path.stem}"]
    else:
        named = ["python", program]
    return shlex.join([*named, *arguments])


def start_facts(start: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a page says of one start of a run, as names and values."""
    facts = []
    for name, value in start.items():
        if name in ("argv", "workdir"):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        facts.append((name.replace("_", " "), "unknown" if value is None else str(value)))
    return facts


def headline(found: Contents) -> list[tuple[str, str, str]]:
    """Return the numbers at the top of a report: name, value, and what is to be added."""
    status, step = found.status, found.last_step
    seen = None if step is None else found.kimg_of.get(step)
    facts = [
        ("state", str(status.get("state", "unknown")), str(status.get("reason", ""))),
        ("step", "none" if step is None else f"{step:,}", _of_total(status)),
    ]
    if seen is not None:
        facts.append(("kimg", f"{seen:,.1f}", "thousands of real examples"))
    if found.best is not None and is_number(found.best.value):
        value = f"{found.best.value:.4g}"
        facts.append((f"best {words(found.best.metric)}", value, f"at step {found.best.step:,}"))
    facts.append(("data", str(found.data["name"]), f"{found.data['size']:,} examples"))
    if held := devices(found):
        facts.append(("devices", held, str(found.config.precision)))
    return facts


def devices(found: Contents) -> str | None:
    """Return the devices of the last start of a run, in words; ``None``: they are not recorded."""
    kinds = found.starts[-1].get("devices") if found.starts else None
    if not isinstance(kinds, Mapping):
        return None
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())


def _of_total(status: Mapping[str, Any]) -> str:
    total = status.get("total_steps")
    return f"of {total:,}" if is_number(total) else ""
