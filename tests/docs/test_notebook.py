"""The notebook: it runs in Jupyter, with a run of a few steps, and shows pictures."""

import json
import re

import pytest

from tests.docs.test_pages import ROOT
from tests.experiments.program import environment

NOTEBOOK = ROOT / "notebooks" / "first_steps.ipynb"
SHORT = {"CONFIG": "wgan_gp:smoke", "STEPS": 4, "WORKDIR": "run"}


def test_nothing_of_a_run_is_stored():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    reason = "the notebook needs the extra notebook: pip install -e '.[notebook]'"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    assert all(f"{name} = " in parameters.source for name in SHORT)
    parameters.source = "\n".join(f"{name} = {value!r}" for name, value in SHORT.items())
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    nbclient.NotebookClient(
        notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    pictures = {
        name: sum("image/png" in o.get("data", {}) for o in outputs[name]) for name in outputs
    }
    assert {name: n for name, n in pictures.items() if n} == {"grids": 3, "samples": 1, "ways": 1}
    said = "".join(o.text for o in outputs["measured"] if o.output_type == "stream")
    assert "classifier_fid" in said
    assert re.search(r"n_fake +64", said)
    assert (tmp_path / "run" / "config.json").exists()
