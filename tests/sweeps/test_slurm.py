"""The array script: what it asks SLURM for, and that a shell can run it."""

import shutil
import subprocess
import sys

import pytest

from gan_jax import errors
from gan_jax.sweeps import execution, record, slurm
from tests.experiments.program import environment
from tests.sweeps.conftest import make_sweep


def script(folder, sweep=None, **settings):
    sweep = sweep or make_sweep(lambda add: [add(f"r{i}", rate=i + 2.0) for i in range(5)])
    program = [sys.executable, "-c", "import os, sys; print(os.getcwd(), *sys.argv[1:])"]
    return slurm.script(sweep, folder, execution.Plan(program, {"A": "b c"}, **settings))


def directives(text):
    return [ln.removeprefix("#SBATCH ") for ln in text.splitlines() if ln.startswith("#SBATCH")]


def test_what_slurm_is_asked_for(folder):
    text = script(folder, num_parallel=2, gpus=1.0, cpus=4.0)
    assert directives(text) == [
        "--job-name=sweep-sweep",
        "--array=0-4%2",
        f"--output={folder.path}/logs/slurm-%A_%a.txt",
        "--signal=B:TERM@120",
        "--requeue",
        "--gpus=1",
        "--cpus-per-task=4",
    ]


def test_runs_that_are_no_longer_defined_are_left_out(folder):
    old = make_sweep(lambda add: [add(f"r{i}", rate=i + 2.0) for i in range(5)])
    new = make_sweep(lambda add: [add(f"r{i}", rate=i + 2.0) for i in (0, 1, 3, 4)])
    sweep, _, _ = record.merge(old, new)
    assert "--array=0-1,3-4" in directives(script(folder, sweep))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_shell_runs_a_task(folder, tmp_path):
    file = tmp_path / "a.sh"
    file.write_text(script(folder))
    assert subprocess.run(["bash", "-n", file]).returncode == 0
    ran = subprocess.run(
        ["bash", file], env=environment(SLURM_ARRAY_TASK_ID="3"), capture_output=True, text=True
    )
    cwd, *arguments = ran.stdout.split()
    assert cwd == make_sweep(lambda add: add("a")).cwd
    assert arguments == [f"--workdir={folder.path}", "--retries=2", "--only=3"]
    # Outside an array nothing is run.
    ran = subprocess.run(["bash", file], env=environment(), capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "SLURM_ARRAY_TASK_ID" in ran.stderr


def test_slurm_finds_the_folder_of_its_logs_whatever_its_name(tmp_path):
    folder = record.Folder(tmp_path / "it's 5%j")
    logs = f"{tmp_path}/it's 5%%j/logs/slurm-%A_%a.txt"
    assert f'--output="{logs}"' in directives(script(folder))


def test_a_fraction_of_a_gpu_is_refused(folder):
    with pytest.raises(errors.SweepError, match=r"--gpus-per-run=0\.5 with --slurm; .* integers"):
        script(folder, gpus=0.5)


def test_a_search_has_no_array(folder):
    sweep = make_sweep(search={"method": "tpe", "num_samples": 2})
    with pytest.raises(errors.SweepError, match=r"--slurm with --search=tpe; accepted: grid"):
        script(folder, sweep)
