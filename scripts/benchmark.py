"""How fast it is: ``python -m scripts.benchmark step``, ``... startup`` and ``... metrics``.

``step`` times WGAN-GP's train step (critic steps with the gradient penalty, then the generator's)
through the project's own path, beside the same step in PyTorch where that is installed: in one
process, turn by turn, so that whatever else the machine does falls on both. ``startup`` times a
fresh process until its first train step, with an empty and with a filled compilation cache.
``metrics`` times the FID of samples at 32x32, from the latents to the number, and its parts; and
the Inception network beside the same one in PyTorch, turn by turn as well. All on one device.

All print a table last, and write it as JSON with ``--json``.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.table import Table

from configs import wgan_gp
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.metrics import frechet, inception, statistics
from gan_jax.metrics.statistics import Extraction
from gan_jax.runs import build, compilation_cache
from gan_jax.training.sampling import Sampler, chosen_variables, make_sampling

Row = dict[str, Any]

# Of the FID as it is published.
STANDARD_FAKES = 50_000
END_TO_END_RUNS = 3


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
    metrics = commands.add_parser("metrics", help="FID with sampling; Inception beside PyTorch's")
    metrics.add_argument("--num_fake", type=int, help="unset: 50000, or 512 on CPU")
    metrics.add_argument("--batch_size", type=int, help="unset: 256, or 32 on CPU")
    metrics.add_argument("--layer", choices=("64", "192", "768", "2048"), default="2048")
    metrics.add_argument(
        "--precision", choices=inception.PRECISIONS, help="unset: each that is one"
    )
    metrics.add_argument("--features", type=int, default=128, help="of the generator (ResNet)")
    metrics.add_argument("--inception", type=Path, help="converted weights; unset: random ones")
    metrics.add_argument("--repeats", type=int, default=10, help="timed turns of each contestant")
    metrics.add_argument(
        "--compiled",
        action=argparse.BooleanOptionalAction,
        help="torch.compile too; unset: on GPU",
    )
    arguments = parser.parse_args()
    if arguments.command == "step":
        rows = measure_step(arguments)
    elif arguments.command == "startup":
        rows = measure_startup()
    else:
        rows = measure_metrics(arguments)
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
    spec = specs.images((arguments.resolution, arguments.resolution, arguments.channels))
    training = build.make_training(config, spec)
    rng = np.random.default_rng(0)
    data = training.parallel.put_replicated(random_arrays(spec, 4096))
    steps = config.train.steps_per_call
    leading = (steps, build.data_batches(training), arguments.batch_size)
    batch = training.parallel.put_batch({"index": rng.integers(0, 4096, leading, np.int32)})
    state = training.init_state()

    def call() -> None:
        nonlocal state
        state, _ = training.parallel(state, data, batch)
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


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to compute the features of one batch.

    Attributes:
      call: does so, and waits for the end.
      precision: what its arithmetic is equal to, a key of `inception.PRECISIONS`.
      compiled: by PyTorch, which cannot do so everywhere.
    """

    call: Callable[[], Any]
    precision: str
    compiled: bool = False


def measure_metrics(arguments: argparse.Namespace) -> list[Row]:
    """Return rows for the FID end to end, for its parts, and for Inception beside PyTorch's.

    The network, the generator and the real images' moments are stand-ins where they need not be the
    true ones to take as long.

    Side effect: forbids XLA to take most of an accelerator's memory at once, unless the user has
    decided; PyTorch wants some.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    on_cpu = jax.default_backend() == "cpu"
    num_fake = arguments.num_fake or (512 if on_cpu else STANDARD_FAKES)
    batch_size = arguments.batch_size or (32 if on_cpu else 256)
    # A CPU computes both alike.
    precisions = ("highest",) if on_cpu else ("highest", "default")
    if arguments.precision:
        precisions = (arguments.precision,)
    layer = arguments.layer

    if arguments.inception:
        weights = inception.load_weights(arguments.inception)
    else:
        weights = random_inception(layer)
    extractions = _extractions(weights, layer, precisions, batch_size)
    sampler, variables = _sampler(arguments.features, batch_size)
    started = time.perf_counter()
    images = jax.block_until_ready(sampler.batch(variables, 0))
    sampler_seconds = time.perf_counter() - started

    contestants = {
        f"gan_jax {precision}": Contestant(_our_call(extraction, images), precision)
        for precision, extraction in extractions.items()
    }
    compiled = not on_cpu if arguments.compiled is None else arguments.compiled
    theirs = _pytorch_contestants(np.asarray(images), weights, layer, compiled)
    if on_cpu:
        theirs = {k: dataclasses.replace(c, precision=precisions[0]) for k, c in theirs.items()}
    inceptions = contest(contestants | theirs, batch_size, arguments.repeats)

    def batches() -> Iterator[jax.Array]:
        for first in range(0, num_fake, sampler.batch_size):
            yield sampler.batch(variables, first)

    width = inception.WIDTHS[layer]
    rng = np.random.default_rng(0)
    # More features than dimensions, as 50,000 are: the distance takes longer for full ranks.
    some = rng.normal(size=(2, 2 * width, width)).astype(np.float32)
    moment_times = [_seconds(functools.partial(frechet.moments, features)) for features in some]
    real, stand_in = (frechet.moments(features) for features in some)
    rows = []
    for precision, extraction in extractions.items():
        runs = [
            _end_to_end(extraction, batches(), num_fake, real, stand_in)
            for _ in range(END_TO_END_RUNS)
        ]
        total, distance = sorted(runs)[len(runs) // 2]
        name = f"FID end to end, {precision}"
        compiling = sampler_seconds + inceptions[f"gan_jax {precision}"]["compile s"]
        rows.append(_metrics_row(name, total, num_fake, fixed=distance, compile_seconds=compiling))
        notes = [] if arguments.inception else ["random weights (as fast as any)"]
        if num_fake != STANDARD_FAKES:
            notes.append(f"extrapolated from {num_fake:,} images")
        rows[-1]["note"] = "; ".join(notes)
    sampling = _median(
        _seconds(lambda: jax.block_until_ready(list(batches()))) for _ in range(END_TO_END_RUNS)
    )
    rows += [
        _metrics_row("- sampling", sampling, num_fake, compile_seconds=sampler_seconds),
        _metrics_row("- moments, on the host", _median(moment_times), 2 * width),
        _metrics_row("- distance, on the host", distance, None, fixed=distance),
    ]
    return rows + list(inceptions.values())


def _end_to_end(
    extraction: Extraction,
    batches: Iterable[jax.Array],
    num_fake: int,
    real: frechet.Moments,
    stand_in: frechet.Moments,
) -> tuple[float, float]:
    """Return the seconds from latents to the distance, and the distance's share of them.

    Args:
      extraction: of one layer.
      batches: of samples, made when they are asked for.
      num_fake: samples.
      real: moments of real images.
      stand_in: of full rank, as the samples' own are of 50,000 images of a trained generator.
    """
    (layer,) = extraction.layers
    started = time.perf_counter()
    statistics.collect(extraction, batches, num_fake, {layer: frozenset({"moments"})})
    collected = time.perf_counter()
    frechet.frechet_distance(real, stand_in)
    ended = time.perf_counter()
    return ended - started, ended - collected


def standard_seconds(seconds: float, images: int, fixed: float) -> float:
    """Return the seconds for 50,000 images, from those for ``images``.

    Args:
      seconds: measured.
      images: how many they were for.
      fixed: the part of the seconds that does not grow with the images.
    """
    return (seconds - fixed) * (STANDARD_FAKES / images) + fixed


def _metrics_row(
    what: str,
    seconds: float | None,
    images: int | None,
    *,
    fixed: float = 0.0,
    compile_seconds: float | None = None,
    note: str = "",
) -> Row:
    """Return a row; see `standard_seconds`. Without images, all the seconds are fixed."""
    return {
        "what": what,
        "images": images,
        "seconds": seconds,
        "images/s": images / seconds if images and seconds else None,
        "s per 50k": None if seconds is None else standard_seconds(seconds, images or 1, fixed),
        "compile s": compile_seconds,
        "ours / this": None,
        "note": note,
    }


def contest(contestants: dict[str, Contestant], batch_size: int, repeats: int) -> dict[str, Row]:
    """Return a row for each: images/s, and ours of the same precision by it."""
    compile_seconds, failures = {}, {}
    for name, contestant in contestants.items():
        try:
            compile_seconds[name] = _seconds(contestant.call)
        except Exception as error:
            if not contestant.compiled:
                raise
            lines = str(error).strip().splitlines() or [""]
            failures[name] = f"failed: {type(error).__name__}: {lines[0]}"
    seconds: dict[str, list[float]] = {name: [] for name in compile_seconds}
    # The first turn warms up.
    for turn in range(repeats + 1):
        for name, times in seconds.items():
            taken = _seconds(contestants[name].call)
            if turn:
                times.append(taken)
    rows: dict[str, Row] = {}
    for name, contestant in contestants.items():
        row = _metrics_row(
            f"Inception: {name}",
            _median(seconds[name]) if name in seconds else None,
            batch_size,
            compile_seconds=compile_seconds.get(name),
            note=failures.get(name, ""),
        )
        rows[name] = row
        ours = rows.get(f"gan_jax {contestant.precision}")
        if ours and row["images/s"]:
            row["ours / this"] = ours["images/s"] / row["images/s"]
    return rows


def random_inception(layer: str) -> dict[str, np.ndarray]:
    """Return random weights of Inception up to a layer that keep activations of order one."""
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8)
    init = functools.partial(inception.Inception().init, layers=(layer,))
    params = flatten_dict(jax.eval_shape(init, jax.random.key(0), image)["params"])
    rng = np.random.default_rng(0)
    weights = {}
    for keys, value in params.items():
        inputs = np.prod(value.shape[:-1])
        scale = np.sqrt(2 / inputs) if keys[-1] == "kernel" else 0.1
        name = f"{'.'.join(keys[:-1])}/{keys[-1]}"
        weights[name] = (scale * rng.normal(size=value.shape)).astype(np.float32)
    return weights


def _extractions(
    weights: inception.Weights, layer: str, precisions: tuple[str, ...], batch_size: int
) -> dict[str, Extraction]:
    """Return our extraction by precision, on one device."""
    extractions = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "weights.npz"
        inception.save_weights(path, weights)
        for precision in precisions:
            extractor = inception.make_inception(path, precision=precision)
            extractions[precision] = Extraction(extractor, (layer,), jax.devices()[:1], batch_size)
    return extractions


def _sampler(features: int, batch_size: int) -> tuple[Sampler, Any]:
    """Return a sampler of WGAN-GP's untrained generator at 32x32, and its variables."""
    config = wgan_gp.get_config("cifar10")
    for network in (config.generator, config.discriminator):
        network.resnet.features = features
    config.num_devices = 1
    training = build.make_training(config, specs.images((32, 32, 3)))
    sampler = Sampler(training.game, seed=0, batch_size=batch_size)
    chosen = chosen_variables(training.init_state(), make_sampling(config))
    return sampler, sampler.place(chosen)


def _our_call(extraction: Extraction, images: jax.Array) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(extraction(images))


def _pytorch_contestants(
    images: np.ndarray, weights: inception.Weights, layer: str, compiled: bool
) -> dict[str, Contestant]:
    """Return PyTorch's contestants by name; none where there is nothing to compare with."""
    # PyTorch's threads would go on spinning in gan_jax's turns, and its own would wait for them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch

        from scripts import pytorch_inception
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install -e '.[parity]' for the comparison")
        return {}
    on_cpu = jax.default_backend() == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        print("PyTorch finds no GPU here: no comparison")
        return {}
    device = "cpu" if on_cpu else "cuda"
    torch.backends.cudnn.benchmark = True
    batch = torch.tensor(images.transpose(0, 3, 1, 2).copy(), device=device)

    def contestant(channels_last: bool, compiling: bool, tf32: bool) -> Contestant:
        module = pytorch_inception.Inception(weights, layer).eval().to(device)
        if channels_last:
            module.to(memory_format=torch.channels_last)
        network: Callable[[Any], Any] = torch.compile(module) if compiling else module

        def call() -> None:
            if not on_cpu:
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            with torch.inference_mode():
                network(batch)
            if not on_cpu:
                torch.cuda.synchronize()

        return Contestant(call, "default" if tf32 else "highest", compiling)

    contestants = {}
    for tf32 in (False,) if on_cpu else (False, True):
        for compiling in (False, True) if compiled else (False,):
            for channels_last in (False, True):
                name = f"PyTorch {'compiled' if compiling else 'eager'}"
                name += " TF32" if tf32 else " float32"
                name += ", channels last" if channels_last else ""
                contestants[name] = contestant(channels_last, compiling, tf32)
    return contestants


def _seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def show(rows: list[Row]) -> None:
    """Print the rows as a table, and what is noted of them below."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = [name for name in rows[0] if name != "note"]
    for name in columns:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        values = [row[name] for name in columns]
        table.add_row(
            *("" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in values)
        )
    console = Console()
    console.print(table)
    for row in rows:
        if row.get("note"):
            console.print(f"{row[columns[0]]}: {row['note']}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
