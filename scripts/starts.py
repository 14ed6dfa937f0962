"""Starts of training programs, timed from the outside up to their first train step."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_jax import errors

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
# What JAX logs of every program with JAX_LOG_COMPILES, and the phase of each.
PHASES = {
    "tracing s": re.compile(r"Finished tracing \S+ for jit in (\S+) sec"),
    "lowering s": re.compile(r"Finished jaxpr to MLIR module conversion \S+ in (\S+) sec"),
    "compiling or reading s": re.compile(r"Finished XLA compilation of \S+ in (\S+) sec"),
}
_FIRST_STEP = re.compile(r"step +[1-9][\d,]*/")


def start_rows(name: str, repeats: int, *, filled_only: bool) -> list[Row]:
    """Return rows of a configuration's starts with an empty cache directory, and with a filled one.

    Args:
      name: ``FILE`` or ``FILE:DATA``, of the folder ``configs/``.
      repeats: starts with a filled cache, of which the medians are returned.
      filled_only: use the user's cache directory, which an unmeasured start fills, instead of one
        that is empty at first.

    Raises:
      ConfigError: the program ends before its first step.
    """
    file, _, choices = name.partition(":")
    config = f"--config=configs/{file}.py{':' * bool(choices)}{choices}"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JAX_LOG_COMPILES": "1"}
        if not filled_only:
            environment["GAN_JAX_CACHE"] = f"{folder}/cache"
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        found = []
        for i in range(1 + repeats):
            program = ["experiments.main", config, f"--workdir={folder}/{i}"]
            found.append(time_start(program, environment))
    first, *others = found
    filled = {key: statistics.median(row[key] for row in others) for key in others[0]}
    rows = [("filled", filled)] if filled_only else [("empty", first), ("filled", filled)]
    return [{"config": name, "cache": cache, **row} for cache, row in rows]


def time_start(program: Sequence[str], environment: dict[str, str]) -> Row:
    """Run a module of this project up to its first train step, and return its seconds.

    Programs are compiled, or read from the cache, while others are traced: the phases overlap.

    Args:
      program: the module and its arguments.
      environment: its environment variables, in which JAX is to log what it compiles.

    Raises:
      ConfigError: it ends before its first step.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    phases, before, line = dict.fromkeys(PHASES, 0.0), None, ""
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            seconds = time.monotonic() - started
            if _FIRST_STEP.match(line):
                break
            for phase, pattern in PHASES.items():
                if match := pattern.search(line):
                    phases[phase] += float(match[1])
                    before = seconds - float(match[1]) if before is None else before
        else:
            raise errors.ConfigError(f"{' '.join(program)} took no step: {line.strip()}")
        process.kill()
        # Before `Popen` waits for it: processor time is known of ended children.
        _, _, usage = os.wait4(process.pid, 0)
    return {
        "s to the first step": seconds,
        "before tracing s": before,
        **phases,
        "CPU s": usage.ru_utime + usage.ru_stime,
    }
