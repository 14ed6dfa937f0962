"""The run that the faults befall, and the boxes that programs are put in."""

import functools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.experiments import program
from tests.experiments.program import POINTS

FLAGS = (*POINTS, "--config.train.log_every=5", "--config.train.checkpoint_every=20")
HALF = (*FLAGS, "--config.train.steps=40")
WHOLE = (*FLAGS, "--config.train.steps=60")


@functools.cache
def can_mount() -> bool:
    """Return whether this user may mount file systems, in a name space of its own."""
    try:
        made = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return made.returncode == 0


def run_in_box(mounts: str, flags: Sequence[str | Path], after: str = "true") -> program.Ended:
    """Run the program where ``mounts``, a shell's commands, have changed the file systems.

    Args:
      mounts: commands of a shell that runs in a mount name space of its own.
      flags: the program's.
      after: commands for when it has ended.
    """
    command = shlex.join([sys.executable, "-m", program.MAIN, *map(str, flags)])
    made = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-ec",
            f"{mounts}\ncode=0; {command} || code=$?\n{after}\nexit $code",
        ],
        cwd=program.REPO,
        env=program.environment(),
        capture_output=True,
        text=True,
        timeout=program.LIMIT,
        check=False,
    )
    return program.Ended(made.returncode, made.stdout, made.stderr)
