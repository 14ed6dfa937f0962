"""The fields that every configuration has: documented, read, and open to the command line."""

import ast
import dataclasses
import inspect
import re
import tokenize
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

import gan_jax
from configs import base
from gan_jax import errors
from gan_jax.data import degrade
from gan_jax.losses import adversarial, penalties
from gan_jax.networks import registry
from gan_jax.runs import build
from gan_jax.training import optimizers
from tests.configs import variants

FIELDS = sorted(variants.fields(base.get_config()))


def commented_lines():
    """Return the numbers of the lines of `configs.base` that have a comment."""
    with tokenize.open(base.__file__) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


def assignments():
    """Return, for every ``c.group.field = ...`` in `configs.base`, the name and its lines."""
    tree = ast.parse(inspect.getsource(base))
    for function in tree.body:
        if not (isinstance(function, ast.FunctionDef) and function.name in ("get_config", "adam")):
            continue
        for node in ast.walk(function):
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)):
                continue
            if not ast.unparse(node.value).startswith(("ConfigDict(", "adam(")):  # no groups
                yield ast.unparse(node.targets[0]), range(node.lineno, node.end_lineno + 1)


# What their name says, beside the comment of the line before them.
OBVIOUS = {"c.data.split", "c.train.checkpoint_every", "c.train.seed"}


def test_every_field_is_explained_by_a_comment():
    commented = commented_lines()
    silent = set()
    for name, lines in assignments():
        explained = commented & {*lines, lines.start - 1}
        if not explained:
            silent.add(name)
    assert silent <= OBVIOUS


def source_of_package():
    root = Path(gan_jax.__file__).parent
    return "\n".join(path.read_text() for path in root.rglob("*.py"))


def test_every_field_is_read_somewhere():
    text = (
        source_of_package() + (Path(base.__file__).parents[1] / "experiments/main.py").read_text()
    )
    unread = []
    for field in FIELDS:
        name = field.split(".")[-1]
        # As an attribute, or as the parameter of what a group's options are passed to.
        if not re.search(rf"\.{name}\b|\b{name}: |\b{name}=|\"{name}\"", text):
            unread.append(field)
    assert unread == []


def test_a_misspelt_field_is_refused():
    config = base.get_config()
    with pytest.raises(AttributeError, match="Did you mean"):
        config.train.stepps = 3


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("game.clip", "0.01", 0.01),
        ("loss.minimax.smoothing", "0.1", 0.1),
        ("penalty.wgan_gp.one_sided", "true", True),
        ("penalty.wgan_gp.target", "2", 2.0),
        ("ema.ramp_up", "0.05", 0.05),
        ("data.channels", "3", 3),
        ("data.path", "photos.zip", "photos.zip"),
        ("data.data_dir", "/data", "/data"),
        ("train.keep_every", "1000", 1000),
        ("profile.start", "10", 10),
        ("num_devices", "4", 4),
        ("optimizer.generator.name", "sgd", "sgd"),
        ("optimizer.generator.rmsprop.momentum", "0.9", 0.9),
        ("optimizer.generator.momentum.nesterov", "true", True),
        ("optimizer.generator.schedule.linear.end_factor", "0.1", 0.1),
        ("optimizer.discriminator.schedule.step.boundaries", "(100, 200)", (100, 200)),
        ("optimizer.discriminator.clip_norm", "1", 1.0),
        ("generator.mlp.features", "(8, 16)", (8, 16)),
    ],
)
# ml_collections loads the file by a way that newer Pythons warn of.
@pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
def test_optional_fields_take_values_from_the_command_line(field, text, value):
    values = flags.FlagValues()
    argv = ["main", f"--config={variants.FOLDER / 'gan.py'}", f"--config.{field}={text}"]
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=argv)
    values(argv)
    config = values["config"].value
    for name in field.split("."):
        config = config[name]
    assert config == value
    assert type(config) is type(value)


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("{0}1", r"'{0}1' is unknown; accepted: .*{0}.* Did you mean \"{0}\"\?"),
        ("smok", r"'smok' is unknown; .* Did you mean \"smoke\"\?"),
        ("{0},{1}", r"{0},{1} names 2 data sets; accepted: one"),
    ],
)
@pytest.mark.parametrize("name", variants.NAMES)
def test_an_unknown_choice_is_refused(name, arg, message):
    known = variants.datasets(name)
    with pytest.raises(errors.ConfigError, match=message.format(*known)):
        variants.load(name, arg.format(*known))


def test_choices_join_in_any_order():
    one, other = variants.load("gan", "smoke,mnist"), variants.load("gan", "mnist,smoke,")
    assert one.to_dict() == other.to_dict()
    assert one.data.name == "mnist"


def settings(module):
    """Return the fields of a network's module that are its own, with their defaults."""
    given = (*registry.GIVEN, "parent", "name")
    return {f.name: f.default for f in dataclasses.fields(module) if f.name not in given}


@pytest.mark.parametrize(
    ("group", "modules"),
    [
        ("generator", {**registry.GENERATORS, **registry.TRANSLATORS}),
        ("discriminator", {**registry.DISCRIMINATORS, **registry.PATCH_DISCRIMINATORS}),
        ("encoder", registry.ENCODERS),
    ],
)
def test_every_network_has_a_group_with_its_own_fields_and_defaults(group, modules):
    fields = base.get_config()[group]
    for name, module in modules.items():
        defaults = settings(module)
        # One field for whichever network is chosen.
        if name not in {**registry.TRANSLATORS, **registry.PATCH_DISCRIMINATORS}:
            assert defaults.pop("conditioning", None) == fields.get("conditioning")
        # What a super-resolution network enlarges by is said by the degradation.
        defaults.pop("factor", None)
        defaults.pop("latent_dim", None)
        assert fields[name].to_dict() == defaults, name


def test_every_degradation_has_a_group_with_its_own_fields_and_defaults():
    fields = base.get_config().degrade
    for name, kind in degrade.DEGRADATIONS.items():
        defaults = {f.name: f.default for f in dataclasses.fields(kind)}
        assert (fields[name].to_dict() if defaults else {}) == defaults, name


@pytest.mark.parametrize(
    ("group", "registered"),
    [
        ("loss", adversarial.LOSSES),
        ("penalty", penalties.PENALTIES),
        ("optimizer.generator", optimizers.OPTIMIZERS),
        ("optimizer.generator.schedule", optimizers.SCHEDULES),
    ],
)
def test_every_choice_builds_by_its_name_alone(group, registered):
    for name in registered:
        config = variants.load("wgan_gp", "smoke")
        config.num_devices = 1
        chosen = config
        for part in group.split("."):
            chosen = chosen[part]
        chosen.name = name
        build.make_training(config, (16, 16, 1))


@pytest.mark.parametrize("name", registry.GENERATORS)
def test_networks_are_exchanged_by_their_name_alone(name):
    config = variants.load("wgan_gp", "smoke")
    config.num_devices = 1
    config.generator.name = config.discriminator.name = name
    build.make_training(config, (16, 16, 1)).abstract_state  # noqa: B018
