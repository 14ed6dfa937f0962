"""Measure the FID: ``python -m scripts.benchmark_metrics``.

Times the FID of samples at 32x32, from the latents to the number, and its parts; and the Inception
network beside the same one in PyTorch, turn by turn. All on one device. Prints a table, and writes
it as JSON with ``--json``.
"""

import argparse
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
from scripts.benchmark import publish
from scripts.train_steps import Row, Step, in_turns, seconds_of

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
    arguments = vars(parser.parse_args())
    json = arguments.pop("json")
    publish(measure(**arguments), json)


def measure(
    *,
    num_fake: int | None = None,
    batch_size: int | None = None,
    layer: str = "2048",
    precision: str | None = None,
    features: int = 128,
    path: Path | None = None,
    repeats: int = 10,
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

    exact = precisions[0] if on_cpu else "highest"
    inceptions = contest(
        {
            f"gan_jax {name}": (name, functools.partial(_extract, extraction, images))
            for name, extraction in extractions.items()
        }
        | _pytorch(np.asarray(images), weights, layer, exact),
        batch_size,
        repeats,
    )

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


def _row(
    what: str,
    seconds: float,
    images: int | None,
    *,
    fixed: float = 0.0,
    compile_seconds: float | None = None,
    note: str = "",
) -> Row:
    """Return a row; ``fixed`` of the seconds, or all without images, do not grow with images."""
    growing = (seconds - fixed) * STANDARD_FAKES / images if images else 0.0
    return {
        "what": what,
        "images": images,
        "seconds": seconds,
        "images/s": images / seconds if images else None,
        "s per 50k": growing + fixed,
        "compile s": compile_seconds,
        "ours / this": None,
        "note": note,
    }


def contest(
    contestants: Mapping[str, tuple[str, Callable[[], Any]]], batch_size: int, repeats: int
) -> dict[str, Row]:
    """Return a row for each way to compute the features of a batch: images/s, and ours by it.

    Args:
      contestants: by name, the precision to which its arithmetic is equal, and a call that waits
        for its result.
      batch_size: images of a call.
      repeats: turns of each.
    """
    compile_seconds = {name: seconds_of(call) for name, (_, call) in contestants.items()}
    steps = {name: Step(call) for name, (_, call) in contestants.items()}
    rows: dict[str, Row] = {}
    for name, seconds in in_turns(steps, repeats, warm_up=1).items():
        rows[name] = row = _row(
            f"Inception: {name}",
            float(np.median(seconds)),
            batch_size,
            compile_seconds=compile_seconds[name],
        )
        ours = rows.get(f"gan_jax {contestants[name][0]}")
        row["ours / this"] = ours["images/s"] / row["images/s"] if ours else None
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


def _extract(extraction: statistics.Extraction, images: jax.Array) -> None:
    jax.block_until_ready(extraction(images))


def _pytorch(
    images: np.ndarray, weights: inception.Weights, layer: str, exact: str
) -> dict[str, tuple[str, Callable[[], Any]]]:
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

    def contestant(tf32: bool, memory_format: Any) -> Callable[[], Any]:
        network = pytorch_inception.Inception(weights, layer).eval().to(device)
        network.to(memory_format=memory_format)

        def call() -> None:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            with torch.inference_mode():
                network(batch)
            if not on_cpu:
                torch.cuda.synchronize()

        return call

    formats = {"": torch.contiguous_format, ", channels last": torch.channels_last}
    return {
        f"PyTorch eager {'TF32' if tf32 else 'float32'}{suffix}": (
            "default" if tf32 else exact,
            contestant(tf32, memory_format),
        )
        for tf32 in ((False,) if on_cpu else (False, True))
        for suffix, memory_format in formats.items()
    }


def _median(call: Callable[[], Any], runs: int) -> float:
    return float(np.median([seconds_of(call) for _ in range(runs)]))


if __name__ == "__main__":
    main()
