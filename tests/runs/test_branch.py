"""Runs that continue another run with other settings."""

import json
import shutil

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.report import writers
from gan_jax.runs import loop, rehearsal
from gan_jax.runs.run import open_run
from tests.experiments import program
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")


def configuration(steps=6, **train):
    config = tiny.penalized_config()
    config.num_devices = 1
    config.train.update(steps=steps, log_every=1, checkpoint_every=3, sample_every=100, **train)
    return config


def rows(path):
    return writers.read_rows(path / writers.METRICS)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A finished run of four steps, whose learning rates have decayed to 0, with one at step 3."""
    path = tmp_path_factory.mktemp("parent") / "run"
    config = configuration(4)
    for optimizer in config.optimizer.values():
        optimizer.update(learning_rate=1e-3)
        optimizer.schedule.name = "linear"
    loop.train(config, path)
    return path, config


@pytest.mark.slow
def test_a_branch_without_changes_is_the_run_itself(tmp_path):
    loop.train(configuration(6), tmp_path / "whole")
    loop.train(configuration(3), tmp_path / "half")
    result = loop.train(configuration(6), tmp_path / "rest", continue_from=f"{tmp_path}/half@3")
    assert (result.state, result.step) == ("done", 6)
    whole, rest = (tiny.bits(open_run(tmp_path / name).state()) for name in ("whole", "rest"))
    assert whole == rest
    assert rows(tmp_path / "whole")[3:] == rows(tmp_path / "rest")


@pytest.mark.slow
def test_a_finished_run_with_decayed_rates_is_prolonged(parent, tmp_path):
    path, config = parent
    config = config.copy_and_resolve_references()
    config.train.steps = 8
    with pytest.raises(errors.WorkdirError, match=rf"train.steps: 4 there, .*_from={path} cont"):
        loop.train(config, path)
    loop.train(config, tmp_path, continue_from=f"{path}@4")
    rates = [row["generator/learning_rate"] for row in rows(tmp_path)]
    np.testing.assert_allclose(rates, [0.5e-3, 0.375e-3, 0.25e-3, 0.125e-3], rtol=1e-6)
    record = json.loads((tmp_path / "origin.json").read_text())
    assert record["changes"] == ["train.steps: 4 there, 8 now"]


@pytest.mark.slow
def test_a_branch_records_its_changes_counts_on_and_resumes_alone(parent, tmp_path, monkeypatch):
    path = shutil.copytree(parent[0], tmp_path / "parent")
    config = configuration(9, batch_size=32, seed=5)
    config.optimizer.generator.learning_rate = 1e-4
    config.game.discriminator_steps = 1
    config.penalty.weight = 3.0
    config.data.toy_size = 600
    loop.train(config, tmp_path / "whole", continue_from=f"{path}@3")

    tiny.stop_at(monkeypatch, 2)
    branched = loop.train(config, tmp_path / "parts", continue_from=f"{path}@3")
    assert (branched.state, branched.step) == ("preempted", 5)
    tiny.stop_at(monkeypatch, None)
    shutil.rmtree(path)
    loop.train(config, tmp_path / "parts", continue_from=f"{path}@3")
    program.assert_same_run(tmp_path / "whole", tmp_path / "parts")

    record = json.loads((tmp_path / "parts" / "origin.json").read_text())
    assert (record["run"], record["step"], record["kimg"]) == (str(path), 3, 3 * 2 * 16 / 1000)
    named = {change.split(":")[0] for change in record["changes"]}
    assert named >= {"train.batch_size", "train.seed", "penalty.weight", "data", "data.toy_size"}
    # Two discriminator batches of 16 for three steps, then one of 32.
    assert [row["kimg"] for row in rows(tmp_path / "parts")] == pytest.approx(
        [(96 + 32 * n) / 1000 for n in range(1, 7)]
    )
    state = open_run(tmp_path / "parts").state()
    # Schedules count this run's train steps.
    assert int(state.networks["discriminator"].opt_state[1].count) == 9
    with pytest.raises(errors.WorkdirError, match=r"continues .*@3, not --continue_from=.*@2"):
        loop.train(config, tmp_path / "parts", continue_from=f"{path}@2")


def test_a_branch_that_was_ended_before_its_first_checkpoint(parent, tmp_path, monkeypatch):
    place, config = f"{parent[0]}@3", configuration(6)
    with monkeypatch.context() as patched:
        patched.delattr(loop.plan, "show")
        with pytest.raises(AttributeError):
            loop.train(config, tmp_path, continue_from=place)
    with pytest.raises(errors.WorkdirError, match=f"accepted: --continue_from={place}"):
        loop.train(config, tmp_path)
    assert loop.train(config, tmp_path, continue_from=place).step == 6


def test_a_branch_that_is_stopped_before_its_first_step_has_its_first_picture(
    parent, tmp_path, monkeypatch
):
    """Its first state is saved at once: a start that goes on has nothing to draw."""
    tiny.stop_at(monkeypatch, 0)
    result = loop.train(configuration(6), tmp_path, continue_from=f"{parent[0]}@3")
    assert (result.state, result.step) == ("preempted", 3)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["00000003.png"]


@pytest.mark.parametrize(
    ("step", "change", "error", "message"),
    [
        ("@7", {}, errors.CheckpointError, "No checkpoint of step 7"),
        ("@worst", {}, errors.ConfigError, "checkpoint = worst; accepted: latest, best"),
        ("@4", {"train.steps": 4}, errors.ConfigError, "has taken 4 already; accepted: more"),
        ("", {"train.replicas": 2}, errors.ConfigError, "train.replicas = 2; accepted: 1, with"),
        ("", {"generator.latent_dim": 3}, errors.CheckpointError, "of another model.*Dense_0"),
        ("", {"init.run": "other"}, errors.ConfigError, "init.run = 'other' with --continue_from"),
    ],
)
def test_what_cannot_be_continued_is_refused(parent, step, change, error, message, tmp_path):
    config = configuration(6)
    config.update_from_flattened_dict(change)
    with pytest.raises(error, match=message):
        loop.train(config, tmp_path / "run", continue_from=f"{parent[0]}{step}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_plan_shows_what_is_different(parent, capsys):
    config = configuration(6)
    config.train.batch_size = 32
    loop.train(config, "unused", dry_run=rehearsal.DryRun(), continue_from=f"{parent[0]}@3")
    out = " ".join(capsys.readouterr().out.split())
    assert f"start continues {parent[0]}, step 3, 0.1 kimg" in out
    assert "changed" in out
    assert "train.batch_size: 16 there, 32 now" in out
