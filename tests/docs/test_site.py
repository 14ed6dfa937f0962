"""The site: what becomes of links to files, and of configurations."""

import re

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra docs: pip install -e '.[docs]'")

from docs import hooks
from scripts import tables
from tests.docs.test_pages import ROOT


@pytest.mark.parametrize(
    ("file", "written", "expected"),
    [
        ("docs/data.md", "[a](sampling.md#styles)", "[a](sampling.md#styles)"),
        ("docs/systems/text.md", "[a](../data.md#text)", "[a](../data.md#text)"),
        ("docs/systems/text.md", "[`mle`](../../configs/mle.py)", "[`mle`][configs.mle]"),
        ("docs/training.md", "[a](../configs)", "[a](reference/configurations.md)"),
        ("docs/systems/text.md", "[a](../../CHANGELOG.md#x)", "[a](../changelog.md#x)"),
        ("docs/data.md", "see [the folder](../gan_jax/data), or", "see the folder, or"),
        ("docs/data.md", "![a](b.png) [c](https://d.org/e)", "![a](b.png) [c](https://d.org/e)"),
    ],
)
def test_links_lead_to_pages(file, written, expected):
    assert hooks.relinked(written, file, file.removeprefix("docs/")) == expected


def test_copied_pages_link_to_the_pages_of_docs():
    text = hooks.relinked("[a](docs/data.md#order)", "CHANGELOG.md", "changelog.md")
    assert text == "[a](data.md#order)"


def test_every_configuration_has_a_reference():
    found = re.findall(r"^::: configs\.(\w+)$", hooks.configurations(ROOT / "configs"), re.M)
    assert found == sorted(["base", *(system.config for system in tables.read_systems())])


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"^ +- .*?([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted([*pages, *hooks.MADE.values()])
