"""Measure train steps and starts: ``python -m scripts.benchmark step``, ``replicas``, ``start``.

``step --config=NAME,...`` times the train steps of configurations beside the same networks, losses
and players in PyTorch (`scripts.pytorch`), where that is installed and there is a reference;
``--config=all`` measures every one that has a reference. ``replicas`` times several numbers of
replicas on one device, and compares their images per second with those of one run alone.
Contestants take turns in one process, so that other load affects all alike. ``start
--config=NAME,...``, or ``all``, times the programs from the command to their first train step.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import itertools
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

import configs
from configs import dcgan, gan
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.data import spec as specs
from gan_jax.runs import allocator, compilation_cache
from scripts.starts import start_rows
from scripts.train_steps import (
    Row,
    Step,
    in_turns,
    lengthened,
    make_step,
    metered,
    pytorch_device,
    pytorch_steps,
    references,
    step_rows,
)

PRODUCT_SIZE = 2048  # Height and width of the matrices.


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    commands = parser.add_subparsers(required=True)
    step = commands.add_parser("step", help="train steps, beside PyTorch's")
    step.set_defaults(measure=measure_step)
    step.add_argument(
        "--config", default="wgan_gp", help="NAME[:DATA][,...] of configs/, or all that can compare"
    )
    step.add_argument("--batch_size", type=int, help="default: the configuration's")
    step.add_argument("--steps_per_call", type=int, help="default: the configuration's")
    step.add_argument("--repeats", type=int, default=10, help="turns of each")
    replicas = commands.add_parser("replicas", help="several replicas in one program")
    replicas.set_defaults(measure=measure_replicas)
    replicas.add_argument("--config", choices=sorted(REPLICATED), default="points")
    replicas.add_argument("--replicas", default="1,2,4,8", help="numbers of replicas")
    replicas.add_argument("--batch_size", type=int, default=64, help="of one run")
    replicas.add_argument("--steps_per_call", type=int, default=10)
    replicas.add_argument("--repeats", type=int, default=20, help="turns of each")
    start = commands.add_parser("start", help="from the command to the first train step")
    start.set_defaults(measure=measure_start)
    start.add_argument("--config", default="wgan_gp", help="NAME[:DATA][,...] of configs/, or all")
    start.add_argument("--repeats", type=int, default=3, help="starts with a filled cache")
    start.add_argument(
        "--filled_only", action="store_true", help="use your own cache, and measure it filled alone"
    )
    arguments = vars(parser.parse_args())
    path = arguments.pop("json")
    try:
        publish(arguments.pop("measure")(**arguments), path)
    except errors.GanJaxError as error:
        sys.exit(f"error: {error}")


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


# --- The measurements. ----------------------------------------------------------------------------


def files() -> list[str]:
    """Return the names of the configuration files of the folder ``configs/``."""
    found = {path.stem for path in Path(configs.__file__).parent.glob("*.py")}
    return sorted(found - {"__init__", "base"})


def load(name: str) -> ConfigDict:
    """Return the configuration of a name, ``FILE`` or ``FILE:DATA``, of the folder ``configs/``."""
    file, _, choices = name.partition(":")
    errors.lookup(dict.fromkeys(files()), file, "--config")
    module = importlib.import_module(f"configs.{file}")  # noqa: TID251  One of the files above.
    return module.get_config(choices)


def stored_spec(config: ConfigDict) -> specs.Spec:
    """Return the specification of a configuration's data; sets to download are not opened."""
    data = config.data
    if data.name in ("cifar10", "fashion_mnist", "mnist"):
        return specs.images((data.resolution, data.resolution, data.channels), 10)
    return sources.make_source(data).spec


def measure_step(
    *, config: str, batch_size: int | None, steps_per_call: int | None, repeats: int
) -> list[Row]:
    """Return a row per contestant of each configuration, the rate of products, and a summary."""
    compilation_cache.enable()
    allocator.keep_freed_memory()  # As for a run; of PyTorch, too.
    names = config.split(",")
    if config == "all":
        module = references()
        errors.require(module is not None, "--config", config, "names, where PyTorch is missing")
        names = list(module.REFERENCES)
    given = {"batch_size": batch_size, "steps_per_call": steps_per_call}
    changes = {field: value for field, value in given.items() if value is not None}
    loaded = [(name, stored_spec(load(name))) for name in names]
    rows = [row for name, spec in loaded for row in config_rows(name, spec, changes, repeats)]
    compared = {}
    for row in rows:
        if row["step"].endswith("channels last"):
            compared.setdefault(row["config"], row["time / gan_jax's"])
    rows += product_rows(repeats)
    if len(compared) > 1:
        slowest = min(compared, key=compared.__getitem__)
        mean = float(np.exp(np.mean(np.log(list(compared.values())))))
        rows.append(
            {
                "PyTorch channels last / gan_jax, geometric mean": mean,
                "lowest": compared[slowest],
                "of": slowest,
            }
        )
    return rows


def config_rows(name: str, spec: specs.Spec, changes: Row, repeats: int) -> list[Row]:
    """Return a row per contestant of a configuration, whose ``config.train`` is changed first."""
    steps, on_cpu = {}, jax.default_backend() == "cpu"
    for precision in ("float32",) if on_cpu else ("float32", "bfloat16"):
        config = load(name)
        config.train.update(changes)
        config.precision = precision
        steps[f"gan_jax {precision}"] = make_step(config, spec)
    theirs = pytorch_steps(config, spec)
    spent: dict[str, list[float]] = {label: [] for label in {**steps, **theirs}}
    steps = {
        label: metered(lengthened(step), spent[label])
        for label, step in {**steps, **theirs}.items()
    }
    timed = list(step_rows(steps, in_turns(steps, repeats, warm_up=1)))
    rows = []
    for row in timed:
        rows.append(
            {
                "config": name,
                **{key: row[key] for key in ("step", "ms, median", "ms, fastest")},
                "time / gan_jax's": row["ms, median"] / timed[0]["ms, median"],
                # After the turn that warms up. Other load changes it far less than the duration.
                "CPU ms, median": 1e3 * float(np.median(spent[row["step"]][1:])),
                "GFLOP": 1e3 * row["TFLOP"] if "TFLOP" in row else None,
                "GFLOP/s": 1e3 * row["TFLOP/s"] if "TFLOP" in row else None,
                "temporary GiB": row.get("temporary GiB"),
                "compile s": row.get("compile s"),
                "note": None if theirs else "no PyTorch reference",
            }
        )
    return rows


def product_rows(repeats: int) -> list[Row]:
    """Return the rates of float32 matrix products, to compare the rates of steps with."""
    size = PRODUCT_SIZE
    pair = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    ours, product = jax.device_put(pair), jax.jit(jnp.matmul)
    steps = {"jnp.matmul": Step(lambda: jax.block_until_ready(product(*ours)))}
    if references() is not None:
        import torch

        theirs = torch.tensor(pair, device=pytorch_device())
        steps["torch.matmul"] = Step(lambda: torch.matmul(*theirs)[0, 0].item())
    return [
        {
            "product": f"{name} {size}^3 float32",
            "ms, median": 1e3 * float(np.median(seconds)),
            "GFLOP/s": 2e-9 * size**3 / float(np.median(seconds)),
        }
        for name, seconds in in_turns(steps, repeats).items()
    ]


def measure_start(*, config: str, repeats: int, filled_only: bool) -> list[Row]:
    """Return a row per configuration and state of the cache."""
    errors.require(repeats >= 1, "--repeats", repeats, "1 or more")
    names = files() if config == "all" else config.split(",")
    for name in names:
        load(name)  # A wrong name is reported before any start.
    return [row for name in names for row in start_rows(name, repeats, filled_only=filled_only)]


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
    allocator.keep_freed_memory()  # As for a run; of PyTorch, too.
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
