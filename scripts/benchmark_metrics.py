"""Measure the FID: ``python -m scripts.benchmark_metrics``.

Times the FID of samples at 32x32, from the latents to the number, and its parts; and the Inception
network beside the same one in PyTorch, turn by turn. All on one device. Prints a table, and writes
it as JSON with ``--json``.
"""

import argparse
import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs import wgan_gp
from gan_jax.data import spec as specs
from gan_jax.metrics import frechet, inception, statistics
from gan_jax.runs import build
from gan_jax.training.sampling import Sampler, chosen_variables, make_sampling
from scripts.benchmark import Row, Step, in_turns, publish, seconds_of

STANDARD_FAKES = 50_000  # Of the FID as it is published.


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    parser.add_argument("--num_fake", type=int, help="unset: 50000, or 512 on CPU")
    parser.add_argument("--batch_size", type=int, help="unset: 256, or 32 on CPU")
    parser.add_argument("--layer", choices=("64", "192", "768", "2048"), default="2048")
    parser.add_argument("--precision", choices=inception.PRECISIONS, help="unset: all that differ")
    parser.add_argument("--features", type=int, default=128, help="of the generator (ResNet)")
    parser.add_argument("--inception", type=Path, dest="path", help="weights; unset: random ones")
    parser.add_argument("--repeats", type=int, default=10, help="turns of each contestant")
    parser.add_argument(
        "--compiled",
        action=argparse.BooleanOptionalAction,
        help="torch.compile too; unset: on GPU",
    )
    arguments = vars(parser.parse_args())
    json = arguments.pop("json")
    publish(measure(**arguments), json)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to compute the features of one batch.

    Attributes:
      call: computes them, and waits for the result.
      precision: what its arithmetic is equal to, a key of `inception.PRECISIONS`.
      compiled: whether PyTorch compiles it, which it cannot do on every machine.
    """

    call: Callable[[], Any]
    precision: str
    compiled: bool = False


def measure(
    *,
    num_fake: int | None = None,
    batch_size: int | None = None,
    layer: str = "2048",
    precision: str | None = None,
    features: int = 128,
    path: Path | None = None,
    repeats: int = 10,
    compiled: bool | None = None,
    runs: int = 3,
) -> list[Row]:
    """Return rows for the FID end to end, for its parts, and for Inception beside PyTorch's.

    The arguments are those of the command line; the median of ``runs`` counts. The generator is
    untrained, and the moments of real images are random, which does not change the time.

    Side effect: by default XLA reserves no memory of an accelerator; PyTorch needs some, too.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    on_cpu = jax.default_backend() == "cpu"
    num_fake = num_fake or (512 if on_cpu else STANDARD_FAKES)
    batch_size = batch_size or (32 if on_cpu else 256)
    # On CPU both precisions are float32.
    precisions = [precision] if precision else ["highest"] if on_cpu else ["highest", "default"]
    weights, extractions = _extractions(path, layer, precisions, batch_size)
    sampler, variables = _sampler(features, batch_size)
    first = functools.partial(sampler.batch, variables)
    sampler_seconds = seconds_of(lambda: jax.block_until_ready(first(0)))
    images = first(0)

    contestants = {
        f"gan_jax {name}": Contestant(_our_call(extraction, images), name)
        for name, extraction in extractions.items()
    }
    compiled = not on_cpu if compiled is None else compiled
    exact = precisions[0] if on_cpu else "highest"
    contestants |= _pytorch_contestants(np.asarray(images), weights, layer, exact, compiled)
    inceptions = contest(contestants, batch_size, repeats)

    def batches() -> Iterator[jax.Array]:
        return (first(start) for start in range(0, num_fake, sampler.batch_size))

    # More random features than dimensions, so that the moments have full rank, as those of 50,000.
    width = len(next(iter(extractions.values()))(images)[layer][0])
    some = np.random.default_rng(0).normal(size=(2, 2 * width, width)).astype(np.float32)
    real, fake = (frechet.moments(part) for part in some)
    moments = _median(lambda: frechet.moments(some[0]), runs)
    distance = _median(lambda: frechet.frechet_distance(real, fake), runs)
    notes = [] if path else ["random weights (as fast as any)"]
    if num_fake != STANDARD_FAKES:
        notes.append(f"extrapolated from {num_fake:,} images")
    rows = []
    for name, extraction in extractions.items():
        wanted = {layer: frozenset({"moments"})}

        def end_to_end(extraction: Any = extraction, wanted: Any = wanted) -> None:
            statistics.collect(extraction, batches(), num_fake, wanted)

        rows.append(
            _row(
                f"FID end to end, {name}",
                _median(end_to_end, runs) + distance,
                num_fake,
                fixed=distance,
                compile_seconds=sampler_seconds + inceptions[f"gan_jax {name}"]["compile s"],
                note="; ".join(notes),
            )
        )
    sampling = _median(lambda: jax.block_until_ready(list(batches())), runs)
    rows += [
        _row("- sampling", sampling, num_fake, compile_seconds=sampler_seconds),
        _row("- moments, on the host", moments, 2 * width),
        _row("- distance, on the host", distance, None, fixed=distance),
    ]
    return rows + list(inceptions.values())


def standard_seconds(seconds: float, images: int, fixed: float) -> float:
    """Return the seconds for 50,000 images; ``fixed`` of ``seconds`` do not grow with them."""
    return (seconds - fixed) * (STANDARD_FAKES / images) + fixed


def _row(
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


def contest(contestants: Mapping[str, Contestant], batch_size: int, repeats: int) -> dict[str, Row]:
    """Return a row for each: images/s, and ours of the same precision by it."""
    compile_seconds, failures = {}, {}
    for name, contestant in contestants.items():
        try:
            compile_seconds[name] = seconds_of(contestant.call)
        except Exception as error:  # Of any kind, from a compiler of another project.
            if not contestant.compiled:
                raise
            lines = str(error).strip().splitlines() or [""]
            failures[name] = f"failed: {type(error).__name__}: {lines[0]}"
    ready = {name: Step(contestants[name].call) for name in compile_seconds}
    seconds = in_turns(ready, repeats, warm_up=1)
    rows: dict[str, Row] = {}
    for name, contestant in contestants.items():
        rows[name] = row = _row(
            f"Inception: {name}",
            float(np.median(seconds[name])) if name in seconds else None,
            batch_size,
            compile_seconds=compile_seconds.get(name),
            note=failures.get(name, ""),
        )
        ours = rows.get(f"gan_jax {contestant.precision}")
        if ours and row["images/s"]:
            row["ours / this"] = ours["images/s"] / row["images/s"]
    return rows


def random_inception(layer: str) -> dict[str, np.ndarray]:
    """Return random weights of Inception up to a layer that keep activations of order one."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in inception.shapes(layer).items():
        scale = np.sqrt(2 / np.prod(shape[:-1])) if name.endswith("/kernel") else 0.1
        weights[name] = (scale * rng.normal(size=shape)).astype(np.float32)
    return weights


def _extractions(
    path: Path | None, layer: str, precisions: Sequence[str], batch_size: int
) -> tuple[inception.Weights, dict[str, statistics.Extraction]]:
    """Return weights, and our extraction by precision, on one device."""
    with tempfile.TemporaryDirectory() as scratch:
        if path is None:
            path = Path(scratch) / "weights.npz"
            inception.save_weights(path, random_inception(layer))
        extractions = {}
        for precision in precisions:
            extractor = inception.make_inception(path, precision=precision)
            one = jax.devices()[:1]
            extractions[precision] = statistics.Extraction(extractor, (layer,), one, batch_size)
        return inception.load_weights(path), extractions


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


def _our_call(extraction: statistics.Extraction, images: jax.Array) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(extraction(images))


def _pytorch_contestants(
    images: np.ndarray, weights: inception.Weights, layer: str, exact: str, compiled: bool
) -> dict[str, Contestant]:
    """Return PyTorch's contestants, if any; without TF32 their precision is called ``exact``."""
    # Threads of PyTorch that spin while they wait would take the cores from JAX.
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

        return Contestant(call, "default" if tf32 else exact, compiling)

    contestants = {}
    for tf32 in (False,) if on_cpu else (False, True):
        for compiling in (False, True) if compiled else (False,):
            for channels_last in (False, True):
                name = f"PyTorch {'compiled' if compiling else 'eager'}"
                name += " TF32" if tf32 else " float32"
                name += ", channels last" if channels_last else ""
                contestants[name] = contestant(channels_last, compiling, tf32)
    return contestants


def _median(call: Callable[[], Any], runs: int) -> float:
    return float(np.median([seconds_of(call) for _ in range(runs)]))


if __name__ == "__main__":
    main()
