"""Sweeps on a local Ray cluster: the real program, and the stand-in where faults are needed."""

import importlib.util
import json
import math
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
    # Ray starts its processes by forks, in which nothing of JAX runs.
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
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


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster on this machine that several sweeps share."""
    ray_tune()  # It sets what Ray reads at its import.
    from ray.cluster_utils import Cluster

    # Four runs at a time at most: more than the machine may have cores for.
    head = {"num_cpus": 4, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made.address
    made.shutdown()


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
    again = succeeded(program.call(*flags, module="experiments.sweep"))
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


@pytest.mark.parametrize(
    "stops",
    [
        [signal.SIGTERM],
        pytest.param([signal.SIGTERM, signal.SIGKILL], marks=pytest.mark.exhaustive),
    ],
)
def test_a_sweep_that_is_stopped_continues_repeats_nothing_and_retries_failures(
    stops, begin, folder, cluster
):
    runs = {
        "diverges": {"mode": "diverges"},
        "long": {"mode": "slow"},
        "worker_killed_once": {"mode": "worker_killed_once"},
        "fails": {"mode": "fails"},
    }
    late = list(runs)[2:]
    # An earlier attempt says nothing of these.
    row = {"started": "1", "pid": 7, "host": "a", "state": "failed", "reason": "an old one"}
    folder.attempts("worker_killed_once").parent.mkdir(parents=True)
    evaluations.append(folder.attempts("worker_killed_once"), row)
    for session, number in enumerate(stops, 1):
        # Ray ends a cluster of the sweep's own when the sweep is killed.
        address = None if number == signal.SIGKILL else cluster
        sweep = begin(runs=runs, num_parallel=1, address=address, environment={"PAUSE": "60"})
        wait_for(lambda session=session: len(steps(folder, "long")) == session)
        sweep.signal(number)
        ended = sweep.wait()
        # No process is left behind.
        wait_for(lambda: lock.holder(folder.run("long")) is None)
        assert steps(folder, "long") == list(range(1, session + 1))
        assert program.status(folder.run("long"))["state"] == "preempted"
        if number == signal.SIGKILL:
            assert ended.code == -number
        else:
            assert result(ended)["asked"] == number.name
        assert [starts(folder, name) for name in late] == [0, 0]

    ended = begin(runs=runs, address=cluster).wait()
    assert "an old one" not in ended.out
    assert "[3/4] worker_killed_once: its process was lost; retrying" in ended.out
    assert "[4/4] fails: the disk is full; retrying" in ended.out
    assert "[4/4] fails: failed: the disk is full" in ended.out
    states = {"diverges": "diverged", "fails": "failed"}
    assert result(ended) == {"states": dict.fromkeys(runs, "done") | states, "asked": None}
    assert {name: starts(folder, name) for name in runs} == {
        "diverges": 1,
        "long": 1 + len(stops),
        "worker_killed_once": 2,
        "fails": 2,
    }
    assert devices(folder, "fails") == ["cpu::"] * 2  # Without a GPU, JAX does not look for one.
    for name in ("long", "worker_killed_once"):
        assert steps(folder, name) == [1, 2, 3, 4]


def test_asha_continues_with_earlier_results_and_what_it_stops_saves(begin, folder, cluster):
    plan = {"method": "asha", "num_samples": 11}
    common = {"train.steps": 9, "pause": 0.6, "saving": 3.0}
    sweep = make_sweep(search=plan, **common)
    # Nine were finished, or stopped early, before the sweep was killed; the tenth is better, and
    # the eleventh, which the search suggests, is worse.
    rates = [0.01 + i / 1000 for i in range(9)] + [0.01]
    values = [{"rate": rate, "flip": True} for rate in rates]
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
    states = result(begin(search=plan, common=common, address=cluster).wait())["states"]
    last = "trial-0010"
    stopped = dict.fromkeys((runs[0].name, last), "stopped")
    assert states == {run.name: "done" for run in runs} | stopped
    assert abs(math.log10(folder.read().runs[-1].overrides["rate"]) + 2) > 0.1
    assert [starts(folder, name) for name in (runs[8].name, runs[9].name, last)] == [0, 1, 1]
    # It had saved before the sweep reported its end.
    assert program.status(folder.run(last))["state"] == "preempted"
    assert program.status(folder.run(last))["step"] < 9


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
