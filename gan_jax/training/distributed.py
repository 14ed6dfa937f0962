"""Starting a run of several processes: SLURM, TPU pods, Open MPI, or explicit addresses."""

import dataclasses

import jax

from gan_jax import errors


@dataclasses.dataclass(frozen=True)
class Launch:
    """How this process finds the others.

    Attributes:
      mode: ``"off"`` (one process), ``"auto"`` (JAX recognises SLURM, TPU pods, Open MPI and
        others by their environment) or
        ``"explicit"`` (the three fields below).
      coordinator: ``host:port`` of process 0.
      num_processes: processes in all.
      process_id: this one, from 0.
    """

    mode: str = "off"
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self):
        if self.mode not in ("off", "auto", "explicit"):
            raise errors.ConfigError(
                f"--distributed={self.mode}; accepted: off, auto, explicit"
                f"{errors.suggestion(self.mode, ('off', 'auto', 'explicit'))}"
            )
        explicit = {
            "--coordinator": self.coordinator,
            "--num_processes": self.num_processes,
            "--process_id": self.process_id,
        }
        given = [name for name, value in explicit.items() if value is not None]
        if self.mode != "explicit" and given:
            raise errors.ConfigError(
                f"{given[0]} is given; accepted only with --distributed=explicit"
            )
        if self.mode == "explicit" and len(given) < len(explicit):
            missing = [name for name in explicit if name not in given]
            raise errors.ConfigError(f"--distributed=explicit needs {', '.join(missing)} too")
        if self.mode == "explicit":
            assert self.num_processes is not None
            assert self.process_id is not None
            if not 0 <= self.process_id < self.num_processes:
                raise errors.ConfigError(
                    f"--process_id={self.process_id}; accepted: 0 to {self.num_processes - 1}"
                )


def start(launch: Launch) -> None:
    """Join the other processes, if there are any. Call before anything else touches JAX's devices.

    Side effects: opens JAX's distributed service, which also takes over SIGTERM as the notice of
    preemption.

    Raises:
      ConfigError: ``auto`` finds no environment that it knows.
    """
    if launch.mode == "off":
        return
    try:
        if launch.mode == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(launch.coordinator, launch.num_processes, launch.process_id)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        accepted = "--distributed=explicit, or a start by SLURM, Open MPI or on a TPU pod"
        raise errors.ConfigError(
            f"--distributed={launch.mode} could not start: {reason}"
            + (f"; accepted: {accepted}" if launch.mode == "auto" else "")
        ) from error
