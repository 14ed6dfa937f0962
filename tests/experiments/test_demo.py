"""``experiments.demo`` as a person uses it; its pages and answers: tests/pages."""

import json
import signal
import socket
import sys
import urllib.request

import pytest

from configs import gan, predict
from gan_jax.data import spec as specs
from tests.experiments.program import call, complaint
from tests.inference.untrained import make_run
from tests.pages.directories import make

DEMO = "experiments.demo"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made") / "run", gan.get_config("smoke")).path


@pytest.mark.slow
def test_a_demo_is_served_until_ctrl_c(made, start):
    pytest.importorskip("jinja2")
    before = sorted(made.rglob("*"))
    program = start(f"--run={made}", "--port=0", module=DEMO)
    assert program.wait_for("Ctrl-C ends it")
    url = program.output.split(f"the demo of {made}: ")[1].split()[0]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url) as page:
        assert b"<h1>run</h1>" in page.read()
    with urllib.request.urlopen(f"{url}answer?num=2", data=b"") as answer:
        assert answer.read().count(b"data:image/png;base64,") == 2
    program.signal(signal.SIGINT)
    ended = program.wait()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("compiling gan ...\n")
    assert ended.out.endswith("\nended\n")
    assert sorted(made.rglob("*")) == before


def test_without_its_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    message = complaint(call("--run=nowhere", module=DEMO, cwd=tmp_path))
    assert message == "the demo needs jinja2, which is not installed: pip install -e '.[demo]'"


def test_mistakes_are_reported_before_anything_is_compiled(made, tmp_path):
    pytest.importorskip("jinja2")

    def refused(*flags):
        return complaint(call(*flags, module=DEMO, cwd=tmp_path))

    assert refused() == "--run is missing; give a run directory"
    assert "nowhere is no run directory" in refused("--run=nowhere")
    assert "--port" in refused(f"--run={made}", "--port=65536")
    path = make(tmp_path / "clips", settings=predict.get_config("smoke"))
    record = json.loads((path / "data.json").read_text())
    record["spec"] = specs.to_json({"video": specs.Field("video", (8, 16, 16, 1), "uint8")})
    (path / "data.json").write_text(json.dumps(record))
    assert "clips predicts videos, which have no demo: see python" in refused(f"--run={path}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(f"--run={made}", f"--port={port}")
    assert message.startswith(f"--host=127.0.0.1 --port={port}: Address already in use; accepted")
