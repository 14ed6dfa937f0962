"""JAX's own errors explained to the user of a run: too little memory, lost processes."""

import re
from collections.abc import Iterator
from typing import Any

from gan_jax import errors
from gan_jax.launch import distributed, peers

# What XLA, cuDNN and NCCL say where a device has too little memory; TPUs while they compile.
_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|out of memory|OUT_OF_MEMORY|ran out of memory|failed to allocate"
    r"|CUDNN_STATUS_ALLOC_FAILED|bad_alloc",
    re.IGNORECASE,
)
# The size that was requested; the first is of XLA's own allocator.
_ASKED = (
    re.compile(r"allocat\w* (\d+) bytes"),
    re.compile(r"allocate request for \S+ \((\d+)B\)"),
    re.compile(r"Used (\d+(?:\.\d+)?[KMGT]) of \d+(?:\.\d+)?[KMGT] hbm"),
)
# What Gloo (CPU), NCCL (GPU) and JAX's coordination service say if another process has died.
_PEER = re.compile(
    r"gloo.*(closed by peer|reset by peer|broken pipe|timed out|timeout)"
    r"|nccl.*(remote process exited|remote error|system error|connection closed)"
    r"|heartbeat timeout|stopped sending heartbeats|tasks are unhealthy"
    r"|coordination service.*(leader|socket closed|connection reset)"
    r"|(leader|socket closed).*coordination.?service",
    re.IGNORECASE | re.DOTALL,
)


def explain(error: BaseException, config: Any, devices: int) -> errors.GanJaxError | None:
    """Return an error that explains ``error`` in one line; ``None``: it needs no explanation.

    ``devices`` is the number over which the batch of a run, or of each replica, is split.
    """
    for cause in _chain(error):
        text = str(cause)
        if isinstance(cause, errors.PeerError | errors.DeviceMemoryError):
            return None if cause is error else cause
        if isinstance(cause, errors.GanJaxError):
            continue
        if isinstance(cause, MemoryError):
            return errors.DeviceMemoryError(
                f"this machine has too little memory ({_first_line(text) or 'none was left'}); "
                f"{_batch(config, devices)}; {_data_advice(config)}"
            )
        if isinstance(cause, RuntimeError | ValueError) and _PEER.search(text):
            return errors.PeerError(peers.gone(distributed.who_left() or peers.missing(text)))
        if _is_of_xla(cause) and _MEMORY.search(text):
            return errors.DeviceMemoryError(_out_of_memory(text, config, devices))
    return None


def _out_of_memory(text: str, config: Any, devices: int) -> str:
    """Return the message that a device's memory does not suffice."""
    asked = next((found[1] for pattern in _ASKED if (found := pattern.search(text))), None)
    if asked is not None:
        size = _format_bytes(int(asked)) if asked.isdecimal() else f"{asked}iB in all"
        asked = f" ({size} asked for)"
    return (
        f"out of device memory{asked or ''}: {_batch(config, devices)}; {_batch_advice(config)}; "
        f"{_data_advice(config)}"
    )


def _batch(config: Any, devices: int) -> str:
    """Return what batch the devices were given."""
    total, parts = config.train.batch_size, config.train.accumulate
    split = f", taken in {parts} parts" if parts > 1 else ""
    where = f"{total // devices} on each of {devices} devices" if devices > 1 else "on one device"
    return f"train.batch_size = {total} is {where}{split}"


def _batch_advice(config: Any) -> str:
    """Return what can be changed, the first that which leaves the results as they are."""
    parts = config.train.accumulate
    advice = [f"train.accumulate = {2 * parts}", "a smaller train.batch_size"]
    if config.precision != "bfloat16":
        advice.append('precision = "bfloat16"')
    return f"try {', '.join(advice)}, or more devices"


def _data_advice(config: Any) -> str:
    """Return what can be changed if the data set is what fills the memory."""
    if config.data.device_cache_gib > 0:
        return "data.device_cache_gib = 0 keeps the data set out of it"
    return "data.prefetch and data.workers bound what is read ahead"


def _format_bytes(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{count} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def _is_of_xla(error: BaseException) -> bool:
    """Return whether XLA raised it: others call a full disk an exhausted resource."""
    return any(
        kind.__name__ in ("JaxRuntimeError", "XlaRuntimeError") for kind in type(error).__mro__
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised for, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else ""
