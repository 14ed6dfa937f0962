"""What a configuration file may say of its runs, and the message when it is wrong."""

import json

import numpy as np
import pytest

from configs import gan, r1_gan, wgan_gp
from gan_jax import errors
from gan_jax.sweeps import definition, space
from tests.configs import variants
from tests.sweeps import fake_config


def collect(*calls, common=(), seeds=None):
    def define(add):
        for name, overrides in calls:
            add(name, **overrides)

    return definition.collect(define, fake_config.get_config(), common, seeds)


def test_runs_are_named_after_their_overrides_and_grouped_without_the_seed():
    runs = collect(
        (None, {}),
        (None, {"rate": 1e-5, "train.seed": 3}),
        (None, {"policy": ("a", "b c"), "path": "x/y_z"}),
        ("mine", {"clip": 1}),
    )
    assert [(run.name, run.group) for run in runs] == [
        ("default", "default"),
        ("rate=1e-05_seed=3", "rate=1e-05"),
        ("policy=a-b-c_path=x-y_z", "policy=a-b-c_path=x-y_z"),
        ("mine", "mine"),
    ]
    # Values have the type of their field, as they will be read from the record.
    assert runs[2].overrides == {"policy": ["a", "b c"], "path": "x/y_z"}
    assert isinstance(runs[3].overrides["clip"], float)


def test_a_long_name_is_cut_and_stays_different():
    runs = collect((None, {"path": "x" * 300}), (None, {"path": "x" * 301}))
    assert len({run.name for run in runs}) == 2
    assert all(len(run.name) <= 120 for run in runs)


def test_seeds_repeat_every_run():
    runs = collect((None, {"rate": 0.5}), ("b", {}), seeds=2)
    assert [(run.name, run.group, run.overrides["train.seed"]) for run in runs] == [
        ("rate=0.5_seed=0", "rate=0.5", 0),
        ("rate=0.5_seed=1", "rate=0.5", 1),
        ("b_seed=0", "b", 0),
        ("b_seed=1", "b", 1),
    ]


def test_numbers_of_numpy_are_numbers():
    values = {"rate": np.float32(0.5), "train.seed": np.int64(2), "policy": (np.int64(3), "a")}
    (run,) = collect((None, values))
    assert run.overrides == {"rate": 0.5, "train.seed": 2, "policy": [3, "a"]}
    # As the record of the sweep has it.
    assert json.loads(json.dumps(run.overrides)) == run.overrides
    assert type(run.overrides["train.seed"]) is int


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rat": 1.0}, 'rat is not a field. Did you mean "rate"?'),
        ({"train.sed": 1}, 'train.sed is not a field. Did you mean "train.seed"?'),
        ({"train": 1}, "train is a group of fields; accepted: train.log_every, train.seed"),
        ({"rate": "fast"}, "rate = 'fast'; accepted: float"),
        ({"rate": float("nan")}, "rate = nan; accepted: float"),
        ({"rate": True}, "rate = True; accepted: float"),
        ({"train.steps": 2.5}, "train.steps = 2.5; accepted: int"),
        ({"train.steps": True}, "train.steps = True; accepted: int"),
        ({"flip": 1}, "flip = 1; accepted: bool"),
        ({"policy": "color"}, "policy = 'color'; accepted: tuple"),
        ({"clip": None}, "clip = None; accepted: float"),
        ({"path": 3}, "path = 3; accepted: str"),
    ],
)
def test_a_field_that_cannot_be_is_reported(overrides, message):
    with pytest.raises(errors.ConfigError) as error:
        collect((None, overrides))
    assert f"sweep: {message}" in str(error.value)


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([("a", {}), ("a", {"rate": 0.5})], 'two runs are named "a"'),
        ([(None, {"rate": 0.5}), ("b", {"rate": 0.5})], '"b" (rate=0.5) is the same run as "rate='),
        # 1.0 is what the configuration has anyway.
        ([(None, {}), (None, {"rate": 1})], '"rate=1.0" (rate=1.0) is the same run as "default"'),
        ([("../a", {})], "name='../a'; accepted"),
        ([("a", {"rate": 0.5}), ("b", {}), (None, {"rate": 0.5})], "is the same run as"),
        ([], "has added no run"),
    ],
)
def test_runs_that_cannot_be_reported_apart_are_refused(calls, message):
    with pytest.raises(errors.ConfigError) as error:
        collect(*calls)
    assert message in str(error.value)


def test_a_field_is_set_in_one_place():
    with pytest.raises(errors.ConfigError, match=r"rate is set for all runs by --config.rate"):
        collect((None, {"rate": 0.5}), common=["rate"])
    with pytest.raises(errors.ConfigError, match=r"--seeds=2 sets train\.seed, and so does"):
        collect((None, {"train.seed": 0}), seeds=2)
    with pytest.raises(errors.ConfigError, match=r"--seeds=2 and --config\.train\.seed"):
        collect((None, {"rate": 0.5}), common=["train.seed"], seeds=2)


# ml_collections loads the file by a way that newer Pythons warn of.
@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
def test_every_value_comes_through_the_command_line_as_it_was():
    values = {
        "rate": 1e-7,
        "policy": ["a'b", "c d", "e,f"],
        "path": "a b=c,'d'",
        "flip": True,
        "clip": 0.25,
        "train.seed": 3,
        "mode": "",
    }
    flags = [definition.flag(field, value) for field, value in values.items()]
    got = definition.leaves(variants.parse(fake_config.__file__, *flags))
    got["policy"] = list(got["policy"])
    assert {field: got[field] for field in values} == values


def test_the_colon_s_argument_reaches_a_function_of_two_parameters(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def sweep(add, arg): add(arg)\ndef search(space): space('x')\n")
    module = definition.load(file)
    seen = []
    definition.call(module, "sweep", seen.append, "digits")
    definition.call(module, "search", seen.append, "digits")
    assert seen == ["digits", "x"]


def test_a_file_without_the_function_is_reported(tmp_path):
    (tmp_path / "mine.py").write_text("")
    module = definition.load(tmp_path / "mine.py")
    with pytest.raises(errors.ConfigError, match=r"mine.py has no function 'sweep'; for example"):
        definition.call(module, "sweep", None, "")


@pytest.mark.parametrize("config", [gan, r1_gan, wgan_gp])
def test_the_sweeps_of_the_project_can_be_run(config):
    assert len(definition.collect(config.sweep, config.get_config())) >= 4


def test_the_search_of_wgan_gp_can_be_run():
    parameters = space.collect(wgan_gp.search, wgan_gp.get_config())
    assert {p.field for p in parameters} >= {"penalty.weight", "game.discriminator_steps"}
