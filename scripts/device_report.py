"""Measure everything that needs an accelerator: ``python -m scripts.device_report --out=DIR``.

Stages, in order of value, share out ``--minutes``. Each writes its rows to ``DIR/report.json`` and
``DIR/report.md`` as soon as it has them, so that running out of time loses nothing; where a stage
fails, its error is recorded and the next one starts. All on one device.

``--tiny`` shrinks every stage to what a CPU does in seconds.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# PyTorch needs some of the device's memory in the same process.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import dcgan, wgan_gp
from gan_jax.data import spec as specs
from gan_jax.report import atomic, evaluations
from gan_jax.runs import compilation_cache
from scripts import benchmark, benchmark_metrics, kernels, train_steps
from scripts.train_steps import Row, Step

# Floating-point operations of the reference step as the paper writes it, per image of the batch:
# 2.6e12 at batch 64. Ours takes 1.5e12, because convolutions and mean pools are merged.
PAPER_OPERATIONS = 2.6e12 / 64
STEPS_PER_TURN = 20
TRAINED = ("wgan_gp", "sngan", "dcgan")
GRACE_SECONDS = 20  # In which a run that receives SIGTERM saves its state.


class OutOfTimeError(Exception):
    """A stage has used up its share of the time."""


class SkipError(Exception):
    """A stage cannot run here; the message says why."""


@dataclasses.dataclass
class Context:
    """The options of the command line, and what the stages share.

    Attributes:
      deadline: of the running stage, on the clock of `time.monotonic`.
      rate: the measured rate of matrix products in bfloat16, operations per second.
      steps: compiled train steps by name.
      milliseconds: of a train step, by its name.
    """

    out: Path
    tiny: bool
    data: Path | None = None
    inception: Path | None = None
    precision: str = "bfloat16"
    train: str = ",".join(TRAINED)
    deadline: float = math.inf
    rate: float | None = None
    steps: dict[str, Step] = dataclasses.field(default_factory=dict)
    milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def left(self) -> float:
        """Return the seconds that the running stage has left."""
        return self.deadline - time.monotonic()


Stage = Callable[[Context], Iterator[Row]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, run the stages."""
    stages = "\n".join(f"{name}: {stage.__doc__}" for name, (_, stage) in STAGES.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{stages}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for all stages together")
    parser.add_argument("--stages", help=f"some of {','.join(STAGES)}; default: all")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="shrink everything to seconds on a CPU")
    parser.add_argument("--data", type=Path, help="a folder or zip of images to train on")
    parser.add_argument("--inception", type=Path, help="converted weights of the network")
    parser.add_argument("--precision", default="bfloat16", help="of the train stage")
    parser.add_argument("--train", default=",".join(TRAINED), help="configurations to train")
    parsed = vars(parser.parse_args(arguments))
    stages, minutes = parsed.pop("stages"), parsed.pop("minutes")
    chosen = stages.split(",") if stages else list(STAGES)
    for name in chosen:
        if name not in STAGES:
            parser.error(f"--stages has {name!r}; accepted: {', '.join(STAGES)}")
    if minutes <= 0:
        parser.error(f"--minutes = {minutes}; accepted: a number above 0")
    run(Context(**parsed), {name: STAGES[name] for name in chosen}, 60 * minutes)


def run(context: Context, stages: Mapping[str, tuple[float, Stage]], seconds: float) -> None:
    """Run stages, each given by its weight, which is its share of the time that is left.

    Side effects: enables the compilation cache; writes ``report.json`` and ``report.md``.
    """
    compilation_cache.enable()
    context.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    report: dict[str, Any] = {
        "machine": benchmark.machine(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m scripts.device_report", *sys.argv[1:]]),
        "tiny": context.tiny,
        "stages": {},
    }
    weights = {name: weight for name, (weight, _) in stages.items()}
    for name, (_, stage) in stages.items():
        left = end - time.monotonic()
        share = left * weights[name] / sum(weights.values())
        del weights[name]
        entry: dict[str, Any] = {"state": "out of time", "seconds": 0.0, "error": None, "rows": []}
        report["stages"][name] = entry
        started = time.monotonic()
        context.deadline = started + share
        try:
            with _alarm(share):
                print(f"== {name}: {share:.0f} of {left:.0f} s", flush=True)
                for row in stage(context):
                    print(json.dumps(row)[:1000], flush=True)
                    entry["rows"].append(row)
                    entry["seconds"] = time.monotonic() - started
                    _write(context.out, report)
            entry["state"] = "done"
        except OutOfTimeError:
            pass
        except SkipError as reason:
            entry.update(state="skipped", error=str(reason))
        except Exception as error:  # The next stage may work.
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
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _write(out: Path, report: Mapping[str, Any]) -> None:
    """Write both reports."""
    machine = "; ".join(f"{key}: {value}" for key, value in report["machine"].items())
    text = io.StringIO()
    text.write(f"# Device report\n\n{report['date']}; {machine}\n\n`{report['command']}`\n")
    for name, entry in report["stages"].items():
        text.write(f"\n## {name}: {entry['state']}, {entry['seconds']:.0f} s\n")
        if entry["error"]:
            text.write(f"\n```\n{entry['error']}\n```\n")
        benchmark.show(entry["rows"], text)
    atomic.write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    atomic.write_text(out / "report.md", text.getvalue())


# --- Matrix products and the train step. ----------------------------------------------------------


def matmul(context: Context) -> Iterator[Row]:
    """Yield the rate of large matrix products by precision."""
    size, repeats = (256, 2) if context.tiny else (8192, 10)
    product = jax.jit(jnp.matmul)
    for name, dtype in (("bfloat16", jnp.bfloat16), ("float32 (TF32)", jnp.float32)):
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(key, (size, size), dtype) for key in keys]
        products = Step(
            lambda pair=pair: jax.block_until_ready([product(*pair) for _ in range(repeats)]),
            repeats,
        )
        seconds = float(np.median(train_steps.in_turns({name: products}, 5, warm_up=1)[name]))
        rate = 2 * size**3 / seconds
        if dtype == jnp.bfloat16:
            context.rate = rate
        yield {"product": f"{size}^3 {name}", "ms": 1e3 * seconds, "TFLOP/s": rate / 1e12}


REFERENCE = "WGAN-GP ResNet-128 32x32"


class Setting(NamedTuple):
    """One train step to measure; ``network`` is a key of `NETWORKS`."""

    batch: int
    precision: str
    steps_per_call: int = STEPS_PER_TURN
    network: str = REFERENCE

    def __str__(self) -> str:
        return f"{self.network}, batch {self.batch}, {self.precision}, {self.steps_per_call} a call"


# Configuration file and resolution.
NETWORKS = {
    REFERENCE: (wgan_gp, 32),
    "DCGAN-64 32x32": (dcgan, 32),
    "WGAN-GP ResNet-128 64x64": (wgan_gp, 64),
}
TINY = Setting(4, "float32", 1)


def configured(setting: Setting) -> tuple[ConfigDict, specs.Spec]:
    """Return the configuration of a setting, and the specification of its data."""
    module, resolution = NETWORKS[setting.network]
    tiny = setting == TINY
    config = module.get_config("cifar10,smoke" if tiny else "cifar10")
    config.data.resolution = resolution = 16 if tiny else resolution
    config.precision = setting.precision
    config.train.update(batch_size=setting.batch, steps_per_call=setting.steps_per_call)
    return config, specs.images((resolution, resolution, 3))


def make_step(setting: Setting) -> Step:
    """Compile one train step."""
    calls = 1 if setting == TINY else STEPS_PER_TURN // setting.steps_per_call
    return train_steps.make_step(*configured(setting), calls)


def step(context: Context) -> Iterator[Row]:
    """Yield a row per train step, ours and PyTorch's, measured turn by turn."""
    both = ("bfloat16", "float32")
    groups = [  # Beside PyTorch, or ours alone.
        ([Setting(n, "bfloat16") for n in (64, 256)], True),
        ([Setting(n, "float32") for n in (64, 256)], False),
        ([Setting(128, p, network="DCGAN-64 32x32") for p in both], False),
        ([Setting(64, p, 1) for p in both], False),
        ([Setting(64, p, network="WGAN-GP ResNet-128 64x64") for p in both], False),
        ([Setting(256, p, 1) for p in both], False),
    ]
    for settings, compared in [([TINY], True)] if context.tiny else groups:
        by_name = {str(setting): setting for setting in settings}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            steps = dict(zip(by_name, pool.map(make_step, settings), strict=True))
        context.steps |= steps
        for setting in settings if compared else ():
            theirs = train_steps.pytorch_steps(*configured(setting))
            steps |= {f"{name}, batch {setting.batch}": one for name, one in theirs.items()}
        repeats, until = 2 if context.tiny else 6, context.deadline - 10
        seconds = train_steps.in_turns(steps, repeats, warm_up=1, until=until)
        for row in train_steps.step_rows(steps, seconds):
            context.milliseconds[row["step"]] = row["ms, median"]
            setting = by_name.get(row["step"])
            if setting and context.rate:
                row["share of bf16 products"] = 1e12 * row["TFLOP/s"] / context.rate
                if setting.network == REFERENCE and not context.tiny:
                    paper = PAPER_OPERATIONS * setting.batch / (row["ms, median"] / 1e3)
                    row["share, operations as in the paper"] = paper / context.rate
            yield row


# --- A profile. -----------------------------------------------------------------------------------


def profile(context: Context) -> Iterator[Row]:
    """Yield the kernels of the reference step, by kind and the longest, and the gaps between."""
    measured = [Setting(64, "bfloat16"), Setting(256, "bfloat16"), Setting(64, "float32")]
    for setting in [TINY] if context.tiny else measured:
        one = context.steps.get(str(setting)) or make_step(setting)
        one.call()
        with tempfile.TemporaryDirectory() as scratch:
            with jax.profiler.trace(scratch):
                one.call()
            files = sorted(Path(scratch).rglob("*.xplane.pb"))
            found = kernels.read(files[-1]) if files else []
        if not found:
            raise RuntimeError(f"the profiler recorded no kernels of {setting!s}")
        yield from kernels.rows(str(setting), found, one.steps)


# --- Training. ------------------------------------------------------------------------------------


def train(context: Context) -> Iterator[Row]:
    """Yield the FID of short runs against kimg; leave their last sample grids."""
    if context.tiny:
        flags: Row = {"config": "configs/gan.py:smoke", "config.train.steps": 4}
        yield from _trained(context, "gan", flags, context.left())
        return
    if context.data is None or context.inception is None:
        raise SkipError("--data and --inception are unset; accepted: images, converted weights")
    names = context.train.split(",")
    for index, name in enumerate(names):
        seconds = context.left() / (len(names) - index)
        milliseconds = context.milliseconds.get(str(Setting(64, context.precision)), 20.0)
        # Reading the data and the moments of the real images, compiling, and the evaluations.
        spare = max(0.2 * seconds, seconds - (100 if index == 0 else 60))
        steps = max(100, int(800 * spare / milliseconds) // 500 * 500)
        every = max(100, steps // 5)
        flags = {
            "config": f"configs/{name}.py:folder",
            "config.data.path": context.data,
            "config.data.resolution": 32,
            "config.precision": context.precision,
            "config.train.steps": steps,
            "config.train.log_every": 100,
            "config.train.sample_every": every,
            "config.train.checkpoint_every": every,
            "config.eval.every": every,
            "config.eval.metrics": "('fid768',)",
            "config.eval.inception": context.inception,
            "config.eval.num_fake": 10_000,
            "config.eval.batch_size": 500,
        }
        yield from _trained(context, name, flags, seconds)


def _trained(context: Context, name: str, flags: Row, seconds: float) -> Iterator[Row]:
    """Train in a process of its own; yield a row per evaluation, and one for the run."""
    with tempfile.TemporaryDirectory() as scratch:
        workdir = Path(scratch) / name
        ended = _main(flags, workdir, seconds)
        for row in evaluations.read(workdir / evaluations.EVALUATIONS):
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float)}
            yield {"run": name, **numbers, "protocol": row["protocol"]}
        grids = sorted((workdir / "samples").glob("*.png"))
        if grids:
            shutil.copy(grids[-1], context.out / f"samples_{name}.png")
        logged = workdir / "metrics.jsonl"
        yield {
            "trained": name,
            "train steps": flags["config.train.steps"],
            **ended,
            "grid": grids[-1].name if grids else None,
            "metrics": logged.read_text().splitlines()[-3:] if logged.exists() else [],
        }


def _main(flags: Row, workdir: Path, seconds: float) -> Row:
    """Run `experiments.main`, which receives SIGTERM when its time is up; return how it ended."""
    limit = max(1.0, seconds - GRACE_SECONDS - 5)
    command = ["timeout", f"--kill-after={GRACE_SECONDS}", f"{limit:.0f}", sys.executable]
    command += ["-m", "experiments.main", f"--workdir={workdir}"]
    command += [f"--{field}={value}" for field, value in flags.items()]
    started = time.monotonic()
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = ended.stdout.strip().splitlines()
    return {
        "exit status": ended.returncode,
        "seconds": time.monotonic() - started,
        "last line": lines[-1] if lines else "",
        "last lines": lines[-40:],
        "command": command[3:],
    }


# --- Metrics, replicas, memory. -------------------------------------------------------------------


def metrics(context: Context) -> Iterator[Row]:
    """Yield Inception's rate beside PyTorch's, and the seconds of the FID of 50,000 samples."""
    sizes: Row = {"batch_size": 256, "repeats": 5}
    if context.tiny:
        sizes = {"num_fake": 8, "batch_size": 4, "layer": "64", "features": 8, "repeats": 1}
    for precision in ("highest",) if context.tiny else ("default", "highest"):
        rows = benchmark_metrics.measure(precision=precision, runs=1, **sizes)
        yield from ({"precision": precision, **row} for row in rows)


def replicas(context: Context) -> Iterator[Row]:
    """Yield the time of a step of 1, 4 and 16 replicas of small networks."""
    sizes: Row = {"replicas": "1,4,16", "batch_size": 64, "steps_per_call": 20, "repeats": 10}
    if context.tiny:
        sizes = {"replicas": "1,2", "batch_size": 4, "steps_per_call": 1, "repeats": 1}
    for config in ("points",) if context.tiny else ("dcgan", "digits", "points"):
        rows = benchmark.measure_replicas(config=config, **sizes)
        yield from ({"config": config, **row} for row in rows)


def memory(context: Context) -> Iterator[Row]:
    """Yield the message for a batch that does not fit into memory."""
    if context.tiny or jax.default_backend() == "cpu":
        raise SkipError("a CPU has no device memory to run out of; accepted: an accelerator")
    flags = {
        "config": "configs/wgan_gp.py",
        "config.generator.resnet.features": 128,
        "config.discriminator.resnet.features": 128,
        "config.train.batch_size": 65_536,
        "config.train.steps": 20,
        "config.eval.every": 0,
    }
    with tempfile.TemporaryDirectory() as scratch:
        ended = _main(flags, Path(scratch) / "run", min(175.0, context.left()))
    yield {"batch": flags["config.train.batch_size"], **ended}


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
