"""JAX's persistent compilation cache, so that a second start does not compile again."""

import hashlib
import os
import platform
from pathlib import Path

import jax

from gan_jax import cache


def _processor() -> str:
    """Return a short name of this machine's instruction set: compiled CPU code must not travel."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def enable() -> None:
    """Switch the persistent compilation cache on.

    Does nothing where the user has chosen one by JAX's own ``$JAX_COMPILATION_CACHE_DIR``.

    Side effect: changes JAX's global configuration; the folder is made when JAX first writes.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache.root() / "xla" / _processor()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
