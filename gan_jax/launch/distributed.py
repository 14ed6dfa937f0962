"""Starting a run of several processes: SLURM, TPU pods, Open MPI, or explicit addresses."""

import contextlib
import dataclasses
import os
import sys
import time
from typing import Any, NoReturn

import jax

from gan_jax import errors

# In JAX's key-value store, by number of the process: why it has left, and that it is about to end.
_LEFT = "gan_jax/left/"
_ENDING = "gan_jax/ending/"
# Seconds that process 0, which holds the store, waits for the others to report why they end.
_REPORT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Launch:
    """How this process finds the others.

    Attributes:
      mode: ``"off"`` (one process), ``"auto"`` (JAX recognises SLURM, TPU pods, Open MPI and
        others by their environment) or ``"explicit"`` (the three fields below).
      coordinator: ``host:port`` of process 0.
      num_processes: processes in all.
      process_id: this one, from 0.
      peer_timeout: seconds of silence after which a process counts as lost.
      start_timeout: seconds within which all processes must connect.
    """

    mode: str = "off"
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    peer_timeout: int = 60
    start_timeout: int = 300

    def __post_init__(self):
        errors.lookup(dict.fromkeys(("off", "auto", "explicit")), self.mode, "--distributed")
        silence, start = self.peer_timeout, self.start_timeout
        # JAX's processes send heartbeats every few seconds.
        errors.require(silence >= 10, "--peer_timeout", silence, "10 seconds or more")
        errors.require(start >= 1, "--start_timeout", start, "1 second or more")
        explicit = {
            "--coordinator": self.coordinator,
            "--num_processes": self.num_processes,
            "--process_id": self.process_id,
        }
        missing = [name for name, value in explicit.items() if value is None]
        if self.mode != "explicit":
            if given := [name for name in explicit if name not in missing]:
                raise errors.ConfigError(
                    f"{given[0]} is given; accepted only with --distributed=explicit"
                )
            return
        if missing:
            raise errors.ConfigError(f"--distributed=explicit needs {', '.join(missing)} too")
        assert self.num_processes is not None
        assert self.process_id is not None
        known = range(self.num_processes)
        errors.require(
            self.process_id in known, "--process_id", self.process_id, f"0 to {len(known) - 1}"
        )


def start(launch: Launch) -> None:
    """Join the other processes, if there are any, before anything else uses JAX's devices.

    Side effects: opens JAX's distributed service, which handles SIGTERM as the notice of
    preemption, and aborts this process if another one has died (`supervisor` reports it).

    Raises:
      ConfigError: ``auto`` finds no environment that it knows, or the others cannot be reached.
    """
    if launch.mode == "off":
        return
    try:
        jax.distributed.initialize(
            # All three are None where JAX is to find them out.
            coordinator_address=launch.coordinator,
            num_processes=launch.num_processes,
            process_id=launch.process_id,
            initialization_timeout=launch.start_timeout,
            heartbeat_timeout_seconds=launch.peer_timeout,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        accepted = "--distributed=explicit, or a start by SLURM, Open MPI or on a TPU pod"
        raise errors.ConfigError(
            f"--distributed={launch.mode} could not start: {reason}"
            + (f"; accepted: {accepted}" if launch.mode == "auto" else "")
        ) from error


def leave(error: BaseException, code: int) -> NoReturn:
    """End this process at once with an exit code, and report the error to the others.

    A normal exit would wait for processes which, in the middle of a step, wait for this one; so
    ``atexit`` functions and threads do not run. Process 0 waits some seconds for the others to end:
    JAX aborts them once it has died, and they could no longer report an error of their own.
    """
    for stream in (sys.stdout, sys.stderr):
        # On a full disk, or closed; a stream that was closed from the start is None.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if (client := _client()) is not None:
        # Nothing may keep this process from ending; the service may have died.
        with contextlib.suppress(Exception):
            if not isinstance(error, errors.PeerError):
                reason = " ".join(str(error).split()) or type(error).__name__
                client.key_value_set(f"{_LEFT}{jax.process_index()}", reason)
            client.key_value_set(f"{_ENDING}{jax.process_index()}", "1")
            deadline = time.monotonic() + (_REPORT_SECONDS if jax.process_index() == 0 else 0.0)
            while time.monotonic() < deadline:
                if len(client.key_value_dir_get(_ENDING)) == jax.process_count():
                    break
                time.sleep(0.05)
    os._exit(code)


def who_left() -> dict[int, str]:
    """Return the reasons of the processes that have left by themselves, by their number."""
    if (client := _client()) is None:
        return {}
    with contextlib.suppress(Exception):
        return {
            int(key.rsplit("/", 1)[-1]): reason for key, reason in client.key_value_dir_get(_LEFT)
        }
    return {}


def _client() -> Any:
    """Return JAX's client of the service that all processes share; ``None``: there is none."""
    try:
        # It is not public; without it, the other processes report less.
        from jax._src import distributed

        return distributed.global_state.client
    except (ImportError, AttributeError):
        return None
