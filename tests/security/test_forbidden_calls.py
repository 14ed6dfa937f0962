"""The project's code calls nothing that runs what it reads: what ruff's rules do not find.

Ruff's rules ``S`` and the list of banned names in pyproject.toml find all that a name shows; this
test looks for methods of any object and for the values of arguments.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = re.compile(
    r"\.extract(all)?\(|(?<![.\w])(?<!def )(compile|__import__)\("
    r"|\b(shell|allow_pickle)=(?!False\b)|\bweights_only=(?!True\b)"
)


def test_nothing_that_is_read_can_run():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("gan_jax", "experiments", "configs", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "archive.extractall(folder)",
        "zipfile.ZipFile(path).extract(name)",
        "subprocess.run(command, shell=yes)",
        "np.load(path, allow_pickle=wanted)",
        "torch.load(path, weights_only=False)",
        "exec(compile(text, name, 'exec'))",
        "__import__(name)",
    ],
)
def test_what_is_forbidden_is_found(text):
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize(
    "text",
    ["np.load(path, allow_pickle=False)", "re.compile(pattern)", "extract(images)", "x.compile()"],
)
def test_what_is_allowed_is_not(text):
    assert not FORBIDDEN.search(text)
