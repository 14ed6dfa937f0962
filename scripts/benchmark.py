"""Measure the train step: ``python -m scripts.benchmark step`` and ``... replicas``.

``step`` times WGAN-GP's train step (critic steps with the gradient penalty, then the generator's)
beside the same step in PyTorch, where that is installed. ``replicas`` times several numbers of
replicas on one device, and compares their images per second with those of one run alone.
Contestants take turns in one process, so that other load affects all alike.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.extend.core
import numpy as np
from ml_collections import ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

from configs import dcgan, gan, wgan_gp
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.runs import build, compilation_cache

Row = dict[str, Any]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step", help="WGAN-GP's train step, beside PyTorch's")
    step.set_defaults(measure=measure_step)
    step.add_argument("--resolution", type=int, default=16)
    step.add_argument("--channels", type=int, default=1)
    step.add_argument("--features", type=int, default=32)
    step.add_argument("--critic_steps", type=int, default=5)
    replicas = commands.add_parser("replicas", help="several replicas in one program")
    replicas.set_defaults(measure=measure_replicas)
    replicas.add_argument("--config", choices=sorted(REPLICATED), default="points")
    replicas.add_argument("--replicas", default="1,2,4,8", help="numbers of replicas")
    for command, batch_size, steps_per_call, repeats in ((step, 32, 1, 10), (replicas, 64, 10, 20)):
        command.add_argument("--batch_size", type=int, default=batch_size, help="of one run")
        command.add_argument("--steps_per_call", type=int, default=steps_per_call)
        command.add_argument("--repeats", type=int, default=repeats, help="turns of each")
    arguments = vars(parser.parse_args())
    path = arguments.pop("json")
    publish(arguments.pop("measure")(**arguments), path)


def publish(rows: Sequence[Row], path: Path | None) -> None:
    """Print rows, and write them to a JSON file if a path is given."""
    show(rows)
    if path:
        path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def show(rows: Iterable[Row], file: TextIO | None = None) -> None:
    """Print rows as Markdown tables without nested values, a table for each run of equal keys."""
    # So wide that no number is truncated, however narrow the terminal.
    console = Console(file=file, width=10_000, markup=False, highlight=False)
    flat = ({k: v for k, v in row.items() if not isinstance(v, list | dict)} for row in rows)
    for columns, group in itertools.groupby(flat, key=tuple):
        table = Table(*columns, box=box.MARKDOWN)
        for row in group:
            table.add_row(*map(_cell, row.values()))
        console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def machine() -> Row:
    """Return hardware and versions."""
    found: Row = {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["torch"] = importlib.metadata.version("torch")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv"]
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        found["nvidia-smi"] = listed.stdout.strip().splitlines()[1:]
    return found


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the duration of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# --- Train steps. ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Step:
    """A train step that is ready to be timed.

    Attributes:
      call: makes ``steps`` train steps, and waits until they are done.
      steps: train steps of a call.
      operations: floating-point operations of a step; ``None``: not counted. See `operations`.
      temporary_gib: device memory beside the arguments.
      compile_seconds: time until it was ready.
    """

    call: Callable[[], Any]
    steps: int = 1
    operations: float | None = None
    temporary_gib: float | None = None
    compile_seconds: float | None = None


def make_step(config: ConfigDict, spec: specs.Spec, calls: int = 1) -> Step:
    """Compile the train step of a configuration on one device, with resident random data.

    Side effect: changes ``config``, to train and do nothing else.

    Args:
      config: the configuration.
      spec: of its data.
      calls: number of calls of the compiled function before waiting.
    """
    started = time.perf_counter()
    count = config.train.steps_per_call
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        config.train[name] = 1000 * count
    config.eval.every = 0
    config.num_devices = 1
    with build.matmul_precision(config):
        training = build.make_training(config, spec)
        host = random_arrays(spec, 4096)
        leading = [count, build.data_batches(training), config.train.batch_size]
        if training.replicas > 1:
            leading.insert(1, training.replicas)
        index = {"index": np.random.default_rng(0).integers(0, 4096, leading, np.int32)}
        abstract = [
            training.abstract_state,
            *jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), [host, index]),
        ]
        step = training.parallel
        counted = operations(lambda *arguments: step(*arguments), *abstract) / count
        memory = step.compile(*abstract).memory_analysis()
        state = training.init_state()
    data, batch = step.put_replicated(host), step.put_batch(index)

    def call() -> None:
        nonlocal state
        for _ in range(calls):
            state, _ = step(state, data, batch)
        jax.block_until_ready(state)

    temporary = getattr(memory, "temp_size_in_bytes", 0) / 2**30
    return Step(call, calls * count, counted, temporary, time.perf_counter() - started)


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the floating-point operations of a function's convolutions and matrix products.

    Twice the multiplications of the traced program, with those of padding, without those of the
    zeros of a dilated image.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel, spec = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
            taps = math.prod(kernel[axis] for axis in spec[1:])
            outputs = math.prod(equation.outvars[0].aval.shape)
            total += 2.0 * outputs * taps / math.prod(params["lhs_dilation"])
        elif name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * depth
        inner = [_count(program) for program in jax.extend.core.jaxprs_in_params(params)]
        if inner:
            repeated = params["length"] if name == "scan" else 1
            total += repeated * (max(inner) if name == "cond" else sum(inner))
    return total


def pytorch_steps(
    shape: tuple[int, int, int], *, features: int, batch_size: int, critic_steps: int = 5
) -> dict[str, Step]:
    """Return PyTorch's WGAN-GP steps by name; none where it is not installed."""
    # Threads of PyTorch that spin while they wait would take the cores from JAX.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch

        from scripts import pytorch_reference
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install -e '.[parity]' for the comparison")
        return {}
    variants: dict[str, dict[str, Any]] = {
        "PyTorch eager": {},
        "PyTorch eager, channels last": {"channels_last": True},
    }
    if torch.cuda.is_available() and jax.default_backend() != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        common = {"channels_last": True, "device": "cuda"}
        variants = {
            "PyTorch eager TF32, channels last": common,
            "PyTorch eager bfloat16, channels last": {**common, "bfloat16": True},
        }
    resolution, _, channels = shape
    sizes = (resolution, channels, features, 64, batch_size, critic_steps)
    return {
        name: Step(pytorch_reference.make_step(*sizes, **options))
        for name, options in variants.items()
    }


def in_turns(
    steps: Mapping[str, Step], repeats: int, *, warm_up: int = 2, until: float = math.inf
) -> dict[str, list[float]]:
    """Return the seconds of one train step in each turn, by contestant.

    Args:
      steps: the contestants.
      repeats: number of turns.
      warm_up: number of turns before them, in which libraries choose their kernels.
      until: a time of `time.monotonic`, after which only the first turn is made.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-warm_up, repeats):
        for name, step in steps.items():
            taken = seconds_of(step.call) / step.steps
            if turn >= 0:
                seconds[name].append(taken)
        if turn >= 0 and time.monotonic() > until:
            break
    return seconds


def step_rows(steps: Mapping[str, Step], seconds: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """Yield a row per contestant with what is known of it."""
    for name, step in steps.items():
        median = float(np.median(seconds[name]))
        row = {"step": name, "ms, median": 1e3 * median, "ms, fastest": 1e3 * min(seconds[name])}
        if step.operations is None:
            yield row
        else:
            yield {
                **row,
                "TFLOP": step.operations / 1e12,
                "TFLOP/s": step.operations / median / 1e12,
                "temporary GiB": step.temporary_gib,
                "compile s": step.compile_seconds,
            }


# --- The measurements. ----------------------------------------------------------------------------


def measure_step(
    *,
    resolution: int,
    channels: int,
    features: int,
    critic_steps: int,
    batch_size: int,
    steps_per_call: int,
    repeats: int,
) -> list[Row]:
    """Return a row per contestant: median and fastest milliseconds of a train step."""
    compilation_cache.enable()
    shape = (resolution, resolution, channels)
    steps = {}
    on_cpu = jax.default_backend() == "cpu"
    for precision in ("float32",) if on_cpu else ("float32", "bfloat16"):
        config = wgan_gp.get_config()
        for network in (config.generator, config.discriminator):
            network.resnet.features = features
        config.game.discriminator_steps = critic_steps
        config.train.update(batch_size=batch_size, steps_per_call=steps_per_call)
        config.precision = precision
        steps[f"gan_jax {precision}"] = make_step(config, specs.images(shape))
    sizes = {"features": features, "batch_size": batch_size, "critic_steps": critic_steps}
    steps |= pytorch_steps(shape, **sizes)
    rows = list(step_rows(steps, in_turns(steps, repeats)))
    ours = rows[0]["ms, median"]
    return [{**row, "time / gan_jax's": row["ms, median"] / ours} for row in rows]


def points() -> ConfigDict:
    """Return a GAN of MLPs with two layers of 128 units, on eight Gaussians."""
    config = gan.get_config()
    config.data.name = "ring"
    config.generator.mlp.update(features=(128, 128), output="linear")
    config.generator.latent_dim = 2
    config.discriminator.mlp.features = (128, 128)
    return config


REPLICATED: dict[str, tuple[Callable[[], ConfigDict], specs.Spec]] = {
    "points": (points, specs.points()),
    "digits": (gan.get_config, specs.images((16, 16, 1))),
    "dcgan": (dcgan.get_config, specs.images((16, 16, 1))),
}


def measure_replicas(
    *, config: str, replicas: str, batch_size: int, steps_per_call: int, repeats: int
) -> list[Row]:
    """Return a row per number of replicas: milliseconds of a step, and images per second."""
    compilation_cache.enable()
    make, spec = REPLICATED[config]
    counts = {f"{count}": count for count in (1, *map(int, replicas.split(",")))}
    steps = {}
    for name, count in counts.items():
        c = make()
        c.train.update(batch_size=batch_size, replicas=count, steps_per_call=steps_per_call)
        steps[name] = make_step(c, spec)
    seconds = in_turns(steps, repeats)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return [
        {
            "replicas": count,
            "ms per step, median": 1e3 * medians[name],
            "ms, fastest": 1e3 * min(seconds[name]),
            "images/s in all": count * batch_size / medians[name],
            "gain": count * medians["1"] / medians[name],
        }
        for name, count in counts.items()
    ]


if __name__ == "__main__":
    main()
