"""Replicas, and a state in parts, in two processes of two devices as in one of four."""

import numpy as np
import pytest

from gan_jax.runs import replicas
from tests.experiments import program, several
from tests.experiments.program import succeeded
from tests.experiments.test_distributed import CONFIG, assert_alike

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """WGAN-GP with batch-norm in the generator, by plain SGD."""
    path = tmp_path_factory.mktemp("config") / "mine.py"
    path.write_text(CONFIG)
    return f"--config={path}"


@pytest.mark.parametrize(
    "layout",
    [
        # Over all devices of both, over the two of each, and with a copy in each process.
        ("--config.fsdp.devices=4", "--config.fsdp.min_size=16"),
        ("--config.fsdp.devices=2", "--config.fsdp.min_size=16"),
        # Two devices each, both of one process; and two replicas over all devices of both.
        ("--config.train.replicas=2",),
        ("--config.train.replicas=3",),
    ],
    ids=["fsdp_4", "fsdp_2", "replicas_2", "replicas_3"],
)
def test_two_processes_train_as_one(layout, config, start, run, tmp_path):
    succeeded(run(config, f"--workdir={tmp_path / 'one'}", *layout, devices=4))
    for process in several.start(
        start, 2, config, f"--workdir={tmp_path / 'two'}", *layout, devices=2
    ):
        ended = process.wait()
        assert ended.code == 0, ended.err
    count = int(layout[0].partition("replicas=")[2] or 1)
    pairs = zip(
        replicas.folders(tmp_path / "one", count),
        replicas.folders(tmp_path / "two", count),
        strict=True,
    )
    for one, two in pairs:
        assert_alike(two, one)
    assert program.status(tmp_path / "two")["state"] == "done"

    if "fsdp.devices=4" in layout[0]:  # One device goes on with what several processes have cut.
        succeeded(run(config, f"--workdir={tmp_path / 'two'}", "--config.train.steps=8"))
        assert program.checkpoints(tmp_path / "two")[-1] == 8
        finite = [np.all(np.isfinite(leaf)) for leaf in program.leaves(tmp_path / "two").values()]
        assert all(finite)
