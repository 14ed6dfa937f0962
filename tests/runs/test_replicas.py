"""Replicas in one program are the runs of their seeds."""

import json
import re
import shutil

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.evaluation import best
from gan_jax.report import evaluations
from gan_jax.runs import build, loop, pictures, plan, recording, replicas
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run import open_run
from gan_jax.runs.run_directory import flat
from gan_jax.training import replication
from tests.experiments import program
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")

# One compiled step does the sums of several: float32 rounding, grown over the steps.
TOLERANCE = {"rtol": 5e-4, "atol": 5e-5}


def make(make_config, count, **fields):
    config = tiny.sgd(make_config())
    config.train.replicas = count
    config.train.update(fields)
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_config", "count", "devices"),
    [
        # a replica's batch over all devices
        pytest.param(tiny.point_config, 3, 4, marks=pytest.mark.exhaustive),
        pytest.param(tiny.point_config, 4, 2, marks=pytest.mark.exhaustive),  # two on each device
        (tiny.penalized_config, 2, 4),  # two devices each
    ],
)
def test_each_replica_is_the_run_of_its_seed(make_config, count, devices):
    rates = tuple(1 + 0.1 * i / count for i in range(count))
    config = make(make_config, count, replica_learning_rates=rates)
    config.num_devices = devices
    if config.penalty.name != "none":
        config.train.replica_penalty_weights = tuple(1.0 + i for i in range(count))
    training = build.make_training(config, tiny.spec(config))
    mapped, state = training.parallel, training.init_state()
    chex.assert_trees_all_equal_shapes_and_dtypes(state, training.abstract_state)
    data = tiny.data(config)
    resident = mapped.put_replicated(data)

    def index(step, replica):
        return tiny.index_batch(config, training, 100 * step + replica)["index"]

    for step in range(3):
        batch = {"index": np.stack([index(step, i) for i in range(count)], axis=1)}
        state, _ = mapped(state, resident, mapped.put_batch(batch))
    last = count - 1
    own = build.make_training(replicas.configs(config)[last], tiny.spec(config))
    alone = own.init_state()
    for step in range(3):
        batch = own.parallel.put_batch({"index": index(step, last)})
        alone, _ = own.parallel(alone, own.parallel.put_replicated(data), batch)
    member = training.replication.member(state, last)
    chex.assert_trees_all_close(tiny.host(member), tiny.host(alone), **TOLERANCE)
    chex.assert_trees_all_equal_shapes_and_dtypes(member, training.abstract_member)

    # What pictures need of it, from a copy on the host.
    kept = training.replication.member(pictures.kept(state, mapped), last)
    assert isinstance(kept.step, np.ndarray)
    for name, network in kept.networks.items():
        chex.assert_trees_all_equal(
            (network.variables, network.averaged),
            jax.device_get((member.networks[name].variables, member.networks[name].averaged)),
        )

    members = [replication.on_host(training.replication.member(state, i)) for i in range(count)]
    again = training.replication.stack(members, training.settings)
    chex.assert_trees_all_equal(tiny.host(again), tiny.host(state))
    for leaf, abstract in zip(
        jax.tree.leaves(again), jax.tree.leaves(training.abstract_state), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(abstract.sharding, leaf.ndim)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replicas": 0}, "train.replicas = 0; accepted: 1 or more"),
        (
            {"replica_learning_rates": (1.0, 2.0, 3.0)},
            "train.replica_learning_rates has 3 numbers; accepted: none, or one for each of "
            "train.replicas = 2, which must be above 1",
        ),
        (
            {"replica_learning_rates": (1.0, 0.0)},
            "train.replica_learning_rates has 0.0; accepted: numbers above 0",
        ),
        (
            {"replica_learning_rates": (1.0, "2")},
            "train.replica_learning_rates has '2'; accepted: numbers above 0",
        ),
        (
            {"replica_penalty_weights": (1.0, 2.0)},
            "train.replica_penalty_weights is given with penalty.name = 'none'; accepted: ()",
        ),
    ],
)
def test_what_cannot_be_replicated_is_refused(fields, message):
    with pytest.raises(errors.ConfigError) as error:
        build.make_training(make(tiny.point_config, 2, **fields), specs.points())
    assert str(error.value) == message


def test_pmap_is_refused():
    config = make(tiny.point_config, 2)
    config.parallel = "pmap"
    with pytest.raises(errors.ConfigError, match=r"'pmap' with train\.replicas = 2"):
        build.make_training(config, specs.points())


def run_config(count, **fields):
    config = make(tiny.point_config, count)
    config.train.update(
        {"steps": 8, "log_every": 2, "sample_every": 8, "checkpoint_every": 4, **fields}
    )
    config.eval.update(every=4, num_fake=64, num_real=None)
    config.sample.num = 1
    config.num_devices = 1
    return config


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A finished run of three replicas."""
    workdir = tmp_path_factory.mktemp("three") / "run"
    loop.train(run_config(3), workdir)
    return workdir


@pytest.mark.slow
def test_each_leaves_an_ordinary_run_directory(three, tmp_path, capsys):
    config = run_config(1)
    config.train.seed = 2
    loop.train(config, tmp_path / "alone")
    own, alone = three / "replica_2", tmp_path / "alone"
    assert flat(open_run(own).config) == flat(open_run(alone).config)
    assert program.checkpoints(own) == program.checkpoints(alone) == [4, 8]
    one, other = program.leaves(own), program.leaves(alone)
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, other[name], err_msg=name, **TOLERANCE)
    for row, another in zip(program.metrics(own), program.metrics(alone), strict=True):
        assert row == pytest.approx(another, rel=1e-3, abs=1e-5)
    rows, others = (evaluations.read(path / "eval.jsonl") for path in (own, alone))
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [4, 8]
    assert [row["protocol"] for row in rows] == [row["protocol"] for row in others]
    assert best.read(own).metric == best.read(alone).metric
    drawn = [sorted((path / "samples").iterdir()) for path in (own, alone)]
    assert [path.name for path in drawn[0]] == ["00000000.png", "00000008.png"]
    # Before the first step they are of one state, and so of one set of latents.
    np.testing.assert_array_equal(*(np.asarray(Image.open(paths[0])) for paths in drawn))
    assert program.status(own)["state"] == program.status(three)["state"] == "done"


def test_the_whole_has_no_weights_of_its_own(three):
    with pytest.raises(errors.WorkdirError, match=r"holds 3 replicas; accepted: .*replica_0"):
        open_run(three)


@pytest.mark.slow
def test_interrupted_is_uninterrupted_even_between_two_saves(three, tmp_path):
    workdir = shutil.copytree(three, tmp_path / "run")
    # A kill has hit between the saves of step 8: the first replica is ahead.
    for i in (1, 2):
        shutil.rmtree(workdir / f"replica_{i}" / "checkpoints" / "8")
    loop.train(run_config(3), workdir)
    for i in range(3):
        program.assert_same_run(workdir / f"replica_{i}", three / f"replica_{i}")


@pytest.mark.slow
def test_stopped_between_two_log_steps_is_uninterrupted(three, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    tiny.stop_at(monkeypatch, 5)
    assert loop.train(run_config(3), workdir).step == 5
    tiny.stop_at(monkeypatch, None)
    loop.train(run_config(3), workdir)
    for i in range(3):
        program.assert_same_run(workdir / f"replica_{i}", three / f"replica_{i}")


@pytest.mark.slow
def test_a_damaged_checkpoint_of_one_takes_all_back(three, tmp_path, caplog):
    workdir = shutil.copytree(three, tmp_path / "run")
    (workdir / "replica_1" / "checkpoints" / "8" / "meta" / "metadata").write_text("{")
    loop.train(run_config(3), workdir)
    assert "is damaged" in caplog.text
    assert (workdir / "replica_1" / "checkpoints" / "8.damaged-1").exists()
    for i in range(3):
        assert program.checkpoints(workdir / f"replica_{i}") == [4, 8]
        program.assert_same_run(workdir / f"replica_{i}", three / f"replica_{i}")


@pytest.mark.slow
def test_a_failed_save_of_one_costs_no_other_its_last_step_in_common(tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    config = run_config(3, steps=16, keep_latest=1)
    config.eval.every = 0
    wait, failed = Checkpoints.wait, []

    def failing(checkpoints):
        wait(checkpoints)
        done = checkpoints.directory / "8"
        if checkpoints.directory.parent.name == "replica_1" and done.exists() and not failed:
            failed.append(done)
            shutil.rmtree(done)
            raise errors.CheckpointError("Could not save step 8")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "wait", failing)
        with pytest.raises(errors.CheckpointError, match="Could not save step 8"):
            loop.train(config, workdir)
    assert failed
    each = [set(program.checkpoints(workdir / f"replica_{i}")) for i in range(3)]
    assert set.intersection(*each)
    loop.train(config, workdir)
    assert [program.checkpoints(workdir / f"replica_{i}")[-1] for i in range(3)] == [16] * 3


@pytest.mark.slow
def test_one_that_diverges_between_logs_is_not_measured_and_costs_the_others_nothing(tmp_path):
    workdir = tmp_path / "run"
    rates = (1.0, 1e30)
    loop.train(run_config(2, replica_learning_rates=rates, log_every=8), workdir)
    states = [program.status(workdir / f"replica_{i}")["state"] for i in range(2)]
    assert states == ["done", "diverged"]
    rows = [evaluations.read(workdir / f"replica_{i}" / "eval.jsonl") for i in range(2)]
    assert [len(each) for each in rows] == [2, 0]


def test_the_last_replica_has_a_seed_too():
    with pytest.raises(
        errors.ConfigError, match=r"train\.seed = 2147483647; accepted: 0 to 2147483646"
    ):
        build.make_training(make(tiny.point_config, 2, seed=2**31 - 1), specs.points())
    build.make_training(make(tiny.point_config, 2, seed=2**31 - 2), specs.points())


@pytest.mark.parametrize(("count", "sharing"), [(1, 4), (2, 2), (3, 4), (4, 1), (8, 1)])
def test_a_replica_s_batch_is_reported_by_the_devices_that_share_it(count, sharing):
    config = make(tiny.point_config, count)
    config.num_devices = 4
    training = build.make_training(config, specs.points())
    assert training.replication.sharing == sharing
    # What one device is given is what the message about its memory says.
    spec = training.parallel._batch_sharding
    leading = (1, count) if count > 1 else (1,)
    given = spec.shard_shape((*leading, 1, config.train.batch_size))
    assert given[-1] == config.train.batch_size // sharing


def test_a_checkpoint_at_multiples_of_nothing_is_refused():
    with pytest.raises(errors.ConfigError, match=r"train\.keep_every = 0; accepted: 1 or more"):
        build.make_training(make(tiny.point_config, 1, keep_every=0), specs.points())


def test_a_plan_counts_the_parameters_of_one(capsys):
    counts = []
    for count in (1, 3):
        training = build.make_training(make(tiny.point_config, count), specs.points())
        plan.show_parameters(training, every=True)
        counts.append(capsys.readouterr().out)
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_one_that_diverges_leaves_the_others_alone(three, tmp_path):
    workdir = tmp_path / "run"
    rates = (1.0, 1e30, 1.0)
    loop.train(run_config(3, replica_learning_rates=rates, steps=4), workdir)
    lost = program.status(workdir / "replica_1")
    assert lost["state"] == "diverged"
    assert re.search(r"not finite.*no checkpoint was made", lost["reason"])
    whole = program.status(workdir)
    assert (whole["state"], whole["reason"]) == ("done", "diverged: replica_1")
    # The others go on, and end as if it had never been.
    loop.train(run_config(3, replica_learning_rates=rates), workdir)
    assert program.status(workdir / "replica_1")["state"] == "diverged"
    for i in (0, 2):
        one, other = (program.leaves(path / f"replica_{i}") for path in (workdir, three))
        for name, leaf in one.items():
            np.testing.assert_allclose(leaf, other[name], err_msg=name, **TOLERANCE)


@pytest.mark.slow
def test_what_ends_the_whole_is_reported_in_each_replicas_status(tmp_path, monkeypatch):
    def full(*_):
        raise errors.WorkdirError("Cannot write it: No space left on device")

    monkeypatch.setattr(recording.grids, "save_png", full)
    with pytest.raises(errors.WorkdirError, match="No space left"):
        loop.train(run_config(2), tmp_path / "run")
    for folder in ("", "replica_0", "replica_1"):
        now = program.status(tmp_path / "run" / folder)
        assert (now["state"], now["reason"]) == (
            "failed",
            "Cannot write it: No space left on device",
        )


@pytest.mark.slow
def test_all_diverged_ends_the_run(tmp_path):
    config = run_config(2, replica_learning_rates=(1e30, 1e30))
    with pytest.raises(errors.DivergenceError, match="all 2 replicas have diverged, the first: "):
        loop.train(config, tmp_path / "run")
    assert program.status(tmp_path / "run")["state"] == "diverged"


def test_a_replica_that_lost_its_checkpoints_is_reported(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "replica_1")
    with pytest.raises(errors.CheckpointError, match="of no step in common: replica_0: 4, 8; rep"):
        loop.train(run_config(3, steps=12), tmp_path / "run")
    assert program.checkpoints(tmp_path / "run" / "replica_0") == [4, 8]
    # A run that is refused stays as it is.
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "done"
