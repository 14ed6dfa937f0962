"""Train steps that are ready to be timed: ours, and those of PyTorch's references."""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.extend.core
import numpy as np
from ml_collections import ConfigDict

from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.games.game import owner_starts
from gan_jax.runs import build
from gan_jax.training.state import TrainState

Row = dict[str, Any]
EXAMPLES = 1024  # Of the resident data.
TURN_SECONDS = 0.25


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the duration of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


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

    It is a step in which every player plays.

    Side effect: changes ``config``, to train and do nothing else.

    Args:
      config: the configuration.
      spec: of its data.
      calls: number of calls of the compiled function before waiting.
    """
    started = time.perf_counter()
    count = config.train.steps_per_call
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        config.train[name] *= count  # A multiple, and no fewer steps than the schedules need.
    config.eval.every = 0
    config.num_devices = 1
    with build.matmul_precision(config):
        training = build.make_training(config, spec)
        host = random_arrays(spec, EXAMPLES)
        leading = [count, build.data_batches(training), config.train.batch_size]
        if training.replicas > 1:
            leading.insert(1, training.replicas)
        index = {"index": np.random.default_rng(0).integers(0, EXAMPLES, leading, np.int32)}
        abstract = [
            training.abstract_state,
            *jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), [host, index]),
        ]
        step = training.parallel
        counted = operations(lambda *arguments: step(*arguments), *abstract) / count
        memory = step.lower(*abstract)().memory_analysis()
        state = training.init_state()
    state = state.replace(step=state.step + max(owner_starts(training.game).values()))
    data, batch = step.put_replicated(host), step.put_batch(index)

    def call() -> TrainState:
        nonlocal state
        for _ in range(calls):
            state, _ = step(state, data, batch)
        return jax.block_until_ready(state)

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


@functools.cache
def references() -> ModuleType | None:
    """Return the module of PyTorch's references; ``None`` where PyTorch is not installed."""
    # Threads of PyTorch that spin while they wait would take the cores from JAX.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from scripts.pytorch import references
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print("PyTorch is not installed: pip install -e '.[parity]' for the comparison")
        return None
    return references


def pytorch_device() -> str:
    """Return PyTorch's name of the kind of device that JAX uses."""
    import torch

    return "cuda" if torch.cuda.is_available() and jax.default_backend() != "cpu" else "cpu"


def pytorch_placements() -> dict[str, Row]:
    """Return the fields of the references' placements that are worth measuring, by name.

    Side effect: on GPUs, PyTorch uses TF32 and chooses its kernels by measurement.
    """
    if (device := pytorch_device()) == "cpu":
        return {
            "PyTorch eager": {},
            "PyTorch eager, channels last": {"channels_last": True},
        }
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    common = {"channels_last": True, "device": device}
    return {
        "PyTorch eager TF32, channels last": common,
        "PyTorch eager bfloat16, channels last": {**common, "bfloat16": True},
    }


def pytorch_steps(config: ConfigDict, spec: specs.Spec) -> dict[str, Step]:
    """Return PyTorch's steps of a configuration by name; none if there is no reference of it.

    What costs only one side is in favour of PyTorch: its data are one resident batch of floats,
    already cropped, mirrored and degraded, and the learning rate is constant.
    """
    module = references()
    if module is None or config.variant not in module.REFERENCES:
        return {}

    def step_of(fields: Row) -> Step:
        system = module.make(config, spec, module.Placement(**fields))
        # Every player plays in a last step.
        return Step(lambda: system.step(config.train.steps, system.batches))

    return {name: step_of(fields) for name, fields in pytorch_placements().items()}


def lengthened(step: Step) -> Step:
    """Return a step with as many calls in one as take about `TURN_SECONDS`. It is called twice."""
    step.call()  # The first call is longer.
    calls = 1 + int(TURN_SECONDS / seconds_of(step.call))
    return dataclasses.replace(
        step, call=lambda: [step.call() for _ in range(calls)], steps=calls * step.steps
    )


def metered(step: Step, spent: list[float]) -> Step:
    """Return a step that appends to ``spent`` the processor time of one step, of all threads."""

    def call() -> None:
        started = time.process_time()
        step.call()
        spent.append((time.process_time() - started) / step.steps)

    return dataclasses.replace(step, call=call)


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
