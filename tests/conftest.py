"""Session set-up: eight fake CPU devices, quick compilation, strict dtype promotion."""

import os

# Most of the time goes into compiling. Without LLVM's optimizations it takes half as long; the
# caller's own flags come last and take precedence.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8 "
    + os.environ.get("XLA_FLAGS", "")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from gan_jax.runs import compilation_cache

compilation_cache.enable()

# Optax adds integers to floats, so the training tests cannot be strict.
STRICT = {"augment", "data", "layers", "losses", "metrics", "networks"}


@pytest.fixture(autouse=True)
def dtype_promotion(request):
    """Forbid implicit promotion where all the arithmetic is ours."""
    folder = request.path.parent.name
    with jax.numpy_dtype_promotion("strict" if folder in STRICT else "standard"):
        yield
