"""The logs of a run cannot grow."""

import resource

import pytest

from tests.experiments import program
from tests.experiments.program import POINTS, call, complaint


@pytest.mark.slow
def test_metrics_that_there_is_no_room_for_are_reported_in_one_line(tmp_path):
    workdir = tmp_path / "run"
    flags = (
        *POINTS,
        "--config.train.log_every=1",
        "--config.train.steps=100000",
        "--config.train.checkpoint_every=100000",
        f"--workdir={workdir}",
    )
    with program.limited(resource.RLIMIT_FSIZE, 40_000):
        message = complaint(call(*flags))
    assert message == f"Cannot write {workdir / 'metrics.jsonl'}: File too large"
    now = program.status(workdir)
    assert (now["state"], now["reason"]) == ("failed", message)
    # Whole rows, and as many as there was room for.
    size = (workdir / "metrics.jsonl").stat().st_size
    steps = [row["step"] for row in program.metrics(workdir)]
    assert steps == list(range(1, len(steps) + 1))
    assert 40_000 - 2 * size / len(steps) < size < 40_000
