"""Orbax, with its own log quieted, and its errors in one line."""

import errno
import functools
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from absl import logging as absl_logging

from gan_jax.report import atomic

# Names Orbax, TensorStore or their files in a log record of a task or a future.
_OF_A_CHECKPOINT = re.compile(r"[/\\]orbax[/\\]|\.orbax-checkpoint-tmp|tensorstore|OCDBT")
# A read that fails with one of these says nothing about the files: it may succeed later.
_PASSING = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EIO,
    )
)


_FOREVER_SECONDS = 100 * 365 * 86400


@functools.cache
def orbax() -> Any:
    """Import Orbax, which takes a third of a second, and quiet its log.

    Its failures reach the user as ``CheckpointError``, in one line and once. Side effects, for the
    whole process: Orbax's records are dropped from absl's log unless absl's verbosity is DEBUG
    (``--verbosity=1``). If several reads or writes fail at once, Orbax raises the first and closes
    its event loop, at which the others fail: ``sys.unraisablehook`` and ``asyncio``'s log ignore
    these.
    """
    import orbax.checkpoint as ocp

    def is_wanted(record: logging.LogRecord) -> bool:
        from_orbax = "/orbax/" in record.pathname.replace("\\", "/")
        return not from_orbax or absl_logging.get_verbosity() >= absl_logging.DEBUG

    def is_news(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "never retrieved" not in message or not _OF_A_CHECKPOINT.search(message)

    absl_logging.get_absl_logger().addFilter(is_wanted)
    logging.getLogger("asyncio").addFilter(is_news)
    report = sys.unraisablehook

    def report_others(event: Any) -> None:
        late = isinstance(event.exc_value, RuntimeError) and event.object is None
        if not (late and str(event.exc_value) == "Event loop is closed"):
            report(event)

    sys.unraisablehook = report_others
    return ocp


class KeptStep:
    """The preservation policy that keeps one given step; Orbax evaluates it at every save."""

    step: int | None = None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        """Return, for each checkpoint, whether it is that step's."""
        del context
        return [checkpoint.step == self.step for checkpoint in checkpoints]


def make_manager(directory: Path, kept: KeptStep, latest: int, every: int | None) -> Any:
    """Return Orbax's manager of a directory of checkpoints.

    Args:
      directory: the existing directory.
      kept: a step that is kept.
      latest: number of the newest checkpoints that are kept too.
      every: steps that this divides are kept as well; ``None``: there are none.
    """
    ocp = orbax()
    policies: list[Any] = [ocp.checkpoint_managers.LatestN(latest), kept]
    if every is not None:
        policies.append(ocp.checkpoint_managers.EveryNSteps(every))
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(policies),
        save_root_metadata=False,
        # Orbax's record of each step is not used here, and may be what is damaged.
        lightweight_initialize=True,
        # A limit would be reached by a slow disk, or a clock that is set. A process that waits for
        # one that has died is ended by JAX's heartbeats.
        async_options=ocp.AsyncOptions(timeout_secs=_FOREVER_SECONDS),
    )
    return ocp.CheckpointManager(directory, options=options)


def remove_interrupted(directory: Path) -> None:
    """Remove the temporary directories of interrupted or failed saves.

    After a failed save some of TensorStore's writers may still be running, and there is no way to
    wait for them. Their files are removed until they are done, because the next save of that step
    uses the same temporary name.
    """
    pattern = "*.orbax-checkpoint-tmp*"
    deadline = time.monotonic() + 5
    while lefts := list(directory.glob(pattern)):
        for left in lefts:
            shutil.rmtree(left, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.1)


def reason_of(error: BaseException) -> str:
    """Return an error in one line, without the internals of TensorStore's messages."""
    if isinstance(error, OSError) and error.strerror:
        return atomic.reason(error)
    text = " ".join(str(error).split())
    if not text or isinstance(error, LookupError | TypeError | AttributeError):
        text = f"{type(error).__name__}: {text}"
    if (code := system_code(text)) is not None:
        return atomic.reason(OSError(code, os.strerror(code)))
    text = re.sub(r"\s*\[(source locations|tensorstore_spec)=.*", "", text)
    # The cause comes last.
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-195:]}"


def system_code(text: str) -> int | None:
    """Return the ``errno`` in the text of a TensorStore error."""
    code = re.search(r"os_error_code='(\d+)'", text)
    return int(code[1]) if code else None


def is_passing(error: BaseException) -> bool:
    """Return whether a failed read says nothing about the files."""
    if isinstance(error, MemoryError):
        return True
    code = error.errno if isinstance(error, OSError) else system_code(str(error))
    if code in _PASSING:
        return True
    return error.__cause__ is not None and is_passing(error.__cause__)
