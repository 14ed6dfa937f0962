"""Tables and services beside ``metrics.jsonl``: what a resumed run adds, and what is refused."""

import csv
import importlib.util
import json
from unittest import mock

import numpy as np
import pytest

from gan_jax.errors import ConfigError, UnknownNameError
from gan_jax.report import writers
from gan_jax.report.writers.tracker import Tracker, settings_of
from tests.experiments import program

PICTURE = np.full((4, 6, 1), 200, np.uint8)


def record(workdir, steps, names, resume_step=None):
    """Record what a run does from ``resume_step`` on; one of its metrics begins at step 4."""
    writer = writers.make_writers(workdir, resume_step, names)
    for step in steps:
        later = {"ada/strength": step / 7} if step >= 4 else {}
        writer.scalars(step, {"generator/loss": 0.1 * step, **later}, kimg=step / 3)
        if step % 2 == 0:
            writer.image(step, "samples", PICTURE)
            writer.curves(step, {"eval/fid": 9.0 - step})
    writer.close()


# ------------------------------------------------------------------------------------------- csv


@pytest.mark.parametrize("killed", [3, 5])
def test_a_resumed_table_is_that_of_an_uninterrupted_run_bit_for_bit(tmp_path, killed):
    names = ("csv", "jsonl")
    record(tmp_path / "whole", range(1, 7), names)
    record(tmp_path / "parts", range(1, killed + 1), names)
    record(tmp_path / "parts", range(3, 7), names, resume_step=2)
    for name in ("metrics.csv", "metrics.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_table_has_the_numbers_of_the_rows_and_every_metric(tmp_path):
    record(tmp_path, range(1, 7), ("jsonl", "csv"))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["step", "kimg", "generator/loss", "ada/strength"]
    assert [row["step"] for row in table] == [*"123456"]
    assert [row["ada/strength"] for row in table[:3]] == [""] * 3
    for row, wanted in zip(table, writers.read_rows(tmp_path / "metrics.jsonl"), strict=True):
        assert {name: float(x) for name, x in row.items() if x} == wanted


def test_a_table_that_is_asked_for_later_has_the_earlier_rows(tmp_path):
    record(tmp_path, range(1, 4), ("jsonl",))
    record(tmp_path, range(4, 7), ("jsonl", "csv"), resume_step=3)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 7


def test_numbers_that_are_not_finite_are_read_by_spreadsheets_and_numpy(tmp_path):
    writer = writers.make_writers(tmp_path, None, ("jsonl", "csv"))
    writer.scalars(1, {"a": np.float32("nan"), "b": 2})
    writer.scalars(2, {"a": float("-inf"), "b": 3.5})
    writer.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,a,b\n1,nan,2.0\n2,-inf,3.5\n"


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("jsonl", "wanbd"), r"report\.writers = 'wanbd' is unknown; .* Did you mean \"wandb\"\?"),
        (("csv",), r"report\.writers = \('csv',\); accepted: 'jsonl' and others, since runs are"),
        (("jsonl", "csv", "csv"), r"report\.writers = .*; accepted: each writer once"),
        (("jsonl", "mlflow"), r"has 'mlflow', whose library .* '\.\[mlflow\]'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_run_starts(names, message, tmp_path):
    present = importlib.util.find_spec
    without = mock.patch.object(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else present(name)
    )
    with without, pytest.raises((ConfigError, UnknownNameError), match=message):
        writers.check(names)
    if "wanbd" in names:
        flag = f"--config.report.writers={names}"
        ended = program.call("--config=gan:smoke", flag, f"--workdir={tmp_path / 'run'}")
        assert "'wanbd' is unknown" in program.complaint(ended)
        assert not (tmp_path / "run").exists()


def test_known_writers_are_accepted():
    writers.check(writers.DEFAULT)
    writers.check(("csv", "tensorboard", "jsonl"))


@pytest.mark.slow
def test_a_run_writes_what_its_configuration_says(tmp_path):
    flag = "--config.report.writers=('csv', 'jsonl')"
    program.succeeded(program.call(*program.POINTS, flag, f"--workdir={tmp_path / 'run'}"))
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + len(program.metrics(tmp_path / "run")) == 3
    assert not (tmp_path / "run" / "tensorboard").exists()


# ---------------------------------------------------------------------------------------- services


class Service(Tracker):
    """A service that notes what it receives."""

    def __init__(self, workdir, received):
        super().__init__(workdir, "service")
        self.received = received
        self.keep(self.run_id or "first")

    def send_metrics(self, step, values):
        self.received.append((step, values))

    def send_image(self, step, name, image):
        self.received.append((step, name))


def test_a_resumed_run_sends_nothing_twice_and_leaves_nothing_out(tmp_path):
    received = []
    for last, first in ((5, 1), (6, 3)):  # Killed after step 5, resumed from step 2.
        service = Service(tmp_path, received)
        assert service.run_id == "first"
        for step in range(first, last + 1):
            service.scalars(step, {"loss": 1.0}, kimg=step / 2)
            if step != 5:
                service.curves(step, {"eval/fid": 2.0})
                service.image(step, "samples", PICTURE)
    metrics = [step for step, what in received if "loss" in what]
    assert metrics == [1, 2, 3, 4, 5, 6]
    assert (3, {"loss": 1.0, "kimg": 1.5}) in received
    assert [s for s, what in received if "eval/fid" in what] == [1, 2, 3, 4, 6]
    assert [s for s, what in received if what == "samples"] == [1, 2, 3, 4, 6]


def test_the_configuration_is_named_by_dotted_fields(tmp_path):
    assert settings_of(tmp_path) == {}
    config = {"train": {"steps": 4}, "variant": "gan"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert settings_of(tmp_path) == {"train.steps": 4, "variant": "gan"}


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed (extra mlflow)"
)
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_every_point_of_a_resumed_run_once(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps({"train": {"steps": 6}}))
    record(workdir, range(1, 6), ("jsonl", "mlflow"))
    record(workdir, range(3, 7), ("jsonl", "mlflow"), resume_step=2)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("gan_jax").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params == {"train.steps": "6"}
    for name, steps in (("generator/loss", range(1, 7)), ("ada/strength", (4, 5, 6))):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [
            *steps
        ]
    history = client.get_metric_history(run.info.run_id, "eval/fid")
    assert [(point.step, point.value) for point in history] == [(2, 7.0), (4, 5.0), (6, 3.0)]
    images = [path.name for path in (tmp_path / "mlruns").rglob("samples*.png")]
    assert len(images) == 3


@pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="W&B is not installed (extra wandb)"
)
@pytest.mark.filterwarnings("ignore")
def test_wandb_has_every_point_of_a_resumed_run_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps({"train": {"steps": 6}}))
    record(workdir, range(1, 6), ("jsonl", "wandb"))
    record(workdir, range(3, 7), ("jsonl", "wandb"), resume_step=2)
    files = sorted((workdir / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    name = json.loads((workdir / "wandb.json").read_text())["id"]
    assert [file.name for file in files] == [f"run-{name}.wandb"] * 2
    rows = [row for file in files for row in history(file)]
    assert [r["train_step"] for r in rows if "generator/loss" in r] == [1, 2, 3, 4, 5, 6]
    assert [(r["train_step"], r["eval/fid"]) for r in rows if "eval/fid" in r] == [
        (2, 7.0),
        (4, 5.0),
        (6, 3.0),
    ]
    assert [r["train_step"] for r in rows if "samples/path" in r] == [2, 4, 6]


def history(file):
    """Return the rows of an offline run of W&B, whose file is a log of LevelDB's format."""
    from wandb.proto import wandb_internal_pb2

    content, position, data, rows = file.read_bytes(), 7, b"", []
    while position + 7 <= len(content):
        left = 32768 - position % 32768  # Of this block: in its last six bytes nothing begins.
        if left < 7:
            position += left
            continue
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]  # 1: whole, 2: first, 3: middle, 4: last
        data += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            found, data = wandb_internal_pb2.Record.FromString(data), b""
            items = found.history.item  # Empty in records of other types.
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows
