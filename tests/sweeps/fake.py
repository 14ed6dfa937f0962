"""A stand-in for `experiments.main` that starts in a tenth of a second: same files, no training.

What it does is set by ``--config.mode``; every start leaves a line in ``<workdir>/starts``.
"""

import math
import os
import signal
import sys
import time
from pathlib import Path

from gan_jax.report import evaluations, lock, status


def main(arguments: list[str]) -> int:
    """Play a run to its end; return the exit code."""
    flags = dict(argument[2:].split("=", 1) for argument in arguments)
    run = Path(flags["workdir"])
    mode = flags.get("config.mode", "good")
    steps = int(flags.get("config.train.steps", 4))
    rate = float(flags.get("config.rate", 1.0))
    seed = int(flags.get("config.train.seed", 0))
    pause = float(flags.get("config.pause", 0.02))
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while not asked and time.monotonic() < until:
            time.sleep(0.02)

    run.mkdir(parents=True, exist_ok=True)
    first = not (run / "starts").exists()
    with (run / "starts").open("a") as file:
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        share = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
        file.write(f"{os.environ.get('JAX_PLATFORMS')}:{devices}:{share}\n")
    if mode == "refused":
        print("error: loss.name = 'x' is unknown", file=sys.stderr)
        return 1
    try:
        _held = lock.acquire(run)
    except lock.InUseError:
        print(f"error: --workdir={run} is in use by another", file=sys.stderr)
        return 1

    record = status.Status(run)
    saved = run / "step"
    begun = step = int(saved.read_text()) if saved.exists() else 0
    record.write("running", "starting", step, steps)
    while step < steps:
        # A slow one takes a step, and then as long as the test says for each.
        slow = mode == "slow" and step > begun
        wait(float(os.environ.get("PAUSE", 0)) if slow else pause)
        if asked:
            break
        step += 1
        # Best where the rate is 0.01; better with every step.
        value = abs(math.log10(rate) + 2) + 1 / step + 0.1 * seed
        row = {"step": step, "fid": value, "is": 10 - value, "protocol": {"n_fake": 8}}
        evaluations.append(run / evaluations.EVALUATIONS, row)
        saved.write_text(str(step))
        record.write("running", "", step, steps)
        if step >= 2 and (mode == "fails" or (mode == "fails_once" and first)):
            record.write("failed", "the disk is full", step, steps)
            return 1
        if step == 2 and mode == "killed_once" and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 2 and mode == "worker_killed_once" and first:
            os.kill(os.getppid(), signal.SIGKILL)
            wait(60)  # It is asked to stop once its parent has ended.
        if step == 2 and mode == "diverges":
            record.write("diverged", "the loss is not finite", step, steps)
            print("error: the loss is not finite", file=sys.stderr)
            return 1
    if asked:
        time.sleep(float(flags.get("config.saving", 0.2)))
        record.write("preempted", "SIGTERM", step, steps)
    else:
        record.write("done", "", step, steps)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
