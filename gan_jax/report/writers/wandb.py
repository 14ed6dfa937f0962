"""Weights & Biases, online or offline as its own environment variables say."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.report.writers.tracker import Tracker, settings_of

# The axis of all curves: W&B's own step can go neither back nor on in another process.
_AXIS = "train_step"


class WandbWriter(Tracker):
    """Writes to a run of W&B, whose files are in the run directory's folder ``wandb``.

    The project is ``$WANDB_PROJECT``, or gan_jax; ``WANDB_MODE=offline`` needs no account. A
    resumed run continues the same run of W&B.
    """

    def __init__(self, workdir: Path):
        """Begin or continue the run; raises `ConfigError` if W&B refuses, as without a login."""
        super().__init__(workdir, "wandb")
        import wandb

        self._wandb = wandb
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "gan_jax"),
                id=self.run_id,
                resume="allow",
                reinit="create_new",  # Replicas have a run each.
                name=workdir.resolve().name,
                dir=str(workdir),
                config=settings_of(workdir),
                settings=wandb.Settings(console="off"),
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"report.writers has 'wandb', which cannot be used: {reason} "
                "(WANDB_MODE=offline needs no account)"
            ) from error
        self._run.define_metric("*", step_metric=_AXIS)
        self.keep(self._run.id)

    @override
    def send_metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**{name: float(x) for name, x in values.items()}, _AXIS: step})

    @override
    def send_image(self, step: int, name: str, image: np.ndarray) -> None:
        shown = image[..., 0] if image.shape[-1] == 1 else image
        self._run.log({name: self._wandb.Image(shown), _AXIS: step})

    @override
    def close(self) -> None:
        self._run.finish()
