"""How training scales over devices: ``python -m scripts.scaling --devices=1,2,4,8``.

Times train steps at several numbers of devices, each in a process of its own; reads, in what XLA
compiled, the bytes that a step reduces over all devices; fits the model below to the times; and
projects images per second to more accelerators than are here, for interconnects whose figures are
stated. With ``--markdown=docs/scaling.md`` all of it is written to that page.

The model: a step on N devices takes ``compute + latency + 2 (N - 1) / N * bytes / bandwidth``
seconds. The last term is a ring all-reduce that nothing hides (Patarasuk and Yuan 2009, "Bandwidth
optimal all-reduce algorithms for clusters of workstations"); on one device both are nothing.

Devices are those that are here; with ``--fake`` they are made of the CPU, whose cores they share.
That shows how many bytes are exchanged and what partitioning costs, but no speed-up.
"""

import argparse
import dataclasses
import importlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.data.sources import TOYS
from gan_jax.errors import ConfigError, GanJaxError
from gan_jax.report import atomic

#: Devices that a projection is made for.
PROJECTED = (1, 8, 64, 512)
# Step times that a projection assumes where none was measured, in seconds.
ASSUMED = (0.01, 0.1)
_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "s64": 8, "s32": 4, "u32": 4, "s8": 1, "u8": 1}
_EXAMPLES = 256


@dataclasses.dataclass(frozen=True)
class Interconnect:
    """What joins accelerators, in one direction per accelerator.

    Attributes:
      name: of the accelerator and what joins it.
      node: accelerators that the fast connection joins.
      inside: bytes per second between these.
      across: bytes per second between accelerators of different nodes.
      source: where the figures are published, and how they were read.
    """

    name: str
    node: int
    inside: float
    across: float
    source: str

    def bandwidth(self, devices: int) -> float:
        """Return the bytes per second of the slowest part of a ring over so many accelerators."""
        return self.inside if devices <= self.node else min(self.inside, self.across)


#: The figures that projections are made with.
INTERCONNECTS = (
    Interconnect(
        "H100, NVLink 4 and 400 Gb/s InfiniBand",
        8,
        450e9,
        50e9,
        "NVIDIA, H100 and DGX H100: NVLink 900 GB/s per GPU, both directions together; one "
        "ConnectX-7 of 400 Gb/s per GPU",
    ),
    Interconnect(
        "TPU v5p",
        6144,
        600e9,
        6.25e9,
        "Google, docs.cloud.google.com/tpu/docs/v5p: ICI 1,200 GB/s per chip, both directions "
        "together; slices of up to 6,144 chips; data centre network 50 Gb/s per chip",
    ),
    Interconnect(
        "TPU v5e",
        256,
        200e9,
        3.125e9,
        "Google, cloud.google.com/tpu/docs/v5e: ICI 400 GB/s per chip, both directions together; "
        "pods of 256 chips; data centre network 6.4 Tb/s per pod",
    ),
)


@dataclasses.dataclass(frozen=True)
class Model:
    """The time of a train step by the number of devices.

    Attributes:
      compute: seconds on one device.
      latency: seconds that reducing takes whatever its bytes, on two devices or more.
      reduced: bytes that a step reduces.
      bandwidth: bytes per second of the slowest part of the ring; ``inf``: they cost nothing.
      cores: that the devices share; ``None``: every device has its own.
    """

    compute: float
    latency: float
    reduced: float
    bandwidth: float
    cores: int | None = None

    def seconds(self, devices: int) -> float:
        """Return the seconds of a train step, with the same batch for every device."""
        rows = _columns([devices], self.reduced, self.cores)
        return float(rows[0] @ [self.compute, self.latency, 1.0 / self.bandwidth])

    def efficiency(self, devices: int) -> float:
        """Return the images per second of a device, over those of one alone."""
        return self.seconds(1) / self.seconds(devices)


def ring(devices: int) -> float:
    """Return how often a ring all-reduce sends all bytes through each device's connection."""
    return 2.0 * (devices - 1) / devices


def _columns(devices: Sequence[int], reduced: float, cores: int | None) -> np.ndarray:
    """Return what compute, latency and seconds per byte are multiplied with, ``[n, 3]``."""
    return np.array(
        [
            [1.0 if cores is None else max(1.0, n / cores), float(n > 1), ring(n) * reduced]
            for n in devices
        ]
    )


def fit(
    devices: Sequence[int], seconds: Sequence[float], reduced: float, cores: int | None = None
) -> Model:
    """Return the model that is nearest to measured times, none of its terms below zero.

    Args:
      devices: numbers of devices, one of them 1.
      seconds: of a train step, with the same batch for every device.
      reduced: bytes that a step reduces.
      cores: that the devices share; ``None``: every device has its own.

    Raises:
      ConfigError: there is no time on one device.
    """
    from scipy.optimize import nnls

    if 1 not in devices:
        raise ConfigError(f"--devices={','.join(map(str, devices))}; accepted: with 1 among them")
    columns = _columns(devices, reduced, cores)
    # Errors count by their share of each time. Terms differ by ten orders of magnitude: they are
    # compared in units of their largest.
    columns /= np.asarray(seconds, float)[:, None]
    scale = np.maximum(columns.max(axis=0), 1e-300)
    found, _ = nnls(columns / scale, np.ones(len(columns)))
    compute, latency, per_byte = found / scale
    return Model(compute, latency, reduced, math.inf if per_byte == 0 else 1 / per_byte, cores)


def project(
    interconnect: Interconnect,
    step_seconds: float,
    reduced: float,
    all_reduces: int,
    hop_seconds: float,
    devices: int,
) -> Model:
    """Return the model of a step on so many accelerators.

    Args:
      interconnect: that joins them.
      step_seconds: of a train step on one.
      reduced: bytes that a step reduces.
      all_reduces: that it takes for them, one after the other.
      hop_seconds: from one accelerator to the next; a tree has ``2 log2 N`` of them.
      devices: accelerators.
    """
    hops = 2 * math.ceil(math.log2(devices)) if devices > 1 else 0
    latency = all_reduces * hops * hop_seconds
    return Model(step_seconds, latency, reduced, interconnect.bandwidth(devices))


def gradient_bytes(training: Any) -> int:
    """Return the bytes of all gradients of a train step: every player's, at each of its steps."""
    import jax

    networks = training.abstract_state.networks
    return sum(
        player.steps * leaf.size * leaf.dtype.itemsize
        for player in training.game.players
        for name in player.networks
        for leaf in jax.tree.leaves(networks[name].params)
    )


@dataclasses.dataclass(frozen=True)
class Reduced:
    """What one run of a compiled program reduces over devices.

    Attributes:
      bytes: of all arrays.
      scalars: of these, those of single numbers, such as metrics.
      count: all-reduces that it takes for them.
    """

    bytes: int = 0
    scalars: int = 0
    count: int = 0

    def __add__(self, other: "Reduced") -> "Reduced":
        """Return both, one after the other."""
        return Reduced(
            self.bytes + other.bytes, self.scalars + other.scalars, self.count + other.count
        )

    def times(self, count: int) -> "Reduced":
        """Return it so many times."""
        return Reduced(self.bytes * count, self.scalars * count, self.count * count)


def reduced_by(hlo: str) -> Reduced:
    """Return what a compiled program reduces, by its text; loops count as often as they run.

    Args:
      hlo: ``compiled.as_text()``.

    Raises:
      ValueError: a loop that reduces does not say how often it runs.
    """
    bodies: dict[str, list[str]] = {}
    entry, name = "", ""
    for line in hlo.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = header[2]
            bodies[name] = []
            entry = name if header[1] else entry
        elif name:
            bodies[name].append(line)

    def total(computation: str) -> Reduced:
        found = Reduced()
        for line in bodies.get(computation, ()):
            # A fused or reducing computation has no collectives, and is not called here.
            if operation := re.search(r" = (.*?) (all-reduce|all-reduce-start)\(", line):
                found += _arrays(operation[1])
            elif loop := re.search(r" while\(.*body=%?([\w.\-]+)", line):
                inner = total(loop[1])
                trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                if inner.count and not trips:
                    raise ValueError(f"a loop that reduces runs an unknown number of times: {line}")
                found += inner.times(int(trips[1]) if trips else 1)
            elif called := re.search(r" call\(.*to_apply=%?([\w.\-]+)", line):
                found += total(called[1])
            elif branches := re.search(r" conditional\(.*branch_computations=\{(.*?)\}", line):
                named = [total(branch.strip(" %")) for branch in branches[1].split(",")]
                found += max(named, key=lambda one: one.bytes)
        return found

    return total(entry)


def _arrays(shapes: str) -> Reduced:
    """Return what an all-reduce with results of these shapes reduces."""
    found = Reduced(count=1)
    for kind, sides in re.findall(r"\b([a-z]+\d+)\[([\d,]*)\]", shapes):
        size = _BYTES[kind] * math.prod(int(side) for side in sides.split(",") if side)
        found += Reduced(size, 0 if sides else size)
    return found


def make_config(choice: str) -> Any:
    """Return the configuration that ``NAME`` or ``NAME:ARG`` names, a file in ``configs/``.

    Raises:
      ConfigError: there is none.
    """
    name, _, arg = choice.partition(":")
    try:
        module = importlib.import_module(f"configs.{name}")  # noqa: TID251
    except ModuleNotFoundError as error:
        raise ConfigError(f"--config={choice}: configs/{name}.py does not exist") from error
    return module.get_config(arg)


def make_training(choice: str, devices: int, batch_size: int) -> tuple[Any, tuple[int, ...]]:
    """Return the training of a configuration on so many devices, and the shape of its images."""
    from gan_jax.runs import build

    config = make_config(choice)
    config.num_devices = devices
    config.train.update(batch_size=batch_size, steps_per_call=1)
    side, parts = config.data.resolution, 1 if config.data.pairing == "none" else 2
    shape: tuple[int, ...] = (side, side, parts * (config.data.channels or 1))
    if config.data.name in TOYS:
        shape = (2,)
    return build.make_training(config, shape, 10), shape


def measure(choice: str, devices: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """Return the measures of a train step on so many devices of this process.

    Args:
      choice: as ``--config``.
      devices: over which the batch is split.
      batch_size: of all of them together.
      repeats: timed steps; 0: the program is compiled alone, and read.
    """
    import jax

    from gan_jax.runs import build

    training, shape = make_training(choice, devices, batch_size)
    mapped = training.parallel
    rng = np.random.default_rng(0)
    points = len(shape) == 1
    size = (_EXAMPLES, *shape)
    image = rng.normal(size=size) if points else rng.integers(0, 256, size)
    rows = {
        "image": image.astype(np.float32 if points else np.uint8),
        "label": rng.integers(0, 10, len(image)).astype(np.int32),
    }
    leading = (1, build.data_batches(training), batch_size)
    indices = {"index": rng.integers(0, len(image), leading).astype(np.int32)}
    abstract = [
        {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
        for arrays in (rows, indices)
    ]
    compiled = mapped.compile(training.abstract_state, *abstract)
    found = reduced_by(compiled.as_text())
    row = {
        "devices": devices,
        "batch_size": batch_size,
        "gradient_bytes": gradient_bytes(training),
        "reduced_bytes": found.bytes,
        "scalar_bytes": found.scalars,
        "all_reduces": found.count,
        "device": jax.devices()[0].device_kind,
    }
    if not repeats:
        return row
    data, batch = mapped.put_replicated(rows), mapped.put_batch(indices)
    state = training.init_state()
    seconds = []
    # The first two warm up: allocators, libraries that choose their kernels.
    for _ in range(repeats + 2):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(mapped(state, data, batch))
        seconds.append(time.perf_counter() - started)
    return {**row, "seconds": statistics.median(seconds[2:]), "fastest": min(seconds[2:])}


def measured_apart(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return `measure` of every number of devices, each in a process of its own.

    Raises:
      ConfigError: a process fails; the message has its last line.
    """
    rows = []
    for devices in arguments.devices:
        batch = arguments.batch_size * (1 if arguments.strong else devices)
        rows.append(_apart(arguments, arguments.config, devices, batch, arguments.repeats))
    return rows


def projected_apart(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the program of ``--project`` reduces, by `measure` without a timed step.

    Its devices and its batch are as few as they can be: neither changes what is reduced.

    Raises:
      ConfigError: its process fails; the message has its last line.
    """
    devices = 2 if arguments.fake else max(arguments.devices)
    return _apart(arguments, arguments.project, devices, 2 * devices, 0)


def _apart(
    arguments: argparse.Namespace, choice: str, devices: int, batch_size: int, repeats: int
) -> dict[str, Any]:
    """Return `measure` in a process of its own."""
    command = [
        *(sys.executable, "-m", "scripts.scaling", "--worker", f"--devices={devices}"),
        *(f"--config={choice}", f"--batch_size={batch_size}", f"--repeats={repeats}"),
    ]
    environment = dict(os.environ)
    if arguments.fake:
        environment["JAX_PLATFORMS"] = "cpu"
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["without a word"])[-1]
        raise ConfigError(f"--config={choice} with --devices={devices} failed: {reason}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---:"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def report(
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    projected: Mapping[str, Any],
    cores: int | None,
) -> str:
    """Return everything that was measured, fitted and projected, as Markdown.

    Args:
      arguments: of the command line.
      rows: what `measured_apart` gives.
      projected: the row of the program to project.
      cores: that the devices share; ``None``: every device has its own.
    """
    several = max(rows, key=lambda row: row["devices"])
    # The fastest: what else the machine does makes a step slower, never faster.
    numbers, seconds = [r["devices"] for r in rows], [r["fastest"] for r in rows]
    parts = [
        _MEASURED.format(
            command=_command(arguments),
            devices=f"{'fake devices of ' if arguments.fake else ''}{rows[0]['device']}",
            machine=f"{platform.machine()}, {os.cpu_count()} cores",
            config=arguments.config,
            split="over all devices together" if arguments.strong else "for each device",
            batch=arguments.batch_size,
        ),
        table(
            ["devices", "ms a step", "fastest", "all-reduces", "bytes reduced", "of gradients"],
            [
                [
                    row["devices"],
                    f"{1e3 * row['seconds']:.1f}",
                    f"{1e3 * row['fastest']:.1f}",
                    row["all_reduces"],
                    f"{row['reduced_bytes']:,}",
                    f"{row['gradient_bytes']:,}",
                ]
                for row in rows
            ],
        ),
    ]
    if not arguments.strong:
        model = fit(numbers, seconds, several["reduced_bytes"], cores)
        parts.append(_fitted(model, arguments.fake, numbers[-1], seconds[-1]))
    if arguments.fake:
        parts.append(_FAKE.format(cores=cores))
    parts.append(_projections(arguments, projected))
    return "\n\n".join(parts) + "\n"


def _fitted(model: Model, fake: bool, devices: int, seconds: float) -> str:
    """Return the terms of a model in words; of fake devices, what one says of them."""
    compute = f"Fitted: {1e3 * model.compute:.1f} ms of computing"
    if fake:
        alone = dataclasses.replace(model, latency=0.0, bandwidth=math.inf).seconds(devices)
        return (
            f"{compute} on one device, and so {1e3 * alone:.1f} ms on {devices} that share the "
            f"cores; the other {1e3 * (seconds - alone):.1f} ms are what partitioning costs."
        )
    told = "not seen" if math.isinf(model.bandwidth) else f"{model.bandwidth / 1e9:.2f} GB/s"
    return f"{compute}, a latency of {1e3 * model.latency:.2f} ms, bandwidth {told}."


def _projections(arguments: argparse.Namespace, program: Mapping[str, Any]) -> str:
    """Return the projections of the program that a row is of."""
    gradients, reduced = program["gradient_bytes"], program["reduced_bytes"]
    times = [arguments.step_seconds] if arguments.step_seconds else list(ASSUMED)
    origin = "given by `--step_seconds`" if arguments.step_seconds else "assumed, not measured"
    batch = arguments.step_batch
    parts = [
        _PROJECTED.format(
            config=arguments.project or arguments.config,
            gradients=f"{gradients:,}",
            reduced=f"{reduced:,}",
            count=program["all_reduces"],
            hop=f"{1e6 * arguments.hop_seconds:g}",
            origin=origin,
            batch=batch,
        )
    ]
    for seconds in times:
        lines = []
        for interconnect in INTERCONNECTS:
            for devices in PROJECTED:
                model = project(
                    interconnect,
                    seconds,
                    reduced,
                    program["all_reduces"],
                    arguments.hop_seconds,
                    devices,
                )
                lines.append(
                    [
                        interconnect.name,
                        devices,
                        f"{1e3 * model.seconds(devices):.2f}",
                        f"{devices * batch / model.seconds(devices):,.0f}",
                        f"{100 * model.efficiency(devices):.1f}%",
                    ]
                )
        heads = ["interconnect", "accelerators", "ms a step", "images/s", "efficiency"]
        parts.append(f"A step of {1e3 * seconds:g} ms on one accelerator ({origin}):")
        parts.append(table(heads, lines))
    sources = [
        f"- {i.name}: {i.inside / 1e9:g} GB/s in one direction among {i.node:,}, "
        f"{i.across / 1e9:g} GB/s beyond. {i.source}."
        for i in INTERCONNECTS
    ]
    parts.append("The figures of the interconnects, halved where both directions are summed up:")
    parts.append("\n".join(sources))
    return "\n\n".join(parts)


def _command(arguments: argparse.Namespace) -> str:
    words = ["python -m scripts.scaling", f"--config={arguments.config}"]
    words.append(f"--devices={','.join(map(str, arguments.devices))}")
    words.append(f"--batch_size={arguments.batch_size}")
    words += ["--fake"] if arguments.fake else []
    words += ["--strong"] if arguments.strong else []
    words += [f"--project={arguments.project}"] if arguments.project else []
    words += [f"--step_seconds={arguments.step_seconds:g}"] if arguments.step_seconds else []
    return " ".join([*words, f"--step_batch={arguments.step_batch}"])


_MEASURED = """# How training scales

Made by `scripts/scaling.py`, which has the model:

```sh
{command}
```

## Measured

Train steps of `{config}` on {devices} ({machine}), a batch of {batch} {split}.
Bytes are those of every all-reduce in the program that XLA compiled, loops as often as they run;
those of gradients are counted from the networks' parameters, once for every gradient step of their
player. The rest are batch statistics and metrics."""

_FAKE = """The devices are fake and share {cores} cores: they take turns at computing, so that
neither a speed-up nor a bandwidth can be seen here. What can: how many bytes and all-reduces a step
has, that neither grows with N, and, in the milliseconds beyond N / {cores} times those of one, what
it costs to partition the work: threads that wait for one another, and copies in memory."""

_PROJECTED = """## Projected

Of `{config}`: {gradients} bytes of gradients a step, and {reduced} with batch statistics and
metrics, in {count} all-reduces, by the program that XLA compiled of it. Every accelerator has a
batch of {batch}, and so the same work however many there are (weak scaling). The time on one
accelerator is {origin}. Assumptions:

- Nothing of the exchange is hidden behind computing, which makes these times upper bounds.
- A ring is as fast as its slowest connection; networks deliver what vendors publish.
- An all-reduce waits {hop} us for each of 2 log2 N hops of a tree: assumed, not published.
- Data arrive in time, and no accelerator is slower than the others."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="wgan_gp", help="NAME or NAME:ARG of configs/")
    parser.add_argument("--devices", default="1,2,4,8", help="numbers of them, with commas")
    parser.add_argument("--batch_size", type=int, default=16, help="for each device")
    parser.add_argument("--strong", action="store_true", help="of all devices together instead")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps")
    parser.add_argument("--fake", action="store_true", help="devices made of the CPU")
    parser.add_argument("--project", help="another configuration to project; unset: --config")
    parser.add_argument("--step_seconds", type=float, help="of a step on one real accelerator")
    parser.add_argument("--step_batch", type=int, default=64, help="its batch")
    parser.add_argument("--hop_seconds", type=float, default=5e-6, help="between accelerators")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--markdown", type=Path, help="write the report to this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        options.devices = sorted({int(n) for n in options.devices.split(",")})
    except ValueError:
        options.devices = []
    if not options.devices or options.devices[0] < 1:
        raise ConfigError("--devices has no numbers of devices; accepted: such as 1,2,4,8")
    for name in ("batch_size", "repeats", "step_batch"):
        if getattr(options, name) < (0 if options.worker and name == "repeats" else 1):
            raise ConfigError(f"--{name}={getattr(options, name)}; accepted: 1 or more")
    if options.step_seconds is not None and not options.step_seconds > 0:
        raise ConfigError(f"--step_seconds={options.step_seconds}; accepted: above 0")
    if not options.hop_seconds >= 0:
        raise ConfigError(f"--hop_seconds={options.hop_seconds}; accepted: 0 or more")
    if not options.strong and not options.worker and 1 not in options.devices:
        raise ConfigError("--devices lacks 1; accepted: with the time on one device")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's error is one line on stderr."""
    try:
        options = parse(arguments)
        if options.worker:
            from gan_jax.runs import compilation_cache

            compilation_cache.enable()
            (devices,) = options.devices
            found = measure(options.config, devices, options.batch_size, options.repeats)
            print(json.dumps(found))
            return 0
        for choice in filter(None, (options.config, options.project)):
            make_config(choice)
        rows = measured_apart(options)
        projected = projected_apart(options) if options.project else rows[-1]
        cores = os.cpu_count() if options.fake else None
        text = report(options, rows, projected, cores)
        print(text)
        if options.json:
            atomic.write_text(options.json, json.dumps(rows, indent=2) + "\n")
        if options.markdown:
            atomic.write_text(options.markdown, text)
    except GanJaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
