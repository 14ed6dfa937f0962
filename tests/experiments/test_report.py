"""``experiments.report`` as a person uses it; its pages: tests/pages/test_report.py."""

import json
import sys

import pytest

from configs import pix2pix
from gan_jax.data import spec as specs
from tests.experiments.program import call, complaint, succeeded
from tests.inference.untrained import STEP, make_run
from tests.pages.directories import config, losses, make

REPORT = "experiments.report"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "run", losses(3))


def test_a_report_is_written_once_unless_it_may_be_replaced(made, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    options = {"module": REPORT, "cwd": tmp_path}
    before = sorted(made.rglob("*"))
    ended = succeeded(call(f"--run={made}", **options))
    assert ended.out == f"report of {made}: report.html\n"
    page = tmp_path / "report.html"
    assert "<h1>run</h1>" in page.read_text()
    page.write_text("mine")
    message = complaint(call(f"--run={made}", **options))
    assert message == "report.html already exists; pass --overwrite to replace it"
    assert page.read_text() == "mine"
    succeeded(call(f"--run={made}", "--overwrite", **options))
    assert "<h1>run</h1>" in page.read_text()
    assert sorted(made.rglob("*")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_page_of_raw_weights_says_so(tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    small = {"generator__mlp__features": (8,), "discriminator__mlp__features": (4,)}
    run = make_run(tmp_path / "run", config(generator__latent_dim=3, **small))
    flags = ("--samples=2", "--neighbours=1", "--raw")
    succeeded(call(f"--run={run.path}", *flags, module=REPORT, cwd=tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert f"2 samples of step {STEP}, seed 0, raw weights." in page
    assert f'alt="step {STEP}, seed 0, raw weights"' in page


def test_without_its_packages_the_extra_is_named(made, tmp_path, monkeypatch):
    for name in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    message = complaint(call(f"--run={made}", module=REPORT, cwd=tmp_path))
    assert message.startswith("report.html needs jinja2 and matplotlib, which are not installed")
    assert message.endswith("not installed: pip install -e '.[report]'")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--run is missing; give a run directory"),
        (("--run=nowhere",), "nowhere is no run directory: config.json: No such file"),
        (("--run=nowhere", "--out=a.pdf"), "--out=a.pdf; accepted: a .html"),
        (
            ("--run=nowhere", "--checkpoint=best"),
            "--checkpoint has no effect with a report without --n",
        ),
    ],
)
def test_mistakes_are_reported_in_one_line(flags, message, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    assert message in complaint(call(*flags, module=REPORT, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


def test_replicas_have_reports_of_their_own(tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    path = make(tmp_path / "two", settings=config(train__replicas=2))
    message = complaint(call(f"--run={path}", module=REPORT, cwd=tmp_path))
    assert "holds 2 replicas; accepted: the directory of one of them" in message


def test_a_run_that_translates_has_no_samples_to_show(tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    path = make(tmp_path / "run", settings=pix2pix.get_config("smoke"))
    record = json.loads((path / "data.json").read_text())
    record["spec"] = specs.to_json(specs.images((32, 32, 3)))
    (path / "data.json").write_text(json.dumps(record))
    message = complaint(call(f"--run={path}", "--samples=4", module=REPORT, cwd=tmp_path))
    assert message.startswith("--samples is for runs that make samples from noise; this one trans")
