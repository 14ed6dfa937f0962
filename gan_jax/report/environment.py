"""``environment.json``: machine, devices and package versions at every start of a run."""

import datetime
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import gan_jax
from gan_jax import installation
from gan_jax.report import atomic

logger = logging.getLogger(__name__)

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def describe(workdir: str | Path, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the information needed to repeat a run, serializable as JSON.

    Side effect: initializes JAX's backend. ``argv`` is by default that of this process.
    """
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "gan_jax": gan_jax.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "backend": jax.default_backend(),
        "devices": dict(Counter(device.device_kind for device in jax.devices())),
        "processes": jax.process_count(),
        "argv": installation.command_line() if argv is None else list(argv),
        "workdir": str(workdir),
    }


def record(workdir: str | Path, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Append ``describe(workdir, argv)`` to ``<workdir>/environment.json``, and return it.

    Raises:
      WorkdirError: the file cannot be written.
    """
    path = Path(workdir) / "environment.json"
    entry = describe(workdir, argv)
    atomic.write_text(path, json.dumps([*_entries(path), entry], indent=2) + "\n")
    return entry


def _entries(path: Path) -> list[Any]:
    """Return the entries of earlier starts; a damaged file is replaced with a warning."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        entries = None
    if not isinstance(entries, list):
        logger.warning("%s is not a list of environments and is replaced.", path)
        return []
    return entries


def _version(package: str) -> str | None:
    """Return the installed version of a package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout that this code runs from; "+" marks local changes."""
    root = Path(gan_jax.__file__).parent.parent
    # An installed copy may be inside the checkout of another project.
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 10}
    try:
        return subprocess.run(command, cwd=root, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
