"""How fast it is: ``python -m scripts.benchmark step`` and ``python -m scripts.benchmark startup``.

``step`` times WGAN-GP's train step (critic steps with the gradient penalty, then the generator's)
through the project's own path, beside the same step in PyTorch where that is installed: in one
process, turn by turn, so that whatever else the machine does falls on both. ``startup`` times a
fresh process until its first train step, with an empty and with a filled compilation cache.

Both print a table last, and write it as JSON with ``--json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from configs import wgan_gp
from gan_jax.training import build, compilation_cache

Row = dict[str, Any]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    commands = parser.add_subparsers(dest="command", required=True)
    step = commands.add_parser("step", help="WGAN-GP's train step, beside PyTorch's")
    step.add_argument("--resolution", type=int, default=16)
    step.add_argument("--channels", type=int, default=1)
    step.add_argument("--features", type=int, default=32)
    step.add_argument("--batch_size", type=int, default=32)
    step.add_argument("--critic_steps", type=int, default=5)
    step.add_argument("--repeats", type=int, default=10, help="timed turns of each contestant")
    step.add_argument("--steps_per_call", type=int, default=1)
    commands.add_parser("startup", help="a fresh process until its first train step")
    arguments = parser.parse_args()
    rows = measure_step(arguments) if arguments.command == "step" else measure_startup()
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def measure_step(arguments: argparse.Namespace) -> list[Row]:
    """Return one row per contestant: median and fastest milliseconds of a train step."""
    compilation_cache.enable()
    contestants: dict[str, tuple[Callable[[], Any], int]] = {}
    compile_seconds = {}
    on_cpu = jax.default_backend() == "cpu"
    for precision in ("float32",) if on_cpu else ("float32", "bfloat16"):
        name = f"gan_jax {precision}"
        started = time.perf_counter()
        contestants[name] = our_step(arguments, precision)
        compile_seconds[name] = time.perf_counter() - started
    contestants |= pytorch_steps(arguments)

    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(arguments.repeats + 2):
        for name, (call, steps) in contestants.items():
            started = time.perf_counter()
            call()
            # The first two turns warm up: allocators, libraries that choose their kernels.
            if turn >= 2:
                seconds[name].append((time.perf_counter() - started) / steps)
    rows: list[Row] = [
        {
            "step": name,
            "ms, median": 1e3 * float(np.median(times)),
            "ms, fastest": 1e3 * min(times),
            "compile s": compile_seconds.get(name),
        }
        for name, times in seconds.items()
    ]
    ours = rows[0]["ms, median"]
    for row in rows:
        row["time / gan_jax's"] = row["ms, median"] / ours
    return rows


def our_step(arguments: argparse.Namespace, precision: str) -> tuple[Callable[[], Any], int]:
    """Return a function that makes one call of our step on random data, and its train steps."""
    config = wgan_gp.get_config()
    for network in (config.generator, config.discriminator):
        network.resnet.features = arguments.features
    config.game.discriminator_steps = arguments.critic_steps
    config.train.batch_size = arguments.batch_size
    config.train.steps_per_call = arguments.steps_per_call
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        config.train[name] = arguments.steps_per_call
    config.precision = precision
    config.num_devices = 1
    shape = (arguments.resolution, arguments.resolution, arguments.channels)
    training = build.make_training(config, shape)
    rng = np.random.default_rng(0)
    data = training.parallel.put_replicated(
        {
            "image": rng.integers(0, 256, (4096, *shape), np.uint8),
            "label": np.zeros(4096, np.int32),
        }
    )
    steps = config.train.steps_per_call
    leading = (steps, build.data_batches(training), arguments.batch_size)
    batch = training.parallel.put_batch({"index": rng.integers(0, 4096, leading, np.int32)})
    state = training.init_state()

    def call() -> None:
        nonlocal state
        state = training.parallel(state, data, batch)
        jax.block_until_ready(state)

    call()
    return call, steps


def pytorch_steps(arguments: argparse.Namespace) -> dict[str, tuple[Callable[[], Any], int]]:
    """Return PyTorch's contestants by name; none where it is not installed."""
    # PyTorch's threads would go on spinning in gan_jax's turns, and its own would wait for them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch

        from scripts import pytorch_reference
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install -e '.[parity]' for the comparison")
        return {}
    settings: dict[str, Any] = {
        "resolution": arguments.resolution,
        "channels": arguments.channels,
        "features": arguments.features,
        "latent_dim": 64,
        "batch_size": arguments.batch_size,
        "critic_steps": arguments.critic_steps,
    }
    if not torch.cuda.is_available() or jax.default_backend() == "cpu":
        variants: dict[str, dict[str, bool]] = {
            "PyTorch eager": {},
            "PyTorch eager, channels last": {"channels_last": True},
        }
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        settings["device"] = "cuda"
        variants = {
            "PyTorch eager TF32, channels last": {"channels_last": True},
            "PyTorch eager bfloat16, channels last": {"channels_last": True, "bfloat16": True},
        }
    return {
        name: (pytorch_reference.make_step(**settings, **options), 1)
        for name, options in variants.items()
    }


def measure_startup() -> list[Row]:
    """Return the seconds from the start of a process to its first train step, by cache."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for cache in ("empty", "filled", "filled"):
            command = [
                *(sys.executable, "-m", "experiments.main", "--config=configs/wgan_gp.py"),
                "--config.train.steps=1",
                f"--workdir={scratch}/run-{len(rows)}",
            ]
            environment = {"GAN_JAX_CACHE": f"{scratch}/cache"}
            rows.append(
                {"compilation cache": cache, "seconds": _until_first_step(command, environment)}
            )
    return rows


def _until_first_step(command: list[str], environment: dict[str, str]) -> float:
    """Return the seconds until ``command`` prints its first log line."""
    import os

    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        seconds = 0.0
        for line in process.stdout:
            if line.startswith("step 1/1"):
                seconds = time.perf_counter() - started
    if process.returncode or not seconds:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return seconds


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def show(rows: list[Row]) -> None:
    """Print the rows as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(
            *(
                "" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v)
                for v in row.values()
            )
        )
    Console().print(table)


if __name__ == "__main__":
    main()
