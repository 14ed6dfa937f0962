"""``python -m experiments.sweep`` as a person starts it, without Ray."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from gan_jax.sweeps import record
from tests.experiments import program
from tests.experiments.program import REPO, complaint, succeeded
from tests.sweeps.conftest import CONFIG, make_sweep

SWEEP = "experiments.sweep"
TINY = REPO / "tests" / "sweeps" / "tiny_config.py"


@pytest.fixture
def sweep(tmp_path):
    """Return a function that runs the program in a workdir."""

    def to_end(*args, config=CONFIG):
        flags = () if config is None else (f"--config={config}",)
        return program.call(*flags, f"--workdir={tmp_path / 'sweep'}", *args, module=SWEEP)

    return to_end


def test_a_dry_run_lists_the_runs_and_writes_nothing(sweep, tmp_path):
    out = succeeded(sweep("--dry-run", "--config.train.steps=7", "--config.policy=('a','b')")).out
    lines = out.splitlines()
    assert lines[3:6] == [
        "1 rate=0.1_seed=1 (waiting)",
        "    --config.rate=0.1 --config.train.seed=1",
        f"    {tmp_path / 'sweep' / 'runs' / 'rate=0.1_seed=1'}",
    ]
    assert lines[-2:] == [
        f"4 runs of {CONFIG}",
        "all with --config.train.steps=7 --config.policy=('a', 'b')",
    ]
    assert not (tmp_path / "sweep").exists()


def test_a_dry_run_of_a_search_shows_what_it_may_try(sweep, tmp_path):
    out = succeeded(
        sweep("--dry-run", "--search=random", "--metric=fid", "--num-samples=5", "--seeds=2")
    ).out
    assert out.splitlines() == [
        "rate: log_uniform 0.0001, 1.0",
        "flip: choice True, False",
        f"5 trials of {CONFIG} by random, 2 runs each; 0 runs so far",
    ]
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search=tp"], "--search = 'tp' is unknown; accepted: asha, grid, random, tpe. Did you"),
        (["--num-samples=3"], "--num-samples=3 is for --search=random, tpe or asha"),
        (["--metric=fidd"], "--metric has 'fidd'; accepted: fid"),
        (["--search=random"], "--search=random needs --metric"),
        (
            ["--search=asha", "--metric=fid", "--config.eval.every=0"],
            "--search=asha needs evaluations, but config.eval.every = 0",
        ),
        (
            ["--search=asha", "--metric=fid", "--config.eval.every=4"],
            "stops runs at their evaluations, but config.eval.every = 4 of config.train.steps = 4",
        ),
        (
            ["--search=random", "--metric=kid", "--config.eval.metrics=('fid',)"],
            "--metric=kid is not measured: config.eval.metrics = ('fid',)",
        ),
        (["--search=asha", "--metric=fid", "--seeds=2"], "--seeds=2 with --search=asha"),
        (["--config.rate=2.0"], "rate is set for all runs by --config.rate, and by the sweep"),
        (["--config.rat=2.0"], '--config.rat is no field. Did you mean "rate"?'),
        (["--gpus-per-run=1.5"], "--gpus-per-run=1.5; accepted: a fraction below 1, or an integer"),
        (["--retries=-1"], "flag --retries=-1: -1 is not a non-negative integer"),
    ],
)
def test_a_mistake_is_reported_in_one_line_before_anything_starts(flags, message, sweep, tmp_path):
    assert message in complaint(sweep(*flags))
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ('space.choice("eval.every", (1, 2))', "search: eval.every is part of the protocol"),
        ('space.integers("train.steps", 4, 9)', "search: train.steps with --search=asha"),
        ('space.uniform("rat", 0.0, 1.0)', 'search: rat is not a field. Did you mean "rate"?'),
    ],
)
def test_what_cannot_be_searched_is_reported(space, message, sweep, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        f"from tests.sweeps.fake_config import get_config\n\ndef search(space):\n    {space}\n"
    )
    assert message in complaint(sweep("--search=asha", "--metric=fid", config=config))
    assert not (tmp_path / "sweep").exists()


def test_a_search_goes_on_only_with_what_is_measured_alike(sweep, tmp_path):
    flags = ("--dry-run", "--search=random", "--metric=fid")
    folder = record.Folder(tmp_path / "sweep")
    with folder.claim():
        folder.write(make_sweep(search={"method": "random", "num_samples": 20}))
    succeeded(sweep(*flags, "--config.train.log_every=2"))
    message = complaint(sweep(*flags, "--config.eval.every=2"))
    assert "eval.every: 1 there, 2 now" in message


@pytest.mark.parametrize("flag", ["--summarize", "--only=0"])
def test_without_a_sweep_there_is_nothing_to_show(flag, sweep, tmp_path):
    message = complaint(sweep(flag, config=None))
    assert message == f"--workdir={tmp_path / 'sweep'} holds no sweep: it has no sweep.json"
    assert not (tmp_path / "sweep").exists()


def test_without_ray_the_extra_is_named(sweep, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    # Another test may have imported it with Ray.
    monkeypatch.delitem(sys.modules, "gan_jax.sweeps.ray_tune", raising=False)
    monkeypatch.delattr("gan_jax.sweeps.ray_tune", raising=False)
    message = complaint(sweep())
    assert message.startswith("Sweeps run on Ray, which is missing; install it with: pip install")
    assert not (tmp_path / "sweep").exists()
    # All else works without it.
    succeeded(sweep("--dry-run"))


def test_a_vanished_run_is_reported_and_another_config_refused(sweep, tmp_path):
    script = f"--slurm={tmp_path / 'a.sh'}"
    succeeded(sweep(script))
    content = CONFIG.read_text()
    changed = tmp_path / CONFIG.name
    changed.write_text(content.replace("(0.1, 0.01)", "(0.1, 0.2)"))
    out = succeeded(sweep(script, config=changed)).out
    assert "new in this sweep: rate=0.2_seed=0, rate=0.2_seed=1" in out
    assert "no longer defined, so not run: rate=0.01_seed=0, rate=0.01_seed=1" in out
    assert "--array=0-1,4-5" in (tmp_path / "a.sh").read_text()
    message = complaint(sweep(script, "--config.mode=fails", config=changed))
    assert "mode: 'good' there, 'fails' now" in message


@pytest.mark.slow
def test_slurm_s_array_runs_continues_and_repeats_nothing(sweep, tmp_path):
    script = tmp_path / "a.sh"
    folder = record.Folder(tmp_path / "sweep")
    out = succeeded(sweep(f"--slurm={script}", "--seeds=1", config=TINY)).out
    assert f"2 runs: sbatch {script}" in out

    env = program.environment(SLURM_ARRAY_TASK_ID="1")
    ran = subprocess.run(["bash", script], env=env, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "loss.name=minimax_seed=0: done"
    first = program.status(folder.run("loss.name=minimax_seed=0"))
    assert first["state"] == "done"
    succeeded(sweep("--only=1", config=None))
    assert program.status(folder.run("loss.name=minimax_seed=0")) == first
    message = complaint(sweep("--only=2", config=None))
    assert message == "--only=2; accepted: 0 to 1, of the sweep's runs"

    message = succeeded(sweep("--summarize", config=None)).out
    assert "1 of 2 runs have not been started." in message
    assert "modes" in message
    assert "loss.name=minimax" in (folder.path / "summary.md").read_text()


@pytest.mark.slow
def test_slurm_s_notice_has_the_run_save(sweep, tmp_path):
    long = ("--config.train.steps=1000000", "--config.eval.every=0")
    succeeded(sweep(f"--slurm={tmp_path / 'a.sh'}", "--seeds=1", *long, config=TINY))
    folder = record.Folder(tmp_path / "sweep")
    (tmp_path / "task").mkdir()
    one = program.Program(
        tmp_path / "task", f"--workdir={folder.path}", "--only=0", module="experiments.sweep"
    )
    try:
        log = folder.log("loss.name=hinge_seed=0")
        deadline = time.monotonic() + program.LIMIT
        while not (log.exists() and re.search(r"step +4/", log.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        one.signal(signal.SIGTERM)
        message = complaint(one.wait())
    finally:
        one.kill()
    assert message == "loss.name=hinge_seed=0 is preempted: SIGTERM; the same command resumes it"
    now = json.loads((folder.run("loss.name=hinge_seed=0") / "status.json").read_text())
    assert now["state"] == "preempted"
    assert program.checkpoints(folder.run("loss.name=hinge_seed=0"))[-1] == now["step"]
