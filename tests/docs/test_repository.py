"""Files of the repository that tools read: they name the same versions, extras and files."""

import configparser
import re

from tests.docs.test_pages import ROOT


def text(name):
    return (ROOT / name).read_text()


def test_pre_commit_runs_the_pinned_ruff():
    pinned = re.search(r"^ruff==(.+)$", text("constraints.txt"), re.MULTILINE)[1]
    hook = re.search(r"ruff-pre-commit\s+rev: v(\S+)", text(".pre-commit-config.yaml"))
    assert hook[1] == pinned


def test_the_page_lists_every_extra():
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text("setup.cfg"))
    table = text("docs/getting_started.md").split("| extra |")[1].split("\n\n")[0]
    assert set(re.findall(r"`\.\[(\w+)\]`", table)) == set(config["options.extras_require"])


def test_the_image_gets_what_its_dockerfile_copies():
    copied = [
        name
        for line in re.findall(r"^COPY (.+) \S+$", text("Dockerfile"), re.MULTILINE)
        for name in line.split()
    ]
    allowed = re.findall(r"^!(.+)$", text(".dockerignore"), re.MULTILINE)
    assert sorted(copied) == sorted(allowed)
    # What an installation is built from.
    packages = re.search(r"^BESIDE = \((.+)\)$", text("setup.py"), re.MULTILINE)[1]
    needed = [*re.findall(r'"(\w+)"', packages), "gan_jax", "setup.py", "setup.cfg", "README.md"]
    assert set(needed) <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
