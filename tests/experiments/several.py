"""Starting a run of several processes on this machine."""

import contextlib
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.experiments.program import Program


def start(
    start_one: Callable[..., Program],
    count: int,
    *flags: str | Path,
    each: Sequence[Sequence[str | Path]] | None = None,
    options: Mapping[int, Mapping[str, Any]] | None = None,
    devices: int = 1,
) -> list[Program]:
    """Start ``count`` processes of one run, with ``devices`` devices each.

    Args:
      start_one: the fixture `start`.
      count: processes.
      flags: of all processes.
      each: further flags, by process.
      options: of `Program`, for some of them by number.
      devices: of each process.
    """
    address = free_address()
    return [
        start_one(
            *flags,
            *(each[i] if each else ()),
            "--distributed=explicit",
            f"--coordinator={address}",
            f"--num_processes={count}",
            f"--process_id={i}",
            devices=devices,
            **(options or {}).get(i, {}),
        )
        for i in range(count)
    ]


def free_address() -> str:
    """Return an address of this machine that is not in use, ``host:port``."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return f"127.0.0.1:{port}"
    raise AssertionError("no port is free")


def _ports() -> Iterator[int]:
    """Yield ports in random order, none twice, and none that is also another worker's of xdist.

    They are below those that systems give to whoever asks for any: between the look at a port and
    its use by the program, no other program takes it.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = range(20000 + worker, 32000, workers)
    # Another session of tests on this machine draws others.
    yield from random.SystemRandom().sample(own, len(own))


_PORTS = _ports()
