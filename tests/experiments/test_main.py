"""``python -m experiments.main`` and ``experiments.sample`` as a person runs them."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.experiments import program
from tests.experiments.program import MAIN, REPO, SAMPLE, call, complaint, succeeded

SMOKE = "--config=configs/gan.py:smoke"


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """A finished run: its directory, and what the program said."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    # JAX looks for every accelerator here, as on a user's machine, and shall be quiet about it.
    return workdir, succeeded(run(SMOKE, f"--workdir={workdir}", JAX_PLATFORMS=None))


def test_a_run_says_what_it_does_and_leaves_its_artefacts(finished):
    workdir, ended = finished
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
    assert argv[1:] == [SMOKE, f"--workdir={workdir}"]


def test_the_same_command_again_does_nothing(finished, run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    before = program.files(workdir)
    ended = succeeded(run(SMOKE, f"--workdir={workdir}"))
    assert ended.out.splitlines()[-1] == f"done at step 4: {workdir}"
    after = program.files(workdir)
    for path in before:
        if path.parts[0] in ("checkpoints", "samples", "config.json", "metrics.jsonl"):
            assert after[path] == before[path], path


def test_another_configuration_there_is_refused(finished):
    message = complaint(call(SMOKE, "--config.loss.name=hinge", f"--workdir={finished[0]}"))
    assert "loss.name: 'non_saturating' there, 'hinge' now" in message


def test_a_run_is_named_after_what_it_is_and_when(run, tmp_path):
    config = REPO / "configs/gan.py"
    ended = succeeded(run(f"--config={config}:smoke", "--config.train.steps=2", cwd=tmp_path))
    (workdir,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"gan-digits-\d{8}-\d{6}", workdir.name)
    assert ended.out.splitlines()[-1].endswith(f"{workdir.name}")


def test_a_dry_run_shows_the_plan_and_leaves_nothing(tmp_path):
    config = REPO / "configs/gan.py"
    ended = succeeded(call(f"--config={config}:smoke", "--dry_run", cwd=tmp_path))
    assert re.search(r"generator +MLPGenerator, [\d,]+ parameters", ended.out)
    assert re.search(r"memory +\d+ MiB per device", ended.out)
    assert re.search(r"Dense_0\.kernel +100x16 +1,600", ended.out)
    assert ended.out.splitlines()[-1] == "planned at step 0"
    assert list(tmp_path.iterdir()) == []


def test_samples_come_from_a_run_that_was_moved(finished, run, tmp_path):
    moved = tmp_path / "elsewhere" / "kept"
    shutil.copytree(finished[0], moved)
    shutil.move(moved, tmp_path / "moved")

    def sample(*flags):
        succeeded(run("--run=moved", *flags, module=SAMPLE, cwd=tmp_path))

    sample("--num=16")
    (default,) = (tmp_path / "moved").glob("*.png")
    assert default.name == "sample-step00000004-seed0.png"
    with Image.open(default) as picture:
        pixels = np.asarray(picture)
    # 16 tiles of 16x16 magnified to 32, in a square with lines of 2.
    assert pixels.shape[:2] == (4 * 34 + 2, 4 * 34 + 2)
    assert pixels.std() > 10
    sample("--num=16", "--seed=1", "--raw", "--out=other.png")
    with Image.open(tmp_path / "other.png") as picture:
        assert not np.array_equal(np.asarray(picture), pixels)


def test_a_label_is_refused_for_a_run_without_classes(finished):
    message = complaint(call(f"--run={finished[0]}", "--label=3", module=SAMPLE))
    assert message.startswith("label = 3, but 'gan' is not class-conditional")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), r"--run is missing; give a run directory"),
        (("--run=nowhere",), r".*/nowhere is no run directory: config.json: No such file"),
        (("--run=nowhere", "--num=0"), r"flag --num=0: .*positive"),
        (("--run=nowhere", "--rwa"), r"Unknown command line flag 'rwa'\. Did you mean: raw"),
    ],
)
def test_a_mistake_in_sampling_is_told_in_one_line(flags, message, tmp_path):
    assert re.match(message, complaint(call(*flags, module=SAMPLE, cwd=tmp_path)))


@pytest.mark.parametrize("module", [MAIN, SAMPLE])
def test_help_lists_the_flags(module):
    ended = succeeded(call("--help", module=module))
    assert "--[no]dry_run" in ended.out or "--[no]raw" in ended.out


def test_training_imports_neither_tensorflow_nor_pytorch(run, tmp_path):
    code = "\n".join(
        [
            "import sys",
            "from absl import app",
            "from experiments import command_line, main",
            "import gan_jax.runs.loop",
            "try:",
            "    command_line.run(main._main)",
            "finally:",
            "    loaded = {name.split('.')[0] for name in sys.modules}",
            "    print(sorted(loaded & {'tensorflow', 'torch', 'tensorflow_datasets'}))",
        ]
    )
    (tmp_path / "watched.py").write_text(code)
    flags = (*program.POINTS, f"--workdir={tmp_path / 'run'}")
    path = f"{REPO}:{tmp_path}"
    ended = succeeded(run(*flags, module="watched", PYTHONPATH=path))
    assert ended.out.splitlines()[-2:] == [f"done at step 4: {tmp_path / 'run'}", "[]"]
