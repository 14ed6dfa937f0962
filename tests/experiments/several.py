"""Starting a run of several processes on this machine."""

import socket
from collections.abc import Callable, Mapping, Sequence
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
    """Start ``count`` processes of one run, with so many ``devices`` each.

    Args:
      start_one: the fixture `start`.
      count: processes.
      flags: what all are told.
      each: what each is told beside it.
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
    """Return an address of this machine that nobody listens at, ``host:port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
