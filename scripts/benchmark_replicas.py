"""What replicas gain: ``python -m scripts.benchmark_replicas --config=points --replicas=1,2,4,8``.

Times one call of the train step for several numbers of replicas on one device, turn by turn, and
sets the images per second of all replicas together against those of one run alone: as if the runs
had been trained one after the other. ``points`` is a GAN of small MLPs on points of the
plane, ``digits`` the one of ``configs/gan.py``, ``dcgan`` the convolutions of ``configs/dcgan.py``.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import dcgan, gan
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.runs import build, compilation_cache
from scripts import benchmark


def points() -> ConfigDict:
    """Perceptrons with two layers of 128, on eight Gaussians."""
    config = gan.get_config()
    config.data.name = "ring"
    config.generator.mlp.update(features=(128, 128), output="linear")
    config.generator.latent_dim = 2
    config.discriminator.mlp.features = (128, 128)
    return config


CONFIGS: dict[str, tuple[Callable[[], ConfigDict], specs.Spec]] = {
    "points": (points, specs.points()),
    "digits": (gan.get_config, specs.images((16, 16, 1))),
    "dcgan": (dcgan.get_config, specs.images((16, 16, 1))),
}


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=sorted(CONFIGS), default="points")
    parser.add_argument("--replicas", default="1,2,4,8", help="numbers of replicas")
    parser.add_argument("--batch_size", type=int, default=64, help="of one replica")
    parser.add_argument("--steps_per_call", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=20, help="timed turns of each number")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    rows = measure(arguments)
    benchmark.show(rows)
    if arguments.json:
        content = {"machine": benchmark.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


def measure(arguments: argparse.Namespace) -> list[benchmark.Row]:
    """Return a row per number of replicas: milliseconds of a step, and images per second."""
    compilation_cache.enable()
    counts = [int(count) for count in arguments.replicas.split(",")]
    calls = {count: one_call(arguments, count) for count in dict.fromkeys([1, *counts])}
    seconds: dict[int, list[float]] = {count: [] for count in calls}
    for turn in range(arguments.repeats + 2):
        for count, call in calls.items():
            started = time.perf_counter()
            call()
            if turn >= 2:  # The first turns warm up.
                seconds[count].append((time.perf_counter() - started) / arguments.steps_per_call)
    alone = float(np.median(seconds[1]))
    rows = []
    for count, times in seconds.items():
        step = float(np.median(times))
        rows.append(
            {
                "replicas": count,
                "ms per step, median": 1e3 * step,
                "ms, fastest": 1e3 * min(times),
                "img/s in all": count * arguments.batch_size / step,
                "gain": count * alone / step,
            }
        )
    return rows


def one_call(arguments: argparse.Namespace, replicas: int) -> Callable[[], Any]:
    """Return a function that makes one call of the step of the replicas on random data."""
    make, spec = CONFIGS[arguments.config]
    config = make()
    config.num_devices = 1
    steps = arguments.steps_per_call
    config.train.update(batch_size=arguments.batch_size, replicas=replicas, steps_per_call=steps)
    for name in ("steps", "log_every", "sample_every", "checkpoint_every"):
        config.train[name] = steps
    config.eval.every = 0
    training = build.make_training(config, spec)
    rng = np.random.default_rng(0)
    data = training.parallel.put_replicated(random_arrays(spec, 4096))
    leading: tuple[int, ...] = (steps, build.data_batches(training), arguments.batch_size)
    if replicas > 1:
        leading = (steps, replicas, *leading[1:])
    batch = training.parallel.put_batch({"index": rng.integers(0, 4096, leading, np.int32)})
    state = training.init_state()

    def call() -> None:
        nonlocal state
        state, _ = training.parallel(state, data, batch)
        jax.block_until_ready(state)

    call()
    return call


if __name__ == "__main__":
    main()
