"""Commands in README.md, docs/ and configs/: their programs, flags and configurations exist."""

import re

import pytest

from gan_jax import installation
from tests.configs import variants
from tests.docs.test_pages import PAGES, ROOT

SOURCES = [*PAGES, *sorted((ROOT / "configs").glob("*.py"))]
_ARGUMENTS = r"\b((?:[^`#&\n]|(?<=\\)\n)*)"
COMMAND = re.compile(rf"python (?:-m )?(experiments|scripts)[./](\w+?)(?:\.py)?{_ARGUMENTS}")
CONSOLE = re.compile(rf"(?:gan-jax|-m gan_jax) ([a-z][a-z-]*){_ARGUMENTS}")
# Defined by absl and argparse.
COMMON = {"help", "verbosity"}
# Options of SLURM, Docker and XLA.
OTHERS = {
    *("gpus-per-task", "gres", "kill-on-bad-exit", "network", "ntasks-per-node", "requeue"),
    *("signal", "xla_gpu_experimental_enable_conv_fusion"),
}


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


def test_commands_are_found():
    programs = {program for _, program, _ in commands()}
    assert {f"experiments/{name}.py" for name in ("main", "sample", "sweep")} <= programs
    assert {"num_fake", "run"} <= flags("experiments/evaluate.py")


@pytest.mark.parametrize("page", SOURCES, ids=lambda page: page.name)
def test_flags_exist(page):
    for where, program, arguments in commands():
        if where == page:
            unquoted = re.sub(r'"[^"]*"', "", arguments)
            found = re.findall(r"(?<![\w-])--([\w-]+)", unquoted)
            unknown = {name.replace("-", "_") for name in found} - flags(program)
            assert not unknown, f"python {program}{arguments}"


@pytest.mark.parametrize("page", SOURCES, ids=lambda page: page.name)
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
