"""Pages: links lead somewhere, tables are up to date, systems and pages are all listed."""

import re
from pathlib import Path

import pytest

from gan_jax.runs import config
from scripts import tables

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FAMILY = re.compile(r"<!-- table: family ([\w ]+) -->")


def path(page):
    """Return a page's path for the name of a test."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=path)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_up_to_date(page):
    text = (ROOT / page).read_text("utf-8")
    assert tables.render(page) == text, "run python -m scripts.tables"


def test_every_system_is_in_one_family():
    texts = [(ROOT / page).read_text("utf-8") for page in tables.FAMILIES]
    named = [name for text in texts for names in FAMILY.findall(text) for name in names.split()]
    assert sorted(named) == sorted(system.config for system in tables.read_systems())


def test_an_unknown_member_of_a_family_is_named():
    with pytest.raises(ValueError, match=r"family 'wgan_pg'; accepted: .*wgan_gp"):
        tables.family_table([], "wgan_pg")


def test_a_docstring_with_another_first_line_is_named(tmp_path):
    file = tmp_path / "new_gan.py"
    file.write_text('"""A new GAN."""\n')
    with pytest.raises(ValueError, match=r"new_gan\.py.*'A new GAN\.'.*NAME: description"):
        tables.read_system(file)


def test_the_readme_fits_on_three_screens():
    # Without the table of systems, which grows by a row with each.
    rows = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len([row for row in rows if not row.startswith("| [`")]) <= 115


@pytest.mark.parametrize("page", PAGES, ids=path)
def test_fields_and_paths_exist(page):
    text = page.read_text("utf-8")
    for field in re.findall(r"--config\.([a-z_0-9.]+)=", text):
        if "my_gan" not in text:
            assert _has(config.create(), field), field
    folders = "configs|docs|experiments|gan_jax|notebooks|scripts|tests"
    for path in re.findall(rf"`((?:{folders})/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


def _has(group, field):
    for name in field.split("."):
        if name not in group:
            return False
        group = group[name]
    return True
