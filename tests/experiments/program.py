"""Running the programs: in another process, as from a shell, or quickly in this one."""

import contextlib
import dataclasses
import io
import json
import logging
import math
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest
from absl import app, flags
from absl.testing import flagsaver

from gan_jax.report import writers
from gan_jax.runs.run import open_run

REPO = Path(__file__).parents[2]
MAIN, SAMPLE = "experiments.main", "experiments.sample"
# A start takes some seconds; the machine may be busy with more than this test.
LIMIT = 150.0

# MLPs on points of the plane: the configuration that compiles fastest. With one device, so that it
# is the same run in a process of its own and in this one; with constant rates it can be lengthened.
POINTS = (
    "--config=configs/gan.py:smoke",
    "--config.data.name=ring",
    "--config.data.toy_size=512",
    "--config.train.batch_size=16",
    "--config.sample.num=1",
    "--config.train.sample_every=100000",
    "--config.num_devices=1",
    "--config.optimizer.generator.schedule.name=constant",
    "--config.optimizer.discriminator.schedule.name=constant",
    "--config.optimizer.encoder.schedule.name=constant",
)

# Linux has a device that is always full; macOS has none.
FULL = "/dev/full"
has_full = pytest.mark.skipif(not Path(FULL).exists(), reason=f"this system has no {FULL}")


@dataclasses.dataclass(frozen=True)
class Ended:
    """What is left of a program: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Program:
    """A program that is running. Whoever starts it ends it (see the fixture `start`)."""

    def __init__(
        self,
        folder: Path,
        *args: str | Path,
        module: str = MAIN,
        cwd: Path = REPO,
        devices: int = 1,
        **variables: str | None,
    ) -> None:
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        command = [sys.executable, "-m", module, *map(str, args)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(devices, **variables),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait_for(self, pattern: str, limit: float = LIMIT) -> bool:
        """Wait until its output matches; return whether it did before the program ended."""
        deadline = time.monotonic() + limit
        while not re.search(pattern, self._out.read_text()):
            if self.ended:
                return re.search(pattern, self._out.read_text()) is not None
            assert time.monotonic() < deadline, f"no {pattern!r} in {self._out.read_text()!r}"
            time.sleep(0.01)
        return True

    def signal(self, number: int) -> None:
        """Send it, and not the children it may have, a signal."""
        self.process.send_signal(number)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Wait for its end."""
        code = self.process.wait(limit)
        return Ended(code, self._out.read_text(), self._err.read_text())

    def kill(self) -> None:
        """End it and its children, if they are still there."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(LIMIT)


def environment(devices: int = 1, **variables: str | None) -> dict[str, str]:
    """Return a shell's environment: that of the tests without what their set-up has added."""
    changed = {
        "PYTHONPATH": str(REPO),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": re.sub(r"(device_count=)\d+", rf"\g<1>{devices}", os.environ["XLA_FLAGS"]),
        **variables,
    }
    merged = {**os.environ, **changed}
    return {name: value for name, value in merged.items() if value is not None}


def run(folder: Path, *args: str | Path, **options: Any) -> Ended:
    """Run a program to its end."""
    program = Program(folder, *args, **options)
    try:
        return program.wait()
    finally:
        program.kill()


@contextlib.contextmanager
def _flags_restored(module: str) -> Iterator[None]:
    """Restore absl's flags at the end, but keep those of other modules imported meanwhile."""
    saved, imported = flagsaver.save_flag_values(), {module, *sys.modules}
    try:
        yield
    finally:
        definers = {name: flags.FLAGS.find_module_defining_flag(name) for name in flags.FLAGS}
        kept = [
            name
            for name, definer in definers.items()
            if name not in saved and definer in sys.modules and definer not in imported
        ]
        for name in kept:
            flags.FLAGS[name].unparse()
        ended = flagsaver.save_flag_values()
        flagsaver.restore_flag_values({**saved, **{name: ended[name] for name in kept}})


def call(*args: str | Path, module: str = MAIN, cwd: Path = REPO) -> Ended:
    """Run a program in this process, seconds faster than in its own.

    The process's devices, logging handlers and signal handlers are those of the tests. Flags that
    the program itself defines are removed again, but not those of modules that it is the first to
    import, such as Grain: they stay imported.
    """
    app.define_help_flags()  # Once per process, so before the flags are saved.
    out, err, level = io.StringIO(), io.StringIO(), logging.getLogger("gan_jax").level
    sys.modules.pop(module, None)  # `runpy` warns of a module that is imported already.
    with (
        _flags_restored(module),
        mock.patch.object(sys, "argv", [module, *map(str, args)]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # As outside of tests.
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            code = 0
        finally:
            logging.getLogger("gan_jax").setLevel(level)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def limited(kind: int, size: int) -> Iterator[None]:
    """Limit what this process may use: `resource.RLIMIT_FSIZE` is the size of a file in bytes.

    Nothing is written to JAX's cache, where an entry might be cut off.
    """
    soft, hard = resource.getrlimit(kind)
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    with mock.patch.dict(os.environ, JAX_COMPILATION_CACHE_DIR="set by the test"):
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)
        resource.setrlimit(kind, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(kind, (soft, hard))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)


def succeeded(ended: Ended) -> Ended:
    """Return ``ended``, of a program that did its work and complained of nothing."""
    assert (ended.code, ended.err) == (0, ""), ended
    return ended


def complaint(ended: Ended) -> str:
    """Return the one line of a program that the user has given something wrong."""
    lines = ended.err.splitlines()
    assert ended.code == 1, ended
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def status(workdir: Path) -> dict[str, Any]:
    """Return what ``status.json`` says."""
    return json.loads((workdir / "status.json").read_text())


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.jsonl``."""
    return writers.read_rows(workdir / writers.METRICS)


def checkpoints(workdir: Path) -> list[int]:
    """Return the steps of which there is a whole checkpoint."""
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def leaves(workdir: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """Return every leaf of a run's newest state by name."""
    state = open_run(workdir).state(step)
    state = state.replace(key=jax.random.key_data(state.key))
    return {
        jax.tree_util.keystr(name): np.asarray(leaf)
        for name, leaf in jax.tree.leaves_with_path(state)
    }


def assert_same_run(a: Path, b: Path) -> None:
    """Assert that two runs ended in the same state, bit for bit, and logged the same numbers."""
    one, other = leaves(a), leaves(b)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []
    assert metrics(a) == metrics(b)


def files(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
