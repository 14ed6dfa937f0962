"""The converter of Inception weights, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.metrics import inception
from scripts import convert_inception
from tests.metrics import fidelity
from tests.real_data import find

REPOSITORY = Path(__file__).resolve().parents[2]
TENSORFLOW = "inception-2015-12-05_to_mixed_7.npz"


@pytest.fixture(scope="module")
def state():
    pytest.importorskip("torch", reason="PyTorch reads state dicts (extra: parity)")
    return fidelity.random_state()


def saved(state, path, **options):
    import torch

    torch.save(state, path, **options)
    return path


def refused(file, out, capsys):
    """Run the script; return the one line by which it refuses, having written nothing."""
    out.write_bytes(b"as it was")
    assert convert_inception.main([str(file), f"--out={out}"]) == 1
    assert out.read_bytes() == b"as it was"
    assert [path.name for path in out.parent.glob(".*")] == []
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"{file} cannot be converted: ")
    return line


@pytest.mark.slow
def test_tensorflow_file_in_a_process_of_its_own(tmp_path):
    file = find(TENSORFLOW)
    run = subprocess.run(
        [sys.executable, "-m", "scripts.convert_inception", file],
        cwd=REPOSITORY,
        env={"GAN_JAX_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    path = tmp_path / "inception-2015-12-05.npz"
    weights = inception.load_weights(path)
    digits = inception.weights_hash(weights)
    assert run.stdout == f"{path} is ready: layers 64, 192, 768; hash {digits}\n"
    # Every array arrived, each once: the two archives hold the same numbers.
    with np.load(file) as archive:
        theirs = sorted(archive[name].tobytes() for name in archive.files)
    assert sorted(value.tobytes() for value in weights.values()) == theirs


@pytest.mark.slow
@pytest.mark.parametrize("legacy", [False, True])
def test_state_dict(tmp_path, capsys, state, legacy):
    file = saved(state, tmp_path / "state.pth", _use_new_zipfile_serialization=not legacy)
    out = tmp_path / "out.npz"
    assert convert_inception.main([str(file), f"--out={out}"]) == 0
    weights = inception.load_weights(out)
    assert capsys.readouterr().out == (
        f"{out} is ready: layers 64, 192, 768, 2048, logits_unbiased, logits; "
        f"hash {inception.weights_hash(weights)}\n"
    )
    # The fold, by its definition, at one convolution: both compute the same of any input.
    name = "Mixed_6c.branch7x7_2"
    kernel, gain, shift, mean, variance = (
        state[f"{name}.{part}"].numpy().astype(np.float64)
        for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    )
    x = np.random.default_rng(0).normal(size=kernel[0].size)
    plain = kernel.reshape(len(kernel), -1) @ x
    normalised = (plain - mean) / np.sqrt(variance + 0.001) * gain + shift
    folded = weights[f"{name}/kernel"].transpose(3, 2, 0, 1).reshape(len(kernel), -1) @ x
    np.testing.assert_allclose(folded + weights[f"{name}/bias"], normalised, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(weights["fc/kernel"], state["fc.weight"].numpy().T)


BN = "Mixed_7c.branch_pool.bn"


def one_convolution(**changes):
    """Return the state of one convolution and the last layer, with tensors replaced or removed."""
    state = {f"{BN}.{part}": np.ones(4) for part in ("weight", "bias", "running_mean")}
    state |= {f"{BN}.running_var": np.ones(4), "fc.weight": np.ones((3, 4)), "fc.bias": np.ones(3)}
    state |= {f"{BN.removesuffix('.bn')}.conv.weight": np.ones((4, 2, 1, 1))}
    return {name: value for name, value in {**state, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{BN}.running_var", None, f"'{BN}.running_var' is missing"),
        (f"{BN}.running_var", -np.ones(4), f"'{BN}.running_var' has negative entries"),
        (f"{BN}.bias", np.ones(5), "tensors of 'Mixed_7c.branch_pool' do not fit"),
        ("fc.weight", None, "'fc.weight' is missing"),
        ("AuxLogits.conv0.conv.weight", np.ones((8, 8, 1, 1)), "'AuxLogits.conv0.bn.weight' is"),
        (f"{BN}.biass", np.ones(3), f'none of the network\'s. Did you mean "{BN}.bias"?'),
    ],
)
def test_other_state_dicts_are_refused(name, value, message):
    assert len(convert_inception.from_torch(one_convolution())) == 4
    with pytest.raises(errors.MetricError) as error:
        convert_inception.from_torch(one_convolution(**{name: value}))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{BN}.bias", float("nan"), "'Mixed_7c.branch_pool/bias' has entries that are not finite"),
        ("fc.bias", (1000,), r"'fc/bias' has shape (1000,); accepted: (1008,)"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, capsys, state, name, value, message):
    import torch

    changed = torch.full_like(state[name], value) if isinstance(value, float) else torch.ones(value)
    file = saved({**state, name: changed}, tmp_path / "state.pth")
    assert message in refused(file, tmp_path / "out.npz", capsys)


def test_a_pickled_module_is_refused(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="PyTorch reads state dicts (extra: parity)")
    file = saved(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    assert "holds more than tensors" in refused(file, tmp_path / "out.npz", capsys)
    file = saved([torch.zeros(2)], tmp_path / "list.pth")
    assert "it is no state dict" in refused(file, tmp_path / "out.npz", capsys)
    file = saved({"fc.weight": torch.zeros(2, 2)}, tmp_path / "cut.pth")
    file.write_bytes(file.read_bytes()[:-40])
    assert "neither a PyTorch state dict" in refused(file, tmp_path / "out.npz", capsys)


def test_without_pytorch_the_error_says_how_to_install_it(tmp_path, capsys, monkeypatch):
    file = tmp_path / "state.pth"
    file.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    present = convert_inception.importlib.util.find_spec
    monkeypatch.setattr(
        convert_inception.importlib.util,
        "find_spec",
        lambda name: None if name == "torch" else present(name),
    )
    assert "pip install -e '.[parity]'" in refused(file, tmp_path / "out.npz", capsys)


def small_arrays(**changes):
    arrays = {"conv/w": np.zeros((3, 3, 3, 32), np.float32), "conv/b": np.zeros(32, np.float32)}
    arrays |= {name.replace("__", "/"): value for name, value in changes.items()}
    return arrays


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (small_arrays(), "is missing, which the layer '64' needs"),
        (small_arrays(conv__x=np.zeros(2)), "array 'conv/x' is none of the graph's"),
        (small_arrays(mixed_3_tower_1_conv__b=np.zeros(2)), "array 'mixed_3_tower_1_conv/b'"),
        (small_arrays(mixed_conv_1__b=np.zeros(2)), "array 'mixed_conv_1/b'"),
        (small_arrays(mixed_tower_conv_9__b=np.zeros(2)), "'Mixed_5b.branch5x5_10/bias'"),
        (small_arrays(mixed_8_conv__b=np.zeros(2)), "array 'mixed_8_conv/b'"),
        (small_arrays(conv__b=np.zeros(31, np.float32)), "'Conv2d_1a_3x3/bias' has shape (31,)"),
        ({"x": np.zeros(2)}, "array 'x' is none of the graph's"),
    ],
)
def test_other_arrays_are_refused(tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "arrays.npz", **arrays)
    assert message in refused(tmp_path / "arrays.npz", tmp_path / "out.npz", capsys)


def test_other_files_are_refused(tmp_path, capsys):
    out = tmp_path / "out.npz"
    assert "no such file" in refused(tmp_path / "none.pth", out, capsys)
    assert "no such file" in refused(tmp_path, out, capsys)
    for content in (b"", b"text", b"PK\x03\x04 but no zip"):
        (tmp_path / "file").write_bytes(content)
        assert "neither a PyTorch state dict (.pth) nor an .npz" in refused(
            tmp_path / "file", out, capsys
        )


def test_what_cannot_be_written_is_one_line_too(tmp_path, capsys):
    out = tmp_path / "folder.npz"
    out.mkdir()
    assert convert_inception.main([str(find(TENSORFLOW)), f"--out={out}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Cannot write {out}: ")
