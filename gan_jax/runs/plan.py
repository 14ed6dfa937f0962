"""The plan of a run, printed while it starts: data, networks, schedule, memory."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from gan_jax.data import attributes, captions, kinds, sources
from gan_jax.data import spec as specs
from gan_jax.data.pipeline import Pipeline
from gan_jax.evaluation import anomalies, evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.anomaly import DetectionGame
from gan_jax.games.game import Game, images_per_step
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build
from gan_jax.runs.branch import Parent
from gan_jax.runs.initialization import Weights
from gan_jax.training.optimizers import Optimizer

# Characters of most headings, such as "discriminator".
_HEADING = 13
# Classes or attributes that are named.
_CLASSES = 10


def rows(
    config: ConfigDict,
    training: build.Training,
    pipeline: Pipeline,
    origin: Weights | Parent | None = None,
    chosen: evaluators.Chosen | None = None,
) -> list[tuple[str, str]]:
    """Return the plan as pairs of a heading and its text.

    Args:
      config: the run's configuration.
      training: what it describes.
      pipeline: its batches.
      origin: what it starts from; ``None``: random weights, or a checkpoint of its own.
      chosen: what is measured while it trains; ``None``: nothing is asked for.
    """
    length, source = config.train, pipeline.source
    shape = specs.words(source.spec)
    size = " with ".join(f"{len(side):,}" for side in sources.domains(source).values())
    path = "on the device" if pipeline.resident else f"streamed by {config.data.workers} workers"
    if pipeline.is_decoded:
        path += ", decoded earlier"
    mirrored = ", mirrored at random" if config.data.flip else ""
    penalty = "" if config.penalty.name == "none" else f", {config.penalty.name} penalty"
    devices = training.devices
    images = images_per_step(training.game, length.batch_size)
    players = ", then ".join(
        f"{player.name} {player.steps} step{'s' if player.steps > 1 else ''}"
        for player in training.game.players
    )
    plan = [
        ("variant", f"{config.variant}: {config.loss.name} loss{penalty}"),
        ("data", f"{source.name}: {size} of {shape}, {path}, split {source.split}{mirrored}"),
        *([(_heading(source), ", ".join(source.notes))] if source.notes else []),
        *_labels(source),
        *_unused(source),
        *_anomalies(config, training.game, source),
        *_degradation(training.game),
        *(origin.words() if origin is not None else ()),
        ("train step", players),
        (
            "length",
            f"{length.steps:,} train steps of batch {length.batch_size}: "
            f"{length.steps * images / 1000:,.0f} kimg",
        ),
        (
            "devices",
            f"{len(devices)} x {devices[0].device_kind} by {config.parallel}, {config.precision}",
        ),
    ]
    if training.replicas > 1:
        last = training.seed + training.replicas - 1
        plan.append(("replicas", f"{training.replicas}, of seeds {training.seed} to {last}"))
    if training.fsdp.enabled:
        plan.append(("state", f"sharded over {training.fsdp.devices} devices"))
    plan += _evaluation(config, chosen)
    state = training.abstract_member
    for name, network in state.networks.items():
        module = type(training.game.networks[name].module).__name__
        frozen = _frozen(network.params, training.optimizers[name])
        plan.append((name, f"{module}, {count_parameters(network.params):,} parameters{frozen}"))
    return plan


def memory_rows(compiled: Any) -> list[tuple[str, str]]:
    """Return the row of what one call of the compiled train step needs, where XLA says."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return []
    # The donated state is argument and output at once.
    size = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    return [("memory", f"{size / 2**20:,.0f} MiB per device")]


def _heading(source: sources.Source) -> str:
    """Return the heading of a source's notes."""
    found = {field.kind for field in source.spec.values()}
    return "images" if "image" in found else "examples"


def _evaluation(config: ConfigDict, chosen: evaluators.Chosen | None) -> list[tuple[str, str]]:
    """Return the row of what is measured, or why nothing is."""
    if chosen is None:
        return []
    if not chosen.metrics:
        return [("evaluation", f"none: {chosen.reason}")]
    named = ", ".join(metric.name for metric in chosen.metrics)
    return [("evaluation", f"every {config.eval.every:,} steps: {named}")]


def _labels(source: sources.Source) -> list[tuple[str, str]]:
    """Return the row of the first classes or attributes, where the labels are known at once."""
    labels = sources.known_labels(source)
    if labels is None:
        return []
    field = attributes.of(source.spec)
    if field is not None and field.kind == "caption":
        shown = kinds.of(field).lines(labels[:1])[0]
        return [("captions", f"{len(captions.known(field)):,} words, such as {shown!r}")]
    if field is not None:
        heading, named = "attributes", _ranges(field, labels)
    else:
        assert source.class_names is not None
        counts = np.bincount(labels, minlength=len(source.class_names)).tolist()
        heading = "classes"
        named = [f"{n} ({c:,})" for n, c in zip(source.class_names, counts, strict=True)]
    more = ", ..." if len(named) > _CLASSES else ""
    return [(heading, f"{len(named)}: {', '.join(named[:_CLASSES])}{more}")]


def _ranges(field: specs.Field, vectors: np.ndarray) -> list[str]:
    """Return the attributes with their smallest and largest values, and how they are scaled."""
    words = []
    ends = zip(vectors.min(0), vectors.max(0), strict=True)
    for name, (low, high), (mean, std) in zip(
        field.attributes or (), ends, field.scales, strict=True
    ):
        scaled = "" if (mean, std) == (0, 1) else f", standardised by {mean:.4g} ± {std:.4g}"
        words.append(f"{name} ({low:g} to {high:g}{scaled})")
    return words


def _unused(source: sources.Source) -> list[tuple[str, str]]:
    """Return the row of what is beside the data and not used."""
    return [("not used", ", ".join(source.unused))] if source.unused else []


def _anomalies(config: ConfigDict, game: Game, source: sources.Source) -> list[tuple[str, str]]:
    """Return the row of the classes that an evaluation of anomaly detection measures."""
    if not isinstance(game, DetectionGame):
        return []
    measured = anomalies.measured_source(config, make_settings(config))
    found = anomalies.anomalous_classes(config, source, measured)
    if not found:
        text = f"{anomalies.lacking(config, source, measured)}: nothing can be measured"
        return [("anomalies", text)]
    assert measured.class_names is not None
    named = ", ".join(measured.class_names[k] for k in found[:_CLASSES])
    more = ", ..." if len(found) > _CLASSES else ""
    trained = ", whose normal images are trained on" if measured.split == config.data.split else ""
    return [("anomalies", f"{named}{more}; measured on split {measured.split}{trained}")]


def _degradation(game: Game) -> list[tuple[str, str]]:
    """Return the row of what makes inputs of images, where something does."""
    if not isinstance(game, TranslationGame) or (how := game.degradation) is None:
        return []
    settings = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(how).items())
    return [("degradation", f"{how.name}: {settings}" if settings else how.name)]


def _frozen(params: Any, optimizer: Optimizer) -> str:
    """Return how many of a network's parameters stay as they are, and of which layers."""
    if not optimizer.frozen:
        return ""
    leaves = [x for path, x in jax.tree.leaves_with_path(params) if optimizer.freezes(path)]
    return f", {count_parameters(leaves):,} of them frozen: {', '.join(optimizer.frozen)}"


def show(plan: Iterable[tuple[str, str]]) -> None:
    """Print rows of the plan to standard output."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", min_width=_HEADING)
    table.add_column()
    for heading, text in plan:
        table.add_row(heading, text)
    Console().print(table)


def line(heading: str, text: str) -> str:
    """Return a row of the plan as a line, to be printed below those of `show`."""
    return f"{heading:<{_HEADING}}  {text}"


def show_parameters(training: build.Training, *, every: bool) -> None:
    """Print a table of every network's parameters to standard output.

    Args:
      training: has the networks.
      every: show every array, with its shape; otherwise the sums over the modules of a network.
    """
    table = Table(title="Parameters", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("network", *(("parameter", "shape") if every else ("module",))):
        table.add_column(heading)
    table.add_column("count", justify="right")
    for name, network in training.abstract_member.networks.items():
        for cells in _arrays(network.params) if every else _modules(network.params):
            table.add_row(name, *cells)
        blank = ("all", "") if every else ("all",)
        table.add_row(name, *blank, f"{count_parameters(network.params):,}", style="bold")
    Console().print(table)


def _arrays(params: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the shape and the size of each array."""
    for path, leaf in jax.tree.leaves_with_path(params):
        shape = "x".join(map(str, leaf.shape)) or "scalar"
        named = jax.tree_util.keystr(path, simple=True, separator=".")
        yield named, shape, f"{math.prod(leaf.shape):,}"


def _modules(params: Any) -> Iterator[tuple[str, str]]:
    """Yield the name and the size of each module of a network."""
    for name, own in params.items():
        yield name, f"{count_parameters(own):,}"


def count_parameters(params: Any) -> int:
    """Return how many numbers a tree of arrays, or of their shapes, holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
