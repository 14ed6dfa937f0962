"""Where the project keeps what can be made or fetched again, outside any run directory."""

import os
from pathlib import Path


def root() -> Path:
    """Return ``$GAN_JAX_CACHE``, else ``gan_jax`` in the user's cache; it may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GAN_JAX_CACHE") or Path(home) / "gan_jax")
