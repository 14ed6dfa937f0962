"""Does what a run does on disk, without training; is killed and started again, many times.

``python -m tests.faults.saver <workdir> <kills> <seed>`` forks a child for each life, since a fork
costs a fraction of a start, and prints its findings as JSON. Only the children use JAX.
"""

import json
import os
import random
import re
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import orbax.checkpoint  # noqa: F401  # what takes time, once for all
import tensorboardX  # noqa: F401

from gan_jax.report import atomic, writers
from gan_jax.report.status import Status
from gan_jax.runs.checkpoint import Checkpoints

SILENT_SECONDS = 100


def state_of(step):
    """Return what is saved of a step: half a megabyte that no other step has."""
    rng = np.random.default_rng(step)
    return {"large": rng.normal(size=(256, 256)), "small": np.full(3, step, np.int32)}


def live(workdir, say):
    """Go on from the newest checkpoint, a step and a save at a time, until killed."""
    record = Status(workdir)
    with Checkpoints(workdir / "checkpoints", keep_latest=2) as checkpoints:
        step = 0
        if checkpoints.steps():
            restored = checkpoints.restore(state_of(0))
            step, expected = restored.step, state_of(restored.step)
            if restored.skipped or any(
                expected[name].tobytes() != restored.state[name].tobytes() for name in expected
            ):
                say(f"damaged {step} {restored.skipped}")
        say(f"restored {step}")
        writer = writers.make_writers(workdir, step or None)
        while True:
            step += 1
            writer.scalars(step, {"loss": 1 / step}, kimg=float(step))
            record.write("running", "", step, None)
            atomic.write_bytes(workdir / "samples" / "last.bin", bytes([step % 256]) * 5000)
            checkpoints.save(step, state_of(step), {"step": step})
            say(f"saving {step}")
            if step % 3 == 0:
                checkpoints.wait()
                say(f"saved {step}")


def one_life(workdir, chance):
    """Fork a child, kill it at a random moment, and return what it said.

    One that says nothing for so long that it must hang is killed too, and told as an error.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(workdir, lambda text: os.write(sink, f"{text}\n".encode()))
        except BaseException:
            os.write(sink, f"error {traceback.format_exc()}".encode())
        os._exit(1)
    os.close(sink)
    said = b""
    # Some die while they start, most at some moment of the work.
    if chance.random() < 0.15:
        select.select([source], [], [], chance.uniform(0.0, 0.5))
    else:
        saves = chance.randint(1, 8)
        while said.count(b"saving") < saves:
            if not select.select([source], [], [], SILENT_SECONDS)[0]:
                said += b"error: it hangs\n"
                break
            if not (more := os.read(source, 4096)):
                break
            said += more
        time.sleep(chance.uniform(0.0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(source, 4096):
        said += more
    os.close(source)
    return said.decode()


def check(workdir, last):
    """Return what is wrong with the files that a killed child has left."""
    wrong = []
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    steps = [int(name) for name in names if name.isdecimal()]
    if last and not any(step >= last for step in steps):
        wrong.append(f"step {last} was saved, but there are {sorted(steps)}")
    now = Status(workdir).read()
    if now is None or now["state"] != "running":
        wrong.append(f"status {now}")
    logged = [row["step"] for row in writers.read_rows(workdir / writers.METRICS)]
    if logged != list(range(1, len(logged) + 1)):
        wrong.append(f"metrics of the steps {logged}")
    sample = (workdir / "samples" / "last.bin").read_bytes()
    if len(sample) != 5000 or len(set(sample)) != 1:
        wrong.append("half a sample")
    return wrong


def main(workdir, kills, seed):
    """Start and kill a child ``kills`` times."""
    chance, wrong, inside, last = random.Random(seed), [], 0, 0
    for _ in range(kills):
        said = one_life(workdir, chance)
        for begun in re.findall(r"^restored (\d+)$", said, re.MULTILINE):
            if int(begun) < last:
                wrong.append(f"went on from step {begun}, though step {last} was saved")
        if "damaged" in said or "error" in said:
            wrong.append(said)
        last = max([last, *map(int, re.findall(r"^saved (\d+)$", said, re.MULTILINE))])
        if last:
            wrong += check(workdir, last)
        if (workdir / "checkpoints").exists():
            names = [path.name for path in (workdir / "checkpoints").iterdir()]
            inside += any("tmp" in name for name in names)
        if wrong:
            break
    print(json.dumps({"kills": kills, "inside": inside, "saved": last, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
