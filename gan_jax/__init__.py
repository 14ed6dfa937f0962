"""gan_jax: generative adversarial networks as pure functions, in JAX and Flax.

The public interface; everything is imported when it is first used:

- `get_config`: a configuration, by its name or from a file;
- `open_run`: a trained `Run`, to sample, translate and evaluate with;
- `train`: train a configuration in a run directory;
- `metrics`: metrics of arrays of images, such as `metrics.fid`.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "get_config", "metrics", "open_run", "train"]

if TYPE_CHECKING:
    from gan_jax import metrics
    from gan_jax.installation import get_config
    from gan_jax.runs.loop import train
    from gan_jax.runs.run import Run, open_run


def __getattr__(name: str) -> Any:
    if name == "metrics":
        import gan_jax.metrics as found

        return found
    if name == "get_config":
        from gan_jax import installation

        return installation.get_config
    if name == "train":
        from gan_jax.runs import loop

        return loop.train
    if name in ("Run", "open_run"):
        from gan_jax.runs import run

        return getattr(run, name)
    raise AttributeError(f"module 'gan_jax' has no attribute {name!r}")
