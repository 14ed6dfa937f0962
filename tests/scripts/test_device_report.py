"""The device report: rows of a stage that fails or runs out of time are kept, the next one runs."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scripts import device_report, kernels, train_steps


def report_of(tmp_path, stages, seconds=60.0):
    device_report.run(device_report.Context(tmp_path, tiny=True), stages, seconds)
    return json.loads((tmp_path / "report.json").read_text())


def test_smoke_a_failing_stage_is_recorded_and_the_next_one_runs(tmp_path):
    def broken(context):
        yield {"rows": "before the error"}
        raise RuntimeError("no such kernel")

    stages = {"broken": (1.0, broken)}
    stages |= {name: device_report.STAGES[name] for name in ("matmul", "memory")}
    report = report_of(tmp_path, stages)
    assert set(report) == {"machine", "date", "command", "tiny", "stages"}
    found = report["stages"]
    assert {name: entry["state"] for name, entry in found.items()} == {
        "broken": "failed",
        "matmul": "done",
        "memory": "skipped",
    }
    assert found["broken"]["error"] == "RuntimeError: no such kernel"
    assert found["broken"]["rows"] == [{"rows": "before the error"}]
    assert [row["product"] for row in found["matmul"]["rows"]] == [
        "256^3 bfloat16",
        "256^3 float32 (TF32)",
    ]
    text = (tmp_path / "report.md").read_text()
    assert "## broken: failed" in text
    assert "| 256^3 bfloat16 " in text


def test_a_stage_that_runs_out_of_time_keeps_its_rows(tmp_path):
    def endless(context):
        yield {"row": 1}
        time.sleep(60)

    def quick(context):
        yield {"row": 2}

    report = report_of(tmp_path, {"endless": (1.0, endless), "quick": (1.0, quick)}, seconds=1.0)
    assert report["stages"]["endless"]["state"] == "out of time"
    assert report["stages"]["endless"]["rows"] == [{"row": 1}]
    assert report["stages"]["quick"]["state"] == "done"


@pytest.mark.slow
def test_training_leaves_its_samples(tmp_path):
    out = tmp_path / "out"
    device_report.main([f"--out={out}", "--tiny", "--stages=train", "--minutes=5"])
    stage = json.loads((out / "report.json").read_text())["stages"]["train"]
    (row,) = stage["rows"]
    assert (stage["state"], row["exit status"]) == ("done", 0), row["last lines"]
    assert row["grid"] == "00000004.png"
    assert (out / "samples_gan.png").exists()


def test_unknown_stages_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        device_report.main([f"--out={tmp_path}", "--stages=matmul,trian"])
    assert "'trian'; accepted: matmul, step" in capsys.readouterr().err


def test_operations_are_counted_through_loops_and_gradients():
    x, w = np.ones((2, 8, 8, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)

    def convolved(w):
        y = jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(y**2)

    forward = 2 * (2 * 8 * 8 * 4) * (3 * 3 * 3)
    assert train_steps.operations(convolved, w) == forward
    assert train_steps.operations(jax.grad(convolved), w) == 2 * forward

    def repeated(a):
        return jax.lax.scan(lambda carry, _: (carry @ a, None), a, length=5)[0]

    assert train_steps.operations(repeated, np.ones((4, 4), np.float32)) == 5 * 2 * 4**3


def test_gaps_are_between_kernels_of_all_streams():
    found = [
        kernels.Kernel("a", 0, 10),
        kernels.Kernel("b", 5, 10),
        kernels.Kernel("c", 6, 2),
        kernels.Kernel("d", 20, 5),
    ]
    assert kernels.gaps(found) == (20, [(5, "b", "d")])
    summary, kind, longest, *_ = kernels.rows("a step", found, steps=5)
    assert summary["ms busy"] == pytest.approx(20e-6 / 5)
    assert summary["gap list"] == [{"gap": "b -> d", "ms": pytest.approx(5e-6 / 5), "count": 1 / 5}]
    assert kind == {"kind of kernel": "other", "ms": pytest.approx(27e-6 / 5), "count": 4 / 5}
    assert (longest["kernel"], longest["share of busy"]) == ("a", 0.5)
