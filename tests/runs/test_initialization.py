"""Runs that start from the weights of another run, and frozen layers."""

import json
import shutil

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.runs import build, loop, rehearsal
from gan_jax.runs.initialization import read_weights
from gan_jax.runs.leaves import named_leaves
from gan_jax.runs.run import open_run
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")


def configuration(**init):
    """AC-GAN of MLPs, on eight classes or, from another run, on twenty-five."""
    config = tiny.auxiliary_config()
    config.ema.half_life = 0.0
    config.num_devices = 1
    config.train.update(steps=2, log_every=2, sample_every=2, checkpoint_every=2)
    if init:
        config.data.name = "grid"
        config.init.update(init)
    return config


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    path = tmp_path_factory.mktemp("parent") / "run"
    loop.train(configuration(), path)
    return path


def weights(config):
    spec = sources.make_source(config.data).spec
    training = build.make_training(config, spec)
    return read_weights(config, training), training


def variables(state):
    """Return the leaves of a state's networks by name, on the host."""
    return {name: np.asarray(leaf) for name, leaf in named_leaves(state.networks).items()}


@pytest.mark.slow
def test_what_fits_is_taken_and_what_does_not_is_listed_with_its_shapes(parent):
    config = configuration(run=str(parent), optimizer=True)
    config.ema.half_life = 100.0
    found, training = weights(config)
    # The class is concatenated to two latents, and predicted from sixteen features.
    raw = [line for line in found.misfits if "opt_state" not in line]
    assert raw == [
        "generator/params/Dense_0/kernel: float32[10,16] there, float32[27,16] here",
        "discriminator/params/class_head/bias: float32[8] there, float32[25] here",
        "discriminator/params/class_head/kernel: float32[16,8] there, float32[16,25] here",
    ]
    # Two moments of each of these.
    assert len(found.misfits) - len(raw) == 6
    assert found.counts == {"generator": (3, 4), "discriminator": (4, 6)}

    there, here = variables(open_run(parent).state()), variables(found.put(training.init_state()))
    for name in ("generator/params/Dense_1/kernel", "discriminator/opt_state/0/nu/Dense_0/kernel"):
        np.testing.assert_array_equal(here[name], there[name])
    # The other run has no averages; Adam's count belongs to its moments, but the rate begins anew.
    average = here["generator/ema/params/Dense_1/kernel"]
    np.testing.assert_array_equal(average, there["generator/params/Dense_1/kernel"])
    counts = [here[f"generator/opt_state/{i}/count"] for i in (0, 1)]
    assert counts == [2, 0]


@pytest.mark.slow
def test_averages_and_chosen_networks(parent, tmp_path):
    config = configuration()
    config.ema.half_life = 100.0
    loop.train(config, tmp_path / "averaged")
    config.init.update(run=str(tmp_path / "averaged"), networks=("generator",), checkpoint="2")
    found, training = weights(config)
    state = training.init_state()
    before, after = variables(state), variables(found.put(state))
    there = variables(open_run(tmp_path / "averaged").state())
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert {name.split("/")[0] for name in changed} == {"generator"}
    name = "generator/ema/params/Dense_1/kernel"
    np.testing.assert_array_equal(after[name], there[name])
    assert not np.array_equal(after[name], after[name.replace("ema/", "")])
    assert found.misfits == ()


def test_every_replica_starts_from_them(parent):
    config = configuration(run=str(parent))
    config.train.replicas = 2
    found, training = weights(config)
    stacked = variables(found.put(training.init_state()))["generator/params/Dense_1/kernel"]
    there = variables(open_run(parent).state())["generator/params/Dense_1/kernel"]
    np.testing.assert_array_equal(stacked, np.stack([there, there]))


@pytest.mark.slow
def test_a_run_with_frozen_layers_records_its_origin_and_resumes_without_it(
    parent, tmp_path, monkeypatch
):
    origin = shutil.copytree(parent, tmp_path / "origin")
    config = configuration(run=str(origin))
    config.train.steps = 4
    config.optimizer.discriminator.update(name="adamw", freeze_first=1)
    config.optimizer.generator.freeze = ("Dense_1/bias",)
    loop.train(config, tmp_path / "whole")
    tiny.stop_at(monkeypatch, 2)
    assert loop.train(config, tmp_path / "parts").step == 2
    tiny.stop_at(monkeypatch, None)
    shutil.rmtree(origin)
    loop.train(config, tmp_path / "parts")
    whole = open_run(tmp_path / "whole").state()
    assert tiny.bits(whole) == tiny.bits(open_run(tmp_path / "parts").state())
    record = json.loads((tmp_path / "parts" / "origin.json").read_text())
    assert (record["run"], record["step"], len(record["not_taken"])) == (str(origin), 2, 3)

    there, here = variables(open_run(parent).state()), variables(whole)
    same = {n for n in there if "/params/" in n and np.array_equal(there[n], here.get(n))}
    first = "discriminator/params/Dense_0"
    assert same == {f"{first}/kernel", f"{first}/bias", "generator/params/Dense_1/bias"}


@pytest.mark.slow
def test_frozen_layers_of_another_run_on_one_device_and_on_many(parent):
    """SGD, of which the steps are proportional to the gradients."""

    def trained(**changes):
        config = configuration(run=str(parent))
        config.data.name = "ring"
        config.optimizer.discriminator.freeze_first = 1
        for network in ("generator", "discriminator"):
            config.optimizer[network].update(name="sgd", learning_rate=0.1)
        config.update(changes)
        training = build.make_training(config, tiny.spec(config))
        state = read_weights(config, training).put(training.init_state())
        resident = training.parallel.put_replicated(tiny.data(config))
        for step in range(2):
            batch = training.parallel.put_batch(tiny.index_batch(config, training, step))
            state, _ = training.parallel(state, resident, batch)
        return {name: x for name, x in variables(state).items() if "/params/" in name}

    there, one = variables(open_run(parent).state()), trained()
    first = {f"discriminator/params/Dense_0/{leaf}" for leaf in ("kernel", "bias")}
    assert {name for name in one if np.array_equal(one[name], there[name])} == first
    for changes in ({"num_devices": 4}, {"num_devices": 4, "fsdp": {"devices": 2, "min_size": 8}}):
        many = trained(**changes)
        assert {name for name in many if np.array_equal(many[name], there[name])} == first
        for name, values in one.items():
            np.testing.assert_allclose(many[name], values, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"run": "nowhere"}, errors.WorkdirError, "nowhere is no run directory"),
        ({"checkpoint": "7"}, errors.CheckpointError, "No checkpoint of step 7"),
        ({"networks": ("critic",)}, errors.ConfigError, "init.networks = 'critic' is unknown"),
        ({"run": None, "optimizer": True}, errors.ConfigError, "init.optimizer = True without"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(parent, changes, error, message, tmp_path):
    config = configuration(**{"run": str(parent), **changes})
    with pytest.raises(error, match=message):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_plan_names_the_origin_and_the_frozen_parameters(parent, capsys):
    config = configuration(run=str(parent))
    config.optimizer.discriminator.freeze_first = 1
    loop.train(config, "unused", dry_run=rehearsal.DryRun())
    out = " ".join(capsys.readouterr().out.split())
    assert "step 2: generator 3 of 4 arrays, discriminator 4 of 6 arrays" in out
    assert "class_head/bias: float32[8] there, float32[25] here" in out
    assert "48 of them frozen: Dense_0" in out
