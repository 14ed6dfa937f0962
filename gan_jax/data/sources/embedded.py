"""The data that ship inside scikit-learn, without importing it: that takes seconds."""

import importlib.util
from pathlib import Path

from gan_jax.errors import DataError


def path_of(name: str) -> Path:
    """Return the path of a file of the package ``sklearn.datasets``.

    Raises:
      DataError: scikit-learn is not installed, or has no such file.
    """
    found = importlib.util.find_spec("sklearn")
    folders = (found and found.submodule_search_locations) or []
    for folder in folders:
        if (path := Path(folder) / "datasets" / name).exists():
            return path
    raise DataError(f"scikit-learn with its file datasets/{name} is not installed")
