"""``experiments.compare`` as a person uses it; its tables: tests/pages/test_comparison.py."""

import re

import pytest

from tests.experiments.program import call, complaint, succeeded
from tests.pages.directories import config, losses, make

COMPARE = "experiments.compare"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make(folder / "a", losses(3))
    make(folder / "b", losses(3), settings=config(train__seed=4))
    return folder


def test_tables_are_printed_and_a_page_is_written(runs, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    out = succeeded(call("a", "b", module=COMPARE, cwd=runs)).out
    assert re.search(r"train\.seed +0 +4", out)
    assert sorted(p.name for p in runs.iterdir()) == ["a", "b"]
    page = tmp_path / "page.html"
    for flags in (["a", f"--out={page}", "--num=2", "b"], [f"--out={page}", "a", "b", "--num=0"]):
        page.unlink(missing_ok=True)
        ended = succeeded(call(*flags, module=COMPARE, cwd=runs))
        assert ended.out.endswith(f"\ncomparison of 2 runs: {page}\n")
    assert "None were asked for." in page.read_text()
    message = complaint(call("a", "b", f"--out={page}", module=COMPARE, cwd=runs))
    assert message == f"{page} already exists; pass --overwrite to replace it"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "0 runs are given; accepted: two or more directories"),
        (("a",), "1 run is given; accepted: two or more directories"),
        (("a", "a"), "is given twice; accepted: different runs"),
        (("a", "nowhere"), "nowhere is no run directory: config.json: No such file"),
        (("a", "b", "--num=3"), "--num has no effect with a comparison without --out"),
        (("a", "b", "--run=c"), "--run has no effect with a comparison of the runs"),
        (("a", "b", "--out=c.png"), "--out=c.png; accepted: a .html"),
        (("a", "b", "--out=c.html", "--checkpoint=x"), "checkpoint = x; accepted: latest, best"),
    ],
)
def test_mistakes_are_reported_in_one_line(runs, flags, message):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    assert message in complaint(call(*flags, module=COMPARE, cwd=runs))
    assert sorted(p.name for p in runs.iterdir()) == ["a", "b"]
