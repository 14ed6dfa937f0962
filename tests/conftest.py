"""Session set-up: eight fake CPU devices, quick compilation, strict dtype promotion."""

import gc
import os
import signal
from importlib import metadata
from pathlib import Path

# Most of the time goes into compiling, which takes less than half as long without LLVM's
# optimizations, with one module of LLVM for a program, and with XLA's older emitters, where there
# still are any: XLA ends the process at a flag that it does not know. Where the caller has set
# XLA_FLAGS, even to nothing, programs are compiled as a user's are.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false" * metadata.version("jaxlib").startswith("0.10."),
)
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from gan_jax.runs import compilation_cache
from tests.training.tiny import shared_steps  # noqa: F401  Files use the fixture by its name.

compilation_cache.enable()
# Tests compile thousands of small programs, many of them in several processes.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
FOLDER = Path(__file__).parent
# A shell lets what it starts in the background ignore Ctrl-C, which tests send to their programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What another version of JAX has to pass, but for the slow tests, beside the tests that have the
# mark themselves: every loss in every way to run it, penalties' gradients of gradients, and the
# layers that rely on JAX and Flax most.
CORE = (
    "layers/test_convolution.py",
    "layers/test_normalization.py",
    "layers/test_spectral.py",
    "losses/test_contract.py::TestEvery",
    "losses/test_contract.py::TestPenalties::test_gradients",
    "training/test_step.py",
    "runs/test_loop.py",
)

# The files that take longest. With -n, a worker takes the next file in the order of collection: one
# of these would leave the other workers without work if it came last.
LONGEST = (
    "configs/test_variants.py",
    "sweeps/test_ray.py",
    "experiments/test_distributed.py",
    "evaluation/test_evaluation.py",
    "runs/test_replicas.py",
    "games/test_vae.py",
    "games/test_terms.py",
    "games/test_terms_by_hand.py",
    "runs/test_loop.py",
    "faults/test_lost_processes.py",
    "training/test_parallel.py",
    "training/test_translation.py",
    "training/test_step.py",
    "docs/test_smoke.py",
)


@pytest.hookimpl(tryfirst=True)  # Before pytest deselects by marks.
def pytest_collection_modifyitems(items):
    """Mark the core tests and exhaustive ones, which are slow, and put the longest files first."""
    first = {name: number for number, name in enumerate(LONGEST)}
    names = {item: item.path.relative_to(FOLDER).as_posix() for item in items}
    for item, name in names.items():
        if item.get_closest_marker("exhaustive"):  # `-m 'not slow'` and `-m core` leave them out.
            item.add_marker(pytest.mark.slow)
        test = f"{name}::{item.nodeid.partition('::')[2]}"
        if test.startswith(CORE) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.core)
    items.sort(key=lambda item: first.get(names[item], len(first)))


def pytest_collection_finish():
    """Leave what was imported out of the garbage collections to come, and make them rare.

    Tracing makes many objects, most of which stay: Python's own thresholds cost some percent.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


# Optax adds integers to floats, so the training tests cannot be strict.
STRICT = {"augment", "data", "layers", "losses", "metrics", "networks"}


@pytest.fixture(autouse=True)
def dtype_promotion(request):
    """Forbid implicit promotion where all the arithmetic is ours."""
    folder = request.path.parent.name
    with jax.numpy_dtype_promotion("strict" if folder in STRICT else "standard"):
        yield
