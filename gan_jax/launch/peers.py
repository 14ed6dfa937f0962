"""Which other processes of a run have died, and the messages about it."""

import re
from collections.abc import Mapping, Sequence

# How JAX's coordination service names the processes that it misses, and the one that held it.
_UNHEALTHY = re.compile(r"stopped sending heartbeats\):?\s*((?:\d+[\s,]*)+)")
_TASK = re.compile(r"Task (\d+) heartbeat timeout")
_LEADER = re.compile(r"leader task was preempted|Failed to send RPC to coordination service")
# A process that did not meet the others, or cannot reach the coordinator.
_NEVER_MET = "RegisterTask"


def have_met(text: str) -> bool:
    """Return whether the process that JAX has ended, with ``text`` in its log, met the others."""
    return _NEVER_MET not in text


def missing(text: str) -> dict[int, str]:
    """Return the processes that JAX's log, or an error, reports as lost, with empty reasons."""
    found = {int(i) for ids in _UNHEALTHY.findall(text) for i in re.findall(r"\d+", ids)}
    found |= {int(i) for i in _TASK.findall(text)}
    # A process that cannot reach the service knows no more than that.
    if not found and _LEADER.search(text):
        found = {0}
    return dict.fromkeys(sorted(found), "")


def gone(reasons: Mapping[int, str], steps: Sequence[int] | None = None) -> str:
    """Return the message that other processes are gone, and what to do.

    Args:
      reasons: why, by the number of the process; an empty one where it is not known.
      steps: of the checkpoints, ascending; ``None`` where they are not known.
    """
    parts = [
        f"process {i} has failed: {why.rstrip('.')}" for i, why in sorted(reasons.items()) if why
    ]
    silent = [str(i) for i, why in sorted(reasons.items()) if not why]
    if silent or not parts:
        if len(silent) > 1:
            subject = f"processes {', '.join(silent)} are gone"
        else:
            subject = f"process {silent[0]} is gone" if silent else "another process is gone"
        parts.append(f"{subject} (killed, cut off, or ended by an error that it reported itself)")
    if steps is None:
        place = "its newest checkpoint"
    else:
        place = f"step {steps[-1]}" if steps else "the start, for it has no checkpoint yet"
    return (
        f"{'; '.join(parts)}. This process is well: the same command, on as many processes or on "
        f"another number, goes on from {place}"
    )


def never_met() -> str:
    """Return the message that not all processes came together, and what to look at."""
    return (
        "not all processes of this run came together within --start_timeout: see that all are "
        "started, with the same --coordinator and --num_processes, and that its port on the host "
        "of process 0 can be reached from the others"
    )
