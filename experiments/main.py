"""Train a GAN: ``python -m experiments.main --config=configs/wgan_gp.py``. Flags, then one call."""

import datetime
import shutil
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import command_line
from gan_jax import errors
from gan_jax.launch import supervisor

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The run's configuration: NAME, NAME:ARG, FILE or FILE:ARG."
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The run directory; one that holds a run of this configuration is continued. "
    "Default: runs/<config>-<data>-<time>.",
)
_CONTINUE_FROM = flags.DEFINE_string(
    "continue_from",
    None,
    "RUN@STEP or RUN@best: a run that a new one, in another --workdir, continues as --config says.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Build and compile everything, time some train steps, print networks, plan, time and size; "
    "keep nothing.",
)
_VERBOSE = flags.DEFINE_bool(
    "verbose", False, "With --dry_run: every array of parameters, instead of sums over modules."
)
_PREVIEW = flags.DEFINE_string(
    "preview",
    None,
    "With --dry_run: a .png for training examples as networks see them at first: scaled, cropped, "
    "mirrored, augmented. Of pairs there are two files, *_a.png and *_b.png.",
)
_DESCRIBE = flags.DEFINE_bool(
    "describe", False, "Print every field that applies to the run with its meaning; train nothing."
)
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "off",
    "off: one process; auto: SLURM, TPU pods, Open MPI; explicit: with the three flags below.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "explicit: host:port of process 0.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "explicit: processes in all.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "explicit: this process, from 0.")
_START_TIMEOUT = flags.DEFINE_integer(
    "start_timeout", 300, "Seconds in which all processes have to come together."
)
_PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout",
    60,
    "Seconds of silence after which another process counts as gone, and this one ends.",
)


def _default_workdir() -> Path:
    """Return a fresh run directory's path, named after configuration, data and time."""
    config = _CONFIG.value
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    data = Path(config.data.path).stem if config.data.path else config.data.name
    return Path("runs") / f"{config.variant}-{data}-{now}"


def _main() -> None:
    if _CONFIG.value is None:
        raise errors.ConfigError("--config is missing; for example --config=wgan_gp")
    if _DESCRIBE.value:
        from gan_jax.runs import config

        print(config.describe(_CONFIG.value, shutil.get_terminal_size().columns))
        return
    if not _DRY_RUN.value:
        command_line.refuse(["verbose", "preview"], "a run without --dry_run")
    if _PREVIEW.value is not None and Path(_PREVIEW.value).suffix.lower() != ".png":
        raise errors.ConfigError(f"--preview={_PREVIEW.value}; accepted: a file that ends in .png")
    several = _DISTRIBUTED.value != "off"
    if several:
        if not _WORKDIR.value:
            raise errors.ConfigError(
                "--workdir is missing; all processes of a run need the same one"
            )
        # From here on in a child process, made before JAX has threads.
        supervisor.supervise(_WORKDIR.value)
    # Imported late, so that a mistyped flag is reported at once.
    from gan_jax.launch import distributed
    from gan_jax.runs import allocator, compilation_cache, loop, rehearsal

    launch = distributed.Launch(
        _DISTRIBUTED.value,
        _COORDINATOR.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
        _PEER_TIMEOUT.value,
        _START_TIMEOUT.value,
    )
    compilation_cache.enable()
    distributed.start(launch)
    allocator.keep_freed_memory()
    workdir = _WORKDIR.value or _default_workdir()
    dry_run = None
    if _DRY_RUN.value:
        preview = Path(_PREVIEW.value) if _PREVIEW.value else None
        dry_run = rehearsal.DryRun(_VERBOSE.value, preview)
    try:
        result = loop.train(
            _CONFIG.value, workdir, dry_run=dry_run, continue_from=_CONTINUE_FROM.value
        )
    except BaseException as error:
        if not several:
            raise
        distributed.leave(error, command_line.report(error))
    if result.primary:
        place = f": {result.workdir}" if result.workdir else ""
        why = f"; {result.reason}" if result.state == "done" and result.reason else ""
        print(f"{result.state} at step {result.step}{place}{why}")


if __name__ == "__main__":
    command_line.run(_main)
