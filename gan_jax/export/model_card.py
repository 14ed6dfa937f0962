"""The model card of exported weights: Markdown on their data, scores, settings, use and limits."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

import gan_jax
from gan_jax.data import spec as specs
from gan_jax.export.computations import Computation
from gan_jax.pages import contents, tables
from gan_jax.report import provenance
from gan_jax.report.evaluations import format_value

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

FILE = "MODEL_CARD.md"
# What a run makes, by kind of data.
_NOUNS = {
    "image": "images",
    "points": "points",
    "audio": "sounds",
    "spectrogram": "sounds",
    "video": "videos",
    "music": "music",
    "text": "texts",
}


@dataclasses.dataclass(frozen=True)
class File:
    """A file that the card describes.

    Attributes:
      path: it.
      meaning: what it is.
      computation: that it has; ``None``: it has weights alone.
      shapes: of an ONNX model's inputs; ``None``: it is StableHLO, for shapes of the computation.
    """

    path: Path
    meaning: str
    computation: Computation | None = None
    shapes: Sequence[Sequence[int | str]] | None = None


def card(run: "Run", step: int, files: Sequence[File], licence: str) -> str:
    """Return the model card of files that were made of a run's checkpoint, as Markdown.

    Args:
      run: it.
      step: the train step of the checkpoint.
      files: exist already.
      licence: of the weights, in the words of whoever publishes them.
    """
    found = contents.read(run)
    nouns = _NOUNS.get(specs.target(specs.from_json(run.data["spec"])).kind, "data")
    sections = [
        f"# {run.path.name}",
        f"This model makes synthetic {nouns}. It is the configuration `{run.config.variant}` of "
        "gan_jax, a codebase of generative adversarial networks.",
        _table(("", ""), _facts(found, step, licence)),
        "## Files",
        _table(("file", "content", "bytes", "SHA-256"), map(_file_row, files)),
        *(_use(file) for file in files if file.computation is not None),
        "## Data",
        _table(("", ""), _published(tables.data_facts(run.data, run.config))),
        "## Evaluations",
        *_evaluations(found, step),
        "## Configuration",
        "Fields that differ from their defaults:",
        _table(("field", "value", "default"), _settings(found)),
        "## Intended use",
        "Research on generative models, teaching, and further training. What it makes is to be "
        f"declared as synthetic, and is no evidence of real {nouns}, people or events.",
        "## Limits",
        f"- It has learned from the {run.data['size']:,} examples above alone, and shares their "
        "selection and their gaps.\n"
        f"- Generated {nouns} may resemble training examples; look at the nearest ones before "
        "they are published.\n"
        "- Scores are comparable between equal protocols only.",
    ]
    return "\n\n".join(sections) + "\n"


def _facts(found: contents.Contents, step: int, licence: str) -> list[tuple[str, Any]]:
    start = found.starts[0] if found.starts else {}
    kimg = found.kimg_of.get(step)
    facts = [
        ("licence", licence),
        ("train step", f"{step:,}"),
        ("real examples seen", None if kimg is None else f"{kimg:,.1f} thousand"),
        ("commit of the training", start.get("commit")),
        ("packages of the training", _packages(start.get("packages"))),
        ("exported with", f"gan_jax {gan_jax.__version__}, jax {jax.__version__}"),
    ]
    return [(name, value) for name, value in facts if value is not None]


def _packages(versions: Any) -> str | None:
    if not isinstance(versions, Mapping):
        return None
    return ", ".join(f"{name} {v}" for name, v in versions.items() if v is not None)


def _file_row(file: File) -> tuple[str, ...]:
    content = file.path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"`{file.path.name}`", file.meaning, f"{len(content):,}", digest


def _use(file: File) -> str:
    """Return how a computation is called."""
    made = file.computation
    assert made is not None
    shapes = [one.shape for one in made.inputs]
    code = _stablehlo_code(file.path.name, made)
    if file.shapes is not None:
        shapes = [", ".join(map(str, shape)) for shape in file.shapes]
        code = _onnx_code(file.path.name, made)
    rows = [
        (f"`{one.name}`", f"`{one.dtype} [{shape}]`", one.meaning)
        for one, shape in zip(made.inputs, shapes, strict=True)
    ]
    parts = [f"### `{file.path.name}`", _table(("input", "shape", "content"), rows)]
    return "\n\n".join([*parts, f"Output: {made.meaning}; float32.", code])


def _stablehlo_code(file: str, made: Computation) -> str:
    names = ", ".join(one.name for one in made.inputs)
    return (
        "```python\n"
        "from jax import export  # pip install jax flatbuffers\n\n"
        f'with open("{file}", "rb") as file:\n'
        f"    {made.name} = export.deserialize(bytearray(file.read()))\n"
        f"made = {made.name}.call({names})\n"
        "```"
    )


def _onnx_code(file: str, made: Computation) -> str:
    given = ", ".join(f'"{one.name}": {one.name}' for one in made.inputs)
    return (
        "```python\n"
        "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("{file}")\n'
        f"(made,) = session.run(None, {{{given}}})\n"
        "```"
    )


def _evaluations(found: contents.Contents, step: int) -> list[str]:
    """Return a table per protocol: the row of a train step, or the newest one."""
    if not found.evaluations:
        return ["The run was not evaluated."]
    parts = []
    for measured in tables.by_protocol(found.evaluations):
        rows = [row for row in measured.rows if row["step"] == step] or measured.rows[-1:]
        shown = [
            (f"{row['step']:,}", *(_value(row, metric) for metric in measured.metrics))
            for row in rows
        ]
        parts += [f"{measured.words}:", _table(("train step", *measured.metrics), shown)]
    return parts


def _value(row: contents.Row, metric: str) -> str:
    return format_value(row.get(metric), row.get(f"{metric}_std"))


def _settings(found: contents.Contents) -> list[tuple[str, ...]]:
    changed = [one for one in tables.settings(found.config, found.path) if one.differs]
    rows = _published((one.path, one.value, one.default) for one in changed)
    return [(f"`{path}`", f"`{value}`", f"`{default}`") for path, value, default in rows]


def _published(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(provenance.published(row)) for row in rows]


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table in Markdown; a cell is one line, and ends at no bar of its own."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", r"\|") for cell in row] for row in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
