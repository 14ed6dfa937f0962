"""Commands in README.md, docs/ and configs/: programs accept them, with values that can work."""

import argparse
import contextlib
import re
import shlex
import sys
from unittest import mock

import pytest
from absl import app
from absl import flags as absl_flags

from experiments import command_line  # noqa: F401  The parser of optional fields.
from gan_jax import installation
from gan_jax.data import spec as specs
from gan_jax.runs import build
from tests.configs import builds, variants
from tests.docs.test_pages import PAGES, ROOT, path
from tests.experiments.program import call

SOURCES = [*PAGES, *sorted((ROOT / "configs").glob("*.py"))]
_ARGUMENTS = r"\b((?:[^`#&\n]|(?<=\\)\n)*)"
COMMAND = re.compile(rf"python3? (?:-m )?(experiments|scripts)[./](\w+?)(?:\.py)?{_ARGUMENTS}")
CONSOLE = re.compile(rf"(?:gan-jax|-m gan_jax) ([a-z][a-z-]*){_ARGUMENTS}")
# Defined by absl and argparse.
COMMON = {"help", "verbosity"}
# Options of SLURM, Docker and XLA.
OTHERS = {
    *("gpus-per-task", "gres", "kill-on-bad-exit", "ntasks-per-node", "requeue", "signal"),
    "xla_gpu_experimental_enable_conv_fusion",
}
# What stands for a file that a reader has, or for one of several.
FORMS = ("--config=FILE", "configs/NAME.py", "--config=my_gan.py", "--only=NUMBER")


def commands():
    """Return page, program and arguments of every command."""
    found = []
    for page in SOURCES:
        text = page.read_text("utf-8")
        found += [
            (page, f"{folder}/{name}.py", rest) for folder, name, rest in COMMAND.findall(text)
        ]
        for name, rest in CONSOLE.findall(text):
            module, _ = installation.COMMANDS[name]
            found.append((page, f"{module.replace('.', '/')}.py", rest))
    return found


def flags(program):
    """Return the names of the flags that a program defines."""
    text = (ROOT / program).read_text("utf-8")
    if "run_flags" in text:  # Those that several programs share.
        text += (ROOT / "experiments" / "run_flags.py").read_text("utf-8")
    names = re.findall(r'(?:DEFINE_\w+\(|add_argument\()\s*"(?:--)?(\w+)"', text)
    return COMMON.union(names)


@contextlib.contextmanager
def parsing_only():
    """Let programs end when their flags are parsed; give the configurations of trainings."""
    configs, parse = [], argparse.ArgumentParser.parse_args

    def run(main, flags_parser):
        del main
        flags_parser(sys.argv)
        if sys.argv[0] == "experiments.main" and "config" in absl_flags.FLAGS:
            configs.append(absl_flags.FLAGS["config"].value)

    def parse_args(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        sys.exit(0)

    with (
        mock.patch.object(app, "run", run),
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_args),
    ):
        yield configs


def stored(config):
    """Return a specification of data like those of a configuration."""
    name = config.data.name
    if name in ("ring", "grid", "swiss_roll"):
        return specs.points()
    shapes = {"captioned": "folder", "npz": "folder", "stacked_digits": "photos"}
    name = shapes.get(name, name)
    shape = builds.SHAPES[name]
    if len(shape) == 3 and (size := config.data.resolution) is not None:
        sides = (size, size) if isinstance(size, int) else tuple(size)
        shape = (*sides, config.data.channels or shape[2])
    with mock.patch.dict(builds.SHAPES, {name: shape}):
        return builds.spec(config, name)


def test_commands_are_found():
    programs = {program for _, program, _ in commands()}
    assert {f"experiments/{name}.py" for name in ("main", "sample", "sweep")} <= programs
    assert {"num_fake", "run"} <= flags("experiments/evaluate.py")


@pytest.mark.parametrize("page", SOURCES, ids=path)
def test_commands_are_accepted(page):
    for where, program, arguments in commands():
        # Prose names programs without their arguments.
        if where != page or not arguments.strip() or any(form in arguments for form in FORMS):
            continue
        if arguments.count('"') % 2:  # The command is itself an argument between quotes.
            arguments = arguments.rstrip().removesuffix('"')
        words = shlex.split(arguments.replace("\\\n", " "))
        with parsing_only() as configs:
            ended = call(*words, module=program.removesuffix(".py").replace("/", "."))
        assert ended.code == 0, f"{program}{arguments}: {ended.err}"
        for config in configs:
            if config is not None:
                config.num_devices = 1
                build.make_training(config, stored(config))


@pytest.mark.parametrize("page", SOURCES, ids=path)
def test_configurations_exist(page):
    by_path, by_name = r"--config=configs/([a-z0-9_]+)\.py", r"train --config=([a-z0-9_]+)\b(?!\.)"
    text = page.read_text("utf-8")
    given = [
        pair
        for pattern in (by_path, by_name)
        for pair in re.findall(rf"{pattern}(?::([a-z0-9_,]+))?", text)
    ]
    for name, choices in given:
        variants.load(name, choices)


def test_flags_in_prose_belong_to_a_program():
    folders = (ROOT / "experiments", ROOT / "scripts")
    programs = [f"{p.parent.name}/{p.name}" for folder in folders for p in folder.glob("*.py")]
    known = set().union(*map(flags, programs))
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # It names the flags that are gone, too.
            continue
        shown = re.findall(r"`--([a-z][\w-]+)[=`]", page.read_text("utf-8"))
        assert {name for name in shown if name.replace("-", "_") not in known} <= OTHERS, page.name
