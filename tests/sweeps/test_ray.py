"""Sweeps on a local Ray cluster: the real program, and the stand-in where faults are needed."""

import importlib.util
import json
import re
import signal
import time

import pytest

from gan_jax import errors
from gan_jax.report import evaluations, lock, status
from gan_jax.sweeps import record
from gan_jax.sweeps.definition import Run
from tests.experiments import program
from tests.experiments.program import REPO, succeeded
from tests.sweeps.conftest import PLAN, devices, make_sweep, starts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: sweep)"
    ),
]
TINY = REPO / "tests" / "sweeps" / "tiny_config.py"


def ray_tune():
    return pytest.importorskip("gan_jax.sweeps.ray_tune")


@pytest.fixture
def begin(folder, tmp_path):
    """Return a function that starts a sweep of the stand-in, which is ended with the test."""
    started = []

    def start(**settings):
        output = tmp_path / f"driver{len(started)}"
        output.mkdir()
        started.append(
            program.Program(output, folder.path, json.dumps(settings), module="tests.sweeps.driver")
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()


def result(ended):
    assert ended.code == 0, ended
    return json.loads(ended.out.splitlines()[-1])


def wait_for(condition):
    deadline = time.monotonic() + program.LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def steps(folder, name):
    return [row["step"] for row in evaluations.read(folder.run(name) / "eval.jsonl")]


def values_of(folder, name):
    return [row["fid"] for row in evaluations.read(folder.run(name) / "eval.jsonl")]


def test_a_sweep_as_its_user_runs_it(tmp_path):
    folder = record.Folder(tmp_path / "sweep")
    flags = (f"--config={TINY}", "--metric=modes", f"--workdir={folder.path}")
    (tmp_path / "one").mkdir()
    first = succeeded(program.run(tmp_path / "one", *flags, module="experiments.sweep"))
    lines = first.out.splitlines()
    losses = ("hinge", "minimax")
    for number, loss in enumerate(losses, 1):
        name = f"loss.name={loss}"
        assert f"[{number}/2] {name}: starts" in lines
        assert any(line.startswith(f"[{number}/2] {name}: done, modes ") for line in lines)
        assert program.status(folder.run(name))["state"] == "done"
        assert "done at step 4" in folder.log(name).read_text()
        config = json.loads((folder.run(name) / "config.json").read_text())
        assert config["loss"]["name"] == loss
    table = (folder.path / "summary.md").read_text()
    assert "| rank | run | modes |" in table
    assert all(f"| loss.name={loss} |" in table for loss in losses)

    before = program.files(folder.path / "runs")
    again = succeeded(program.run(tmp_path / "one", *flags, module="experiments.sweep"))
    assert "starts" not in again.out
    assert program.files(folder.path / "runs") == before


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "No Ray cluster: --address=127.0.0.1:9: "),
        ("ray://head:1", "--address=ray://head:1; accepted: auto, or host:port of Ray's"),
    ],
)
def test_an_address_without_a_cluster_is_reported(address, message, folder):
    sweep = make_sweep(lambda add: add("run"))
    with pytest.raises(errors.SweepError, match=re.escape(message)):
        ray_tune().run(sweep, folder, PLAN, address)


@pytest.mark.parametrize(
    ("nodes", "own", "message"),
    [
        ([{"CPU": 4.0, "GPU": 1.0}], False, ""),
        ([{"CPU": 4.0}, {"GPU": 1.0}], False, "no machine of the cluster has that now"),
        ([{"CPU": 1.0}], True, "--cpus-per-run=2; this machine has 0 GPUs and 1 CPUs"),
    ],
)
def test_runs_that_do_not_fit_wait_for_a_cluster_that_grows(
    nodes, own, message, monkeypatch, capsys
):
    alive = [{"Alive": True, "Resources": resources} for resources in nodes]
    monkeypatch.setattr(ray_tune().ray, "nodes", lambda: alive)
    if own:
        with pytest.raises(errors.SweepError, match=re.escape(message)):
            ray_tune()._check_resources(None, 2.0, own=True)
        return
    assert ray_tune()._check_resources(None, 2.0, own=False) == 1.0
    out = capsys.readouterr().out
    assert (message in out) if message else (out == "")


def test_failures_are_retried_and_reported(begin, folder):
    runs = {
        "good": {},
        "fails_once": {"mode": "fails_once"},
        "worker_killed_once": {"mode": "worker_killed_once"},
        "fails": {"mode": "fails"},
        "diverges": {"mode": "diverges"},
        "refused": {"mode": "refused"},
    }
    # An earlier attempt says nothing of these.
    row = {"started": "1", "pid": 7, "host": "a", "state": "failed", "reason": "an old one"}
    folder.attempts("worker_killed_once").parent.mkdir(parents=True)
    evaluations.append(folder.attempts("worker_killed_once"), row)
    ended = begin(runs=runs).wait()
    assert "an old one" not in ended.out
    assert "[3/6] worker_killed_once: its process was lost; retrying" in ended.out
    assert "[2/6] fails_once: the disk is full; retrying" in ended.out
    assert result(ended)["states"] == {
        "good": "done",
        "fails_once": "done",
        "worker_killed_once": "done",
        "fails": "failed",
        "diverges": "diverged",
        "refused": "failed",
    }
    assert {name: starts(folder, name) for name in runs} == {
        "good": 1,
        "fails_once": 2,
        "worker_killed_once": 2,
        "fails": 3,
        "diverges": 1,
        "refused": 1,
    }
    assert devices(folder, "good") == ["cpu::"]  # Without a GPU, JAX does not look for one.
    assert "[4/6] fails: failed: the disk is full" in ended.out
    for name in ("fails_once", "worker_killed_once"):
        assert steps(folder, name) == [1, 2, 3, 4]


def test_a_sweep_that_is_stopped_continues_and_repeats_nothing(begin, folder):
    runs = {"short": {"rate": 0.5}, "long": {"rate": 0.1, "pause": 5.0}, "late": {"rate": 0.2}}
    for session, number in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
        sweep = begin(runs=runs, num_parallel=1)
        wait_for(lambda session=session: starts(folder, "long") == session)
        wait_for(lambda: lock.holder(folder.run("long")) is not None)
        sweep.signal(number)
        ended = sweep.wait()
        # No process is left behind.
        wait_for(lambda: lock.holder(folder.run("long")) is None)
        assert len(steps(folder, "long")) < 4
        assert program.status(folder.run("long"))["state"] == "preempted"
        if number == signal.SIGKILL:
            assert ended.code == -number
        else:
            assert result(ended)["asked"] == number.name
        assert starts(folder, "late") == 0

    ended = begin(runs=runs, num_parallel=1).wait()
    assert result(ended) == {"states": dict.fromkeys(runs, "done"), "asked": None}
    assert {name: starts(folder, name) for name in runs} == {"short": 1, "long": 3, "late": 1}
    assert steps(folder, "long") == [1, 2, 3, 4]


def test_asha_stops_what_is_worse_and_they_save(begin, folder):
    plan = {"method": "asha", "num_samples": 8}
    common = {"train.steps": 9, "pause": 0.6}
    states = result(begin(search=plan, common=common).wait())["states"]
    assert len(states) == 8
    assert set(states.values()) == {"done", "stopped"}
    rates = {run.name: run.overrides["rate"] for run in folder.read().runs}
    best = min(values_of(folder, name)[-1] for name in states if states[name] == "done")
    for name in rates:
        now = program.status(folder.run(name))
        if states[name] == "stopped":
            assert (now["state"], starts(folder, name)) == ("preempted", 1)
            assert now["step"] < 9
            # After as many steps, the best one had been better.
            assert values_of(folder, name)[-1] > best
    assert all(starts(folder, name) == 1 for name in states)


@pytest.mark.exhaustive
def test_asha_continues_with_earlier_results_and_waits_for_runs_that_save(begin, folder):
    plan = {"method": "asha", "num_samples": 10}
    common = {"train.steps": 9, "pause": 1.0, "saving": 15.0}
    sweep = make_sweep(search=plan, **common)
    # Nine were finished, or stopped early, before the sweep was killed; the tenth is far worse.
    values = [{"rate": 0.01 + i / 1000, "flip": True} for i in range(9)] + [{"rate": 1.0}]
    runs = [Run(f"trial-{i:04d}", f"trial-{i:04d}", v) for i, v in enumerate(values)]
    sweep = sweep.adding(runs).stopping(runs[0].name)
    folder.path.mkdir()
    folder.write(sweep)
    for run in runs[:9]:
        folder.run(run.name).mkdir(parents=True)
        for step in range(1, 4 if run is runs[0] else 10):
            row = {"step": step, "fid": 0.1 + 1 / step, "protocol": {"n_fake": 8}}
            evaluations.append(folder.run(run.name) / "eval.jsonl", row)
        if run is not runs[0]:
            status.Status(folder.run(run.name)).write("done", "", 9, 9)
    states = result(begin(search=plan, common=common).wait())["states"]
    stopped = dict.fromkeys((runs[0].name, runs[9].name), "stopped")
    assert states == {run.name: "done" for run in runs} | stopped
    # It had saved before the sweep reported its end.
    assert program.status(folder.run(runs[9].name))["state"] == "preempted"
    assert program.status(folder.run(runs[9].name))["step"] < 9


@pytest.mark.exhaustive
def test_machines_are_shared_and_a_lost_one_costs_no_run(begin, folder):
    runs = {name: {"rate": rate} for name, rate in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    common = {"pause": 1.0, "train.steps": 8}
    ended = begin(runs=runs, common=common, cluster=True, gpus=1.0, num_parallel=None).wait()
    assert result(ended)["states"] == dict.fromkeys(runs, "done")
    message = [devices(folder, name) for name in runs]
    # Each had a GPU of its own; the one whose machine was lost went on elsewhere.
    assert sorted(map(len, message)) == [1, 1, 2]
    stayed = [one[0] for one in message if len(one) == 1]
    assert sorted(line.split(":")[1] for line in stayed) == ["0", "1"]
    assert all(steps(folder, name) == list(range(1, 9)) for name in runs)
