"""gan_jax: generative adversarial networks as pure functions, in JAX and Flax.

The public interface; everything is imported when it is first used:

- `open_run`: a trained `Run`, to sample, translate and evaluate with;
- `train`: train a configuration in a run directory;
- `metrics`: metrics of arrays of images, such as `metrics.fid`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "metrics", "open_run", "train"]

if TYPE_CHECKING:
    from gan_jax import metrics
    from gan_jax.runs.loop import train
    from gan_jax.runs.run import Run, open_run

_HOME = {"Run": "runs.run", "open_run": "runs.run", "train": "runs.loop"}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module("gan_jax.metrics")
    if name not in _HOME:
        raise AttributeError(f"module 'gan_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gan_jax.{_HOME[name]}"), name)
