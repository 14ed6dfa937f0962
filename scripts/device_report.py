"""Measure everything that needs an accelerator: ``python -m scripts.device_report --out=DIR``.

Stages, in order of value. Each writes its rows to ``DIR/report.json`` and ``DIR/report.md`` as soon
as it has them, so that running out of time loses nothing. A stage that fails records its error, and
the next one starts.

``matmul``     the rate of 8192^3 matrix products in bfloat16 and TF32, the ceiling of what follows;
``step``       the train step of WGAN-GP (ResNet-128, 32x32), of DCGAN-64 and of a ResNet at 64x64:
               milliseconds, and the share of the measured matrix rate, beside PyTorch;
``profile``    the longest kernels of that step, and the gaps between kernels;
``train``      with ``--data``: runs of `experiments.main`, their FID against kimg, sample grids;
``inception``  images per second of the Inception network beside PyTorch's; FID of 50,000 samples;
``replicas``   the gain of training 1, 4 and 16 seeds in one program;
``memory``     the message to a user whose batch does not fit.

``--minutes`` is shared out by `STAGES`. ``--tiny`` shrinks every stage to what a CPU does in
seconds. All on one device.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# PyTorch needs some of the device's memory in the same process.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import dcgan, wgan_gp
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.runs import build, compilation_cache
from scripts import benchmark, benchmark_replicas

Row = dict[str, Any]

# Floating-point operations of the reference step as the paper writes it, per image of the batch:
# 2.6e12 at batch 64. Ours takes 1.5e12, because convolutions and mean pools are merged.
PAPER_OPERATIONS = 2.6e12 / 64
STEPS_PER_TURN = 20
LONGEST = 10
TRAINED = ("wgan_gp", "sngan", "dcgan")
GRACE_SECONDS = 20  # In which a run that is asked to end saves its state.


class OutOfTimeError(Exception):
    """A stage has used up its share of the time."""


@dataclasses.dataclass
class Context:
    """What the stages share.

    Attributes:
      out: folder of the results.
      tiny: whether everything is shrunk to seconds on a CPU.
      deadline: of the running stage, on the clock of `time.monotonic`.
      data: images for the ``train`` stage; None: it is skipped.
      inception: converted weights of the Inception network; None: the ``train`` stage is skipped.
      precision: of the ``train`` stage.
      trained: names of the configurations that the ``train`` stage runs.
      rates: measured rates of matrix products, operations per second by precision.
      steps: train steps that are compiled already.
      milliseconds: of a train step, by its name.
    """

    out: Path
    tiny: bool
    deadline: float = math.inf
    data: Path | None = None
    inception: Path | None = None
    precision: str = "bfloat16"
    trained: Sequence[str] = TRAINED
    rates: dict[str, float] = dataclasses.field(default_factory=dict)
    steps: dict[str, "Step"] = dataclasses.field(default_factory=dict)
    milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def left(self) -> float:
        """Return the seconds that the running stage has left."""
        return self.deadline - time.monotonic()


class SkipError(Exception):
    """A stage cannot run here; the message says why."""


Stage = Callable[[Context], Iterator[Row]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, run the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="for all stages together")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="shrink everything to seconds on a CPU")
    parser.add_argument("--stages", help=f"some of {','.join(STAGES)}; default: all")
    parser.add_argument("--data", type=Path, help="a folder or zip of images to train on")
    parser.add_argument("--inception", type=Path, help="converted weights of the network")
    parser.add_argument("--precision", default="bfloat16", help="of the train stage")
    parser.add_argument("--train", default=",".join(TRAINED), help="configurations to train")
    parsed = parser.parse_args(arguments)
    chosen = parsed.stages.split(",") if parsed.stages else list(STAGES)
    for name in chosen:
        if name not in STAGES:
            parser.error(f"--stages has {name!r}; accepted: {', '.join(STAGES)}")
    if parsed.minutes <= 0:
        parser.error(f"--minutes = {parsed.minutes}; accepted: a number above 0")
    context = Context(
        parsed.out,
        parsed.tiny,
        data=parsed.data,
        inception=parsed.inception,
        precision=parsed.precision,
        trained=parsed.train.split(","),
    )
    run(context, {name: STAGES[name] for name in chosen}, 60 * parsed.minutes)


def run(context: Context, stages: Mapping[str, tuple[float, Stage]], seconds: float) -> None:
    """Run stages one after the other, and write their results as they come.

    A stage gets its weight's share of the time that is left when it starts.

    Side effects: enables the compilation cache; writes ``report.json`` and ``report.md``.

    Args:
      context: what they share.
      stages: by name, a weight and the stage.
      seconds: for all together.
    """
    compilation_cache.enable()
    context.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    report: dict[str, Any] = {
        "machine": _machine(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m scripts.device_report", *sys.argv[1:]]),
        "tiny": context.tiny,
        "stages": {},
    }
    names = list(stages)
    for index, name in enumerate(names):
        _, stage = stages[name]
        left = end - time.monotonic()
        share = stages[name][0] / sum(stages[other][0] for other in names[index:])
        entry: dict[str, Any] = {"state": "running", "seconds": 0.0, "error": None, "rows": []}
        report["stages"][name] = entry
        if left <= 0:
            entry["state"] = "out of time"
            _write(context.out, report)
            continue
        print(f"== {name}: {left * share:.0f} of {left:.0f} s", flush=True)
        started = time.monotonic()
        context.deadline = started + left * share
        try:
            with _alarm(left * share):
                for row in stage(context):
                    print(json.dumps(_shown(row)), flush=True)
                    entry["rows"].append(row)
                    entry["seconds"] = time.monotonic() - started
                    _write(context.out, report)
            entry["state"] = "done"
        except OutOfTimeError:
            entry["state"] = "out of time"
        except SkipError as reason:
            entry.update(state="skipped", error=str(reason))
        except Exception as error:
            entry.update(state="failed", error=f"{type(error).__name__}: {error}"[:2000])
            entry["traceback"] = traceback.format_exc()[-4000:]
        entry["seconds"] = time.monotonic() - started
        print(f"== {name}: {entry['state']} {entry['error'] or ''}", flush=True)
        _write(context.out, report)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in the block after ``seconds``, once Python runs again."""

    def expire(*_: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _machine() -> Row:
    """Return what the numbers depend on."""
    machine: Row = benchmark.machine()
    with contextlib.suppress(ImportError):
        import torch

        machine["torch"] = torch.__version__
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv"]
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        machine["nvidia-smi"] = found.stdout.strip().splitlines()[1:]
    return machine


# --- The reports. ---------------------------------------------------------------------------------


def _write(out: Path, report: Mapping[str, Any]) -> None:
    """Write both reports, each in one move."""
    texts = {"report.json": json.dumps(report, indent=1) + "\n", "report.md": _markdown(report)}
    for name, text in texts.items():
        scratch = out / f".{name}"
        scratch.write_text(text)
        scratch.replace(out / name)


def _markdown(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown: a table per stage and kind of row."""
    machine = "; ".join(f"{key}: {value}" for key, value in report["machine"].items())
    lines = ["# Device report", "", f"{report['date']}; {machine}", "", f"`{report['command']}`"]
    for name, entry in report["stages"].items():
        lines += ["", f"## {name}: {entry['state']}, {entry['seconds']:.0f} s", ""]
        if entry["error"]:
            lines += [f"    {line}" for line in entry["error"].splitlines()] + [""]
        columns: list[str] = []
        for row in map(_shown, entry["rows"]):
            if list(row) != columns:
                columns = list(row)
                lines += ["", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
            lines.append(f"| {' | '.join(_cell(row[column]) for column in columns)} |")
    return "\n".join(lines) + "\n"


def _shown(row: Row) -> Row:
    """Return what of a row belongs in a table: no nested values."""
    return {key: value for key, value in row.items() if not isinstance(value, list | dict)}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


# --- Matrix products. -----------------------------------------------------------------------------


def matmul(context: Context) -> Iterator[Row]:
    """Yield the rate of large matrix products by precision."""
    size, repeats = (256, 2) if context.tiny else (8192, 10)
    product = jax.jit(jnp.matmul)
    for precision, dtype in (("bfloat16", jnp.bfloat16), ("float32", jnp.float32)):
        keys = jax.random.split(jax.random.key(0))
        a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
        jax.block_until_ready(product(a, b))
        times = []
        for _ in range(5):
            started = time.perf_counter()
            jax.block_until_ready([product(a, b) for _ in range(repeats)])
            times.append((time.perf_counter() - started) / repeats)
        context.rates[precision] = 2 * size**3 / float(np.median(times))
        yield {
            "product": f"{size}^3 {precision}" + (" (TF32)" if precision == "float32" else ""),
            "ms": 1e3 * float(np.median(times)),
            "TFLOP/s": context.rates[precision] / 1e12,
        }


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the floating-point operations of a function's convolutions and matrix products.

    Counted in the traced program: twice the multiplications, those with padding included and those
    with the zeros of a dilated image left out.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel, spec = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
            taps = math.prod(kernel[axis] for axis in spec[1:])
            made = math.prod(equation.outvars[0].aval.shape)
            total += 2.0 * made * taps / math.prod(params["lhs_dilation"])
        elif name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * depth
        inner = [_count(getattr(p, "jaxpr", p)) for p in _programs(params.values())]
        if inner:
            repeated = params["length"] if name == "scan" else 1
            total += repeated * (max(inner) if name == "cond" else sum(inner))
    return total


def _programs(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if hasattr(getattr(value, "jaxpr", value), "eqns"):
            yield value
        elif isinstance(value, list | tuple):
            yield from _programs(value)


# --- The train step. ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Setting:
    """One train step to measure.

    Attributes:
      network: a key of `NETWORKS`.
      batch: images.
      precision: as ``config.precision``.
      steps_per_call: as ``config.train.steps_per_call``.
    """

    network: str
    batch: int
    precision: str
    steps_per_call: int

    @property
    def name(self) -> str:
        """A short name."""
        return f"{self.network}, batch {self.batch}, {self.precision}, {self.steps_per_call} a call"


NETWORKS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "WGAN-GP ResNet-128 32x32": (wgan_gp, (32, 32, 3)),
    "DCGAN-64 32x32": (dcgan, (32, 32, 3)),
    "WGAN-GP ResNet-128 64x64": (wgan_gp, (64, 64, 3)),
}
REFERENCE = "WGAN-GP ResNet-128 32x32"


@dataclasses.dataclass
class Step:
    """A compiled train step with its state.

    Attributes:
      setting: what it is.
      operations: of one train step's convolutions and matrix products.
      compile_seconds: until it was ready.
      temporary_gib: memory that it takes beside its arguments.
      turn: makes `STEPS_PER_TURN` train steps, and waits for the end.
    """

    setting: Setting
    operations: float
    compile_seconds: float
    temporary_gib: float
    turn: Callable[[], None]


def make_step(setting: Setting, tiny: bool) -> Step:
    """Compile one train step, with a resident data set of random images."""
    started = time.perf_counter()
    module, shape = NETWORKS[setting.network]
    config = module.get_config("cifar10,smoke" if tiny else "cifar10")
    shape = (16, 16, 3) if tiny else shape
    config.data.resolution = shape[0]
    config.precision = setting.precision
    config.num_devices = 1
    config.eval.every = 0
    config.train.update(batch_size=setting.batch, steps_per_call=setting.steps_per_call)
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        config.train[name] = 1000 * STEPS_PER_TURN
    with build.matmul_precision(config):
        return _compile_step(setting, tiny, config, specs.images(shape), started)


def _compile_step(
    setting: Setting, tiny: bool, config: ConfigDict, spec: specs.Spec, started: float
) -> Step:
    training = build.make_training(config, spec)
    host = random_arrays(spec, 4096)
    data = training.parallel.put_replicated(host)
    leading = (setting.steps_per_call, build.data_batches(training), setting.batch)
    index = np.random.default_rng(0).integers(0, 4096, leading, np.int32)

    def abstract(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)

    def call(*arguments: Any) -> Any:
        return training.parallel(*arguments)

    given = (training.abstract_state, abstract(host), abstract({"index": index}))
    counted = operations(call, *given) / setting.steps_per_call
    compiled = training.parallel.compile(*given)
    state = training.init_state()
    memory = compiled.memory_analysis()
    temporary = getattr(memory, "temp_size_in_bytes", 0) / 2**30

    def turn() -> None:
        nonlocal state
        for _ in range(max(1, (1 if tiny else STEPS_PER_TURN) // setting.steps_per_call)):
            state, _ = training.parallel(state, data, training.parallel.put_batch({"index": index}))
        jax.block_until_ready(state)

    return Step(setting, counted, time.perf_counter() - started, temporary, turn)


def step(context: Context) -> Iterator[Row]:
    """Yield a row per train step, ours and PyTorch's, measured turn by turn."""
    if context.tiny:
        groups = [([Setting(REFERENCE, 4, "float32", 1)], [4])]
    else:
        both = ("bfloat16", "float32")
        groups = [
            ([Setting(REFERENCE, n, "bfloat16", 20) for n in (64, 256)], [64, 256]),
            ([Setting(REFERENCE, n, "float32", 20) for n in (64, 256)], []),
            ([Setting("DCGAN-64 32x32", 128, p, 20) for p in both], []),
            ([Setting(REFERENCE, n, p, 1) for n in (64,) for p in both], []),
            ([Setting("WGAN-GP ResNet-128 64x64", 64, p, 20) for p in both], []),
            ([Setting(REFERENCE, 256, p, 1) for p in both], []),
        ]
    for settings, batches in groups:
        turns: dict[str, tuple[Callable[[], Any], int]] = {}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(make_step, setting, context.tiny) for setting in settings]
            concurrent.futures.wait(jobs)
        found = [
            make_step(setting, context.tiny) if job.exception() else job.result()
            for setting, job in zip(settings, jobs, strict=True)
        ]
        per_turn = 1 if context.tiny else STEPS_PER_TURN
        for one in found:
            context.steps[one.setting.name] = one
            turns[one.setting.name] = (one.turn, per_turn)
        for batch in batches:
            turns |= _pytorch(batch, context.tiny)
        times = _in_turns(turns, 2 if context.tiny else 6, context)
        for one in found:
            milliseconds = 1e3 * float(np.median(times[one.setting.name]))
            context.milliseconds[one.setting.name] = milliseconds
            yield _step_row(context, one, milliseconds, times[one.setting.name])
        for name in turns:
            if name.startswith("PyTorch"):
                yield {
                    "contestant": name,
                    "ms, median": 1e3 * float(np.median(times[name])),
                    "ms, fastest": 1e3 * min(times[name]),
                }


def _step_row(context: Context, one: Step, milliseconds: float, times: Sequence[float]) -> Row:
    rate = one.operations / (milliseconds / 1e3)
    ceiling = context.rates.get("bfloat16")
    paper = None
    if one.setting.network == REFERENCE and ceiling and not context.tiny:
        paper = PAPER_OPERATIONS * one.setting.batch / (milliseconds / 1e3) / ceiling
    return {
        "contestant": f"gan_jax {one.setting.name}",
        "ms, median": milliseconds,
        "ms, fastest": 1e3 * min(times),
        "TFLOP": one.operations / 1e12,
        "TFLOP/s": rate / 1e12,
        "share of bf16 products": rate / ceiling if ceiling else None,
        "share, operations as in the paper": paper,
        "temporary GiB": one.temporary_gib,
        "compile s": one.compile_seconds,
    }


def _pytorch(batch: int, tiny: bool) -> dict[str, tuple[Callable[[], Any], int]]:
    """Return PyTorch's reference steps by name; none where it is not installed."""
    arguments = argparse.Namespace(
        resolution=16 if tiny else 32,
        channels=3,
        features=8 if tiny else 128,
        batch_size=batch,
        critic_steps=5,
    )
    found = benchmark.pytorch_steps(arguments)

    def several(call: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: [call() for _ in range(1 if tiny else 4)]

    return {
        f"{name}, batch {batch}": (several(call), 1 if tiny else 4)
        for name, (call, _) in found.items()
    }


def _in_turns(
    turns: Mapping[str, tuple[Callable[[], Any], int]], repeats: int, context: Context
) -> dict[str, list[float]]:
    """Return the seconds of one step in each turn, by contestant; fewer turns if time runs out."""
    times: dict[str, list[float]] = {name: [] for name in turns}
    for repeat in range(repeats + 1):
        for name, (call, steps) in turns.items():
            started = time.perf_counter()
            call()
            if repeat:  # The first turn warms up.
                times[name].append((time.perf_counter() - started) / steps)
        if repeat and context.left() < 10:
            break
    return times


# --- A profile. -----------------------------------------------------------------------------------

# By the first pattern that a kernel's name matches: XLA's own kernels come before libraries'.
KINDS = (
    ("reduction", re.compile(r"^(input|loop|wrapped)_\w*reduce")),
    ("elementwise", re.compile(r"^(input|loop|wrapped)_")),
    (
        "padding and set-up",
        re.compile(r"AddPadding|init_device_workspace|convertTensor|[Mm]em(set|cpy)"),
    ),
    ("convolution", re.compile(r"fprop|dgrad|wgrad|[Cc]onvol|implicit_gemm")),
    ("matrix product", re.compile(r"gemm|nvjet|cublas|dot|cutlass")),
)


def profile(context: Context) -> Iterator[Row]:
    """Yield the kernels of the reference step, by kind and the longest, and the gaps between."""
    if context.tiny:
        settings = [Setting(REFERENCE, 4, "float32", 1)]
    else:
        settings = [
            Setting(REFERENCE, n, p, 20)
            for n, p in ((64, "bfloat16"), (256, "bfloat16"), (64, "float32"))
        ]
    for setting in settings:
        one = context.steps.get(setting.name) or make_step(setting, context.tiny)
        one.turn()
        with tempfile.TemporaryDirectory() as scratch:
            with jax.profiler.trace(scratch):
                one.turn()
            files = sorted(Path(scratch).rglob("*.xplane.pb"))
            if not files:
                raise RuntimeError(f"the profiler left no .xplane.pb in {scratch}")
            kernels = read_kernels(files[-1])
        yield from _profile_rows(setting, kernels, 1 if context.tiny else STEPS_PER_TURN)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a trace, in nanoseconds."""

    name: str
    start: float
    duration: float


def read_kernels(path: Path) -> list[Kernel]:
    """Return the kernels in a profile by their start; on CPU what its threads ran."""
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    chosen = [plane for plane in planes if "/device:GPU" in plane.name or "TPU" in plane.name]
    kernels = []
    for plane in chosen or planes:
        for line in plane.lines:
            if chosen and "Stream" not in line.name and "TPU" not in plane.name:
                continue  # Lines of XLA's operations repeat what the streams ran.
            found = (Kernel(e.name, e.start_ns, e.duration_ns) for e in line.events)
            kernels += [k for k in found if not k.name.startswith("$")]  # Python functions.
    return sorted(kernels, key=lambda kernel: kernel.start)


def gaps(kernels: Sequence[Kernel]) -> tuple[float, list[tuple[float, str, str]]]:
    """Return the nanoseconds in which any kernel runs, and the gaps: length, before, after."""
    busy, found, end, last = 0.0, [], None, ""
    for kernel in kernels:
        stop = kernel.start + kernel.duration
        if end is None or kernel.start >= end:
            if end is not None:
                found.append((kernel.start - end, last, kernel.name))
            busy += kernel.duration
        elif stop > end:
            busy += stop - end
        if end is None or stop > end:
            end, last = stop, kernel.name
    return busy, found


def _profile_rows(setting: Setting, kernels: Sequence[Kernel], steps: int) -> Iterator[Row]:
    """Yield a summary with everything nested, then the longest kernels. Times per train step."""
    if not kernels:
        raise RuntimeError("the profile has no kernels")
    busy, between = gaps(kernels)
    scale = 1e-6 / steps
    totals: dict[str, list[float]] = {}
    kinds: dict[str, list[float]] = {}
    for kernel in kernels:
        kind = next((k for k, pattern in KINDS if pattern.search(kernel.name)), "other")
        for table, key in ((totals, kernel.name), (kinds, kind)):
            entry = table.setdefault(key, [0.0, 0])
            entry[0] += kernel.duration
            entry[1] += 1
    ordered = sorted(totals.items(), key=lambda item: -item[1][0])
    listed = [
        {"kernel": name, "ms": total * scale, "count": count / steps}
        for name, (total, count) in ordered
    ]
    by_gap: dict[tuple[str, str], list[float]] = {}
    for length, before, after in between:
        by_gap.setdefault((before, after), []).append(length)
    longest_gaps = sorted(by_gap.items(), key=lambda item: -sum(item[1]))[:LONGEST]
    span = max(k.start + k.duration for k in kernels) - kernels[0].start
    yield {
        "profile": setting.name,
        "ms from first to last kernel": span * scale,
        "ms busy": busy * scale,
        "ms in gaps": sum(length for length, *_ in between) * scale,
        "kernels": len(kernels) / steps,
        "mean gap, us": float(np.mean([g[0] for g in between])) / 1e3 if between else 0.0,
        "kinds": {
            kind: {"ms": total * scale, "count": count / steps}
            for kind, (total, count) in sorted(kinds.items(), key=lambda item: -item[1][0])
        },
        "kernel list": listed[:60],
        "gap list": [
            {
                "before": before,
                "after": after,
                "ms": sum(lengths) * scale,
                "count": len(lengths) / steps,
            }
            for (before, after), lengths in longest_gaps
        ],
    }
    for kind, (total, count) in sorted(kinds.items(), key=lambda item: -item[1][0]):
        yield {"kind of kernel": kind, "ms": total * scale, "count": count / steps}
    for entry in listed[:LONGEST]:
        yield {**entry, "share of busy": entry["ms"] / (busy * scale) if busy else None}


# --- Training. ------------------------------------------------------------------------------------


def train(context: Context) -> Iterator[Row]:
    """Yield the FID of short runs against kimg; leave their last sample grids."""
    if context.tiny:
        base = {"config": "configs/wgan_gp.py:smoke"}
        yield from _trained(context, "wgan_gp", base, steps=4, every=0, seconds=context.left())
        return
    if context.data is None or context.inception is None:
        raise SkipError("--data and --inception are unset; accepted: images, converted weights")
    for index, name in enumerate(context.trained):
        seconds = context.left() / (len(context.trained) - index)
        known = Setting(REFERENCE, 64, context.precision, 20).name
        rate = context.milliseconds.get(known, 20.0) / 1e3
        # Reading the data and the moments of the real images, compiling, and the evaluations.
        spare = max(0.2 * seconds, seconds - (100 if index == 0 else 60))
        steps = max(100, int(spare * 0.8 / rate) // 500 * 500)
        every = max(100, steps // 5)
        base = {
            "config": f"configs/{name}.py:folder",
            "config.data.path": str(context.data),
            "config.data.resolution": 32,
            "config.precision": context.precision,
            "config.eval.metrics": "('fid768',)",
            "config.eval.inception": str(context.inception),
            "config.eval.num_fake": 10_000,
            "config.eval.batch_size": 500,
        }
        yield from _trained(context, name, base, steps=steps, every=every, seconds=seconds)


def _trained(
    context: Context, name: str, flags: Mapping[str, Any], *, steps: int, every: int, seconds: float
) -> Iterator[Row]:
    """Train in a process of its own; yield a row per evaluation, and one for the run."""
    with tempfile.TemporaryDirectory() as scratch:
        workdir = Path(scratch) / name
        chosen = {**flags, "config.train.steps": steps, "config.eval.every": every}
        if every:
            each = {"log_every": 100, "sample_every": every, "checkpoint_every": every}
            chosen |= {f"config.train.{field}": value for field, value in each.items()}
        command = [sys.executable, "-m", "experiments.main", f"--workdir={workdir}"]
        command += [f"--{field}={value}" for field, value in chosen.items()]
        started = time.monotonic()
        rc, output = _finished(command, seconds - GRACE_SECONDS - 5)
        for line in _lines(workdir / "eval.jsonl"):
            row = json.loads(line)
            values = {k: v for k, v in row.items() if isinstance(v, int | float)}
            yield {"run": name, **values, "protocol": row.get("protocol")}
        grids = sorted((workdir / "samples").glob("*.png"))
        if grids:
            shutil.copy(grids[-1], context.out / f"samples_{name}.png")
        yield {
            "trained": name,
            "train steps asked for": steps,
            "exit status": rc,
            "seconds in all": time.monotonic() - started,
            "grid": grids[-1].name if grids else None,
            "command": command[3:],
            "last lines": output.splitlines()[-40:],
            "metrics": [json.loads(line) for line in _lines(workdir / "metrics.jsonl")][-3:],
        }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _finished(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Run a command; return its exit status and output. Ask it to end when the time is up."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            try:
                process.wait(max(1.0, seconds))
            except subprocess.TimeoutExpired:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        return process.returncode, log.read()


# --- Metrics, replicas, memory. -------------------------------------------------------------------


def metrics(context: Context) -> Iterator[Row]:
    """Yield Inception's rate beside PyTorch's, and the seconds of the FID of 50,000 samples."""
    runs, benchmark.END_TO_END_RUNS = benchmark.END_TO_END_RUNS, 1
    try:
        for precision in ("highest",) if context.tiny else ("default", "highest"):
            arguments = argparse.Namespace(
                num_fake=8 if context.tiny else None,
                batch_size=4 if context.tiny else 256,
                layer="64" if context.tiny else "2048",
                precision=precision,
                features=8 if context.tiny else 128,
                inception=None,
                repeats=1 if context.tiny else 5,
                compiled=False,
            )
            for row in benchmark.measure_metrics(arguments):
                yield {"precision": precision, **row}
    finally:
        benchmark.END_TO_END_RUNS = runs


def replicas(context: Context) -> Iterator[Row]:
    """Yield the time of a step of 1, 4 and 16 replicas of small networks."""
    for config in ("points",) if context.tiny else ("dcgan", "digits", "points"):
        arguments = argparse.Namespace(
            config=config,
            replicas="1,2" if context.tiny else "1,4,16",
            batch_size=4 if context.tiny else 64,
            steps_per_call=1 if context.tiny else 20,
            repeats=1 if context.tiny else 10,
        )
        for row in benchmark_replicas.measure(arguments):
            yield {"config": config, **row}


def memory(context: Context) -> Iterator[Row]:
    """Yield the message for a batch that does not fit into memory."""
    if context.tiny or jax.default_backend() == "cpu":
        raise SkipError("a CPU has no device memory to run out of; accepted: an accelerator")
    batch = 65_536
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            *(sys.executable, "-m", "experiments.main", "--config=configs/wgan_gp.py"),
            *("--config.generator.resnet.features=128", f"--config.train.batch_size={batch}"),
            *("--config.discriminator.resnet.features=128", "--config.train.steps=20"),
            *("--config.eval.every=0", f"--workdir={scratch}/run"),
        ]
        started = time.monotonic()
        rc, output = _finished(command, min(150.0, context.left() - GRACE_SECONDS - 5))
    lines = output.strip().splitlines()
    yield {
        "batch": batch,
        "exit status": rc,
        "seconds": time.monotonic() - started,
        "last line": lines[-1] if lines else "",
        "last lines": lines[-30:],
    }


# By name, a weight and the stage. Weights are shares of the time, an unused part of which passes
# on to the stages behind.
STAGES: dict[str, tuple[float, Stage]] = {
    "matmul": (0.5, matmul),
    "step": (4.0, step),
    "profile": (1.0, profile),
    "train": (4.0, train),
    "inception": (2.0, metrics),
    "replicas": (1.5, replicas),
    "memory": (1.5, memory),
}


if __name__ == "__main__":
    main()
