"""``experiments.export`` as a person uses it."""

import sys

import pytest
from jax import export

from tests.experiments.program import call, complaint, succeeded
from tests.inference.untrained import make_run
from tests.training import tiny

EXPORT = "experiments.export"
pytest.importorskip("flatbuffers", reason="needs the extra export")
pytest.importorskip("safetensors", reason="needs the extra export")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = tiny.point_config()
    config.data.name = "digits"
    config.generator.mlp.output = "tanh"
    config.precision = "highest"
    return make_run(tmp_path_factory.mktemp("made") / "first", config).path


def test_files_and_a_card_are_written_once_unless_they_may_be_replaced(run, tmp_path):
    flags = (f"--run={run}", "--format=stablehlo,safetensors", "--out=out", "--platforms=cpu")
    before = sorted(run.rglob("*"))
    names = ["generator.stablehlo", "weights.safetensors", "MODEL_CARD.md"]
    ended = succeeded(call(*flags, "--license=CC0", module=EXPORT, cwd=tmp_path))
    assert ended.out == f"step 4 of {run}: {', '.join(names)} in out\n"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| licence | CC0 |" in card
    exported = export.deserialize(bytearray((tmp_path / "out" / names[0]).read_bytes()))
    assert "HIGHEST" in str(exported.mlir_module())
    assert "| `generator.stablehlo` | StableHLO for cpu, with the weights |" in card
    (tmp_path / "out" / names[1]).write_text("mine")
    (tmp_path / "out" / names[2]).unlink()
    message = complaint(call(*flags, module=EXPORT, cwd=tmp_path))
    assert message == "out/generator.stablehlo already exists; pass --overwrite to replace it"
    assert (tmp_path / "out" / names[1]).read_text() == "mine"
    assert not (tmp_path / "out" / names[2]).exists()
    succeeded(call(*flags, "--overwrite", module=EXPORT, cwd=tmp_path))
    assert "| licence | not stated |" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--out=out",),
            "--format is missing; give one of stablehlo, onnx, safetensors, or several",
        ),
        (("--format=safetensors",), "--out is missing; give a folder"),
        (
            ("--format=pickle", "--out=out"),
            "--format=pickle; accepted: stablehlo, onnx, safetensors, or",
        ),
        (("--format=", "--out=out"), "--format=; accepted: stablehlo"),
        (
            ("--format=stablehlo", "--platforms=cpu,npu", "--out=out"),
            "--platforms=cpu,npu; accepted: cpu, cuda, rocm, tpu, or several",
        ),
        (
            ("--format=safetensors", "--truncation=1", "--out=out"),
            "--truncation has no effect with --format=safetensors; accepted: none",
        ),
        (
            ("--format=stablehlo", "--truncation=1,2", "--out=out"),
            "--truncation=1,2; accepted: one number",
        ),
        (
            ("--format=stablehlo", "--sizes=batch=1", "--out=out"),
            "--sizes has no effect with --format=stablehlo; accepted: none",
        ),
        (
            ("--format=safetensors", "--batch_size=1", "--out=out"),
            "--batch_size has no effect with an export; accepted: none",
        ),
        (
            ("--format=safetensors", "--network=critic", "--out=out"),
            "--network = 'critic' is unknown; accepted: discriminator, generator",
        ),
        (("--format=safetensors", "--out=file"), "--out=file is a file; accepted: a folder"),
        (
            ("--format=safetensors", "--checkpoint=9", "--out=out"),
            "No checkpoint of step 9",
        ),
    ],
)
def test_mistakes_are_reported_in_one_line(run, flags, message, tmp_path):
    (tmp_path / "file").write_text("mine")
    ended = call(f"--run={run}", *flags, module=EXPORT, cwd=tmp_path)
    assert complaint(ended).startswith(message)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_onnx_names_its_extra_and_the_command_beside_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    flags = (f"--run={run}", "--format=onnx", "--out=out")
    message = complaint(call(*flags, module=EXPORT, cwd=tmp_path))
    assert message.startswith("--format=onnx needs jax2onnx")
    assert message.endswith(".[onnx]' && pip install --no-deps jax2onnx==0.17.1")


def test_an_onnx_model_is_written_with_its_card(run, tmp_path):
    pytest.importorskip("jax2onnx", reason="needs jax2onnx, see docs/export.md")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    flags = (f"--run={run}", "--format=onnx", "--sizes=batch=2", "--out=out")
    succeeded(call(*flags, module=EXPORT, cwd=tmp_path))
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| `z` | `float32 [2, 2]` |" in card
    assert '(made,) = session.run(None, {"z": z})' in card
    flags = (*flags[:2], "--sizes=depth=2", "--out=other")
    message = complaint(call(*flags, module=EXPORT, cwd=tmp_path))
    assert message.startswith("--sizes=depth=2; accepted: batch=1, height=1, width=1, samples=1")


@pytest.mark.parametrize(
    ("name", "package"), [("stablehlo", "flatbuffers"), ("safetensors", "safetensors")]
)
def test_without_its_package_the_extra_is_named(run, name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = complaint(
        call(f"--run={run}", f"--format={name}", "--out=out", module=EXPORT, cwd=tmp_path)
    )
    assert message == (
        f"--format={name} needs {package}, which is not installed: pip install -e '.[export]'"
    )
