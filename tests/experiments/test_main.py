"""``python -m experiments.main`` as a person runs it."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.experiments import program
from tests.experiments.program import MAIN, REPO, SAMPLE, call, complaint, succeeded

SMOKE = f"--config={REPO / 'configs/gan.py'}:smoke"
# Runs the program, and writes down which of these packages it has imported.
WATCHED = """
import atexit, pathlib, runpy, sys

def write():
    loaded = {name.split(".")[0] for name in sys.modules}
    slow = "tensorflow torch tensorflow_datasets grain sklearn pandas pyarrow ray matplotlib"
    unwanted = sorted(loaded & set(slow.split()))
    pathlib.Path("unwanted.txt").write_text(" ".join(unwanted))

atexit.register(write)
runpy.run_module("experiments.main", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """A finished run: its directory, and the program's output."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "watched.py").write_text(WATCHED)
    # JAX looks for every accelerator here, as on a user's machine, and must not warn about it.
    variables = {"JAX_PLATFORMS": None, "PYTHONPATH": f"{REPO}:{folder}"}
    ended = succeeded(run(SMOKE, module="watched", cwd=folder, **variables))
    (workdir,) = (folder / "runs").iterdir()
    return workdir, ended


def test_the_package_and_the_help_do_not_wait_for_jax():
    code = "import gan_jax, experiments.main, sys; print({'jax', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
def test_a_run_reports_what_it_does_and_leaves_its_artefacts(finished):
    workdir, ended = finished
    assert re.fullmatch(r"gan-digits-\d{8}-\d{6}", workdir.name)
    assert re.search(r"data +digits: 1,500 of 16x16x1", ended.out)
    assert re.search(r"step 4/4 .* img/s .* generator/loss", ended.out)
    assert ended.out.splitlines()[-1] == f"done at step 4: {workdir}"
    assert {path.name for path in workdir.iterdir()} >= {
        "checkpoints",
        "config.json",
        "data.json",
        "environment.json",
        "metrics.jsonl",
        "samples",
        "status.json",
        "tensorboard",
    }
    assert program.status(workdir)["state"] == "done"
    assert [row["step"] for row in program.metrics(workdir)] == [2, 4]
    assert program.checkpoints(workdir) == [2, 4]
    argv = json.loads((workdir / "environment.json").read_text())[0]["argv"]
    assert argv[1:] == [SMOKE]


def test_training_imports_neither_tensorflow_nor_pytorch(finished):
    assert (finished[0].parents[1] / "unwanted.txt").read_text() == ""


@pytest.mark.slow
def test_the_same_command_again_does_nothing(finished):
    workdir, _ = finished
    before = program.files(workdir)
    ended = succeeded(call(SMOKE, f"--workdir={workdir}"))
    assert ended.out.splitlines()[-1] == f"done at step 4: {workdir}"
    after = program.files(workdir)
    for path in before:
        if path.parts[0] in ("checkpoints", "samples", "config.json", "metrics.jsonl"):
            assert after[path] == before[path], path


def test_another_configuration_there_is_refused(finished):
    message = complaint(call(SMOKE, "--config.loss.name=hinge", f"--workdir={finished[0]}"))
    assert "loss.name: 'non_saturating' there, 'hinge' now" in message


def test_a_dry_run_shows_the_plan_and_leaves_nothing(tmp_path):
    ended = succeeded(call(SMOKE, "--dry_run", "--verbose", cwd=tmp_path))
    assert re.search(r"generator +MLPGenerator, [\d,]+ parameters", ended.out)
    assert re.search(r"memory +\d+ MiB per device", ended.out)
    assert re.search(r"Dense_0\.kernel +32x16 +512", ended.out)
    assert ended.out.splitlines()[-1] == "planned at step 0"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "names"), [(MAIN, ["[no]dry_run"]), (SAMPLE, ["run", "import", "truncation"])]
)
def test_help_lists_the_flags(module, names):
    ended = succeeded(call("--help", module=module))
    assert all(f"--{name}:" in ended.out for name in names), ended.out


@pytest.mark.slow
def test_a_closed_output_ends_the_program_silently():
    # As `... | head -0` does.
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", MAIN, SMOKE, "--describe"]
    options = {"cwd": REPO, "env": program.environment(), "timeout": program.LIMIT}
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, **options)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")
