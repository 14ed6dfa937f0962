"""MLflow: a tracking server, or files."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.report.writers.tracker import Tracker, settings_of


class MlflowWriter(Tracker):
    """Writes to a run of MLflow.

    The store is ``$MLFLOW_TRACKING_URI``, or MLflow's default; the experiment is
    ``$MLFLOW_EXPERIMENT_NAME``, or gan_jax. A resumed run continues the same run of MLflow.
    """

    def __init__(self, workdir: Path):
        """Begin or continue the run; raises `ConfigError` if the store refuses."""
        super().__init__(workdir, "mlflow")
        import mlflow
        from mlflow import entities

        self._entities = entities
        try:
            self._client = mlflow.MlflowClient()
            self._id = self.run_id or self._begin(workdir)
            self._client.update_run(self._id, status="RUNNING")
        except mlflow.exceptions.MlflowException as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"report.writers has 'mlflow', whose store {mlflow.get_tracking_uri()} cannot be "
                f"used: {reason}"
            ) from error
        self.keep(self._id)

    def _begin(self, workdir: Path) -> str:
        """Create a run with the configuration as its parameters; return its ID."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "gan_jax")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run = self._client.create_run(number, run_name=workdir.resolve().name)
        parameters = settings_of(workdir).items()
        values = [self._entities.Param(field, str(value)[:500]) for field, value in parameters]
        for start in range(0, len(values), 100):  # The most that a server accepts at once.
            self._client.log_batch(run.info.run_id, params=values[start : start + 100])
        return str(run.info.run_id)

    @override
    def send_metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, float(value), step=step)

    @override
    def send_image(self, step: int, name: str, image: np.ndarray) -> None:
        self._client.log_image(self._id, image, key=name, step=step, synchronous=True)

    @override
    def close(self) -> None:
        self._client.set_terminated(self._id)
