"""Weights of a run in a ``.safetensors`` file, and runs that start from them."""

import json
import struct
import sys

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.runs import build, loop, weights_file
from gan_jax.runs.initialization import read_weights
from gan_jax.runs.run import open_run
from tests.inference.untrained import STEP, make_run
from tests.training import tiny

safe_open = pytest.importorskip("safetensors", reason="needs the extra export").safe_open
safetensors = pytest.importorskip("safetensors.numpy", reason="needs the extra export")


def configuration(**init):
    """GAN with batch-norm, spectral vectors and averages; from another run, of 16x16 images."""
    config = tiny.conditional_config()
    config.num_devices = 1
    if init:
        config.data.resolution = 16
        config.init.update(init)
    return config


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run, and the file of its weights."""
    folder = tmp_path_factory.mktemp("made")
    run = make_run(folder / "run", configuration())
    file = folder / "exported" / weights_file.FILE
    assert weights_file.write(file, run, None, {"licence": "mine"}) == STEP
    return run, file


@pytest.fixture(scope="module")
def training():
    config = configuration(run="unused")
    return build.make_training(config, sources.make_source(config.data).spec)


def test_every_variable_and_average_is_in_the_file_bit_for_bit(made):
    run, file = made
    found = safetensors.load_file(file)
    state = run.state()
    for name, network in state.networks.items():
        parts = {"params": network.params, "mutable": network.mutable, "ema": network.ema}
        for part, tree in parts.items():
            for path, value in jax.tree_util.tree_flatten_with_path(tree)[0]:
                keys = jax.tree_util.keystr(path, simple=True, separator="/")
                stored = found.pop(f"{name}/{part}/{keys}")
                assert (stored.dtype, stored.shape) == (value.dtype, value.shape)
                assert stored.tobytes() == np.asarray(value).tobytes()
    assert not found


def test_the_metadata_describe_the_run_without_folders_and_labels(made, tmp_path):
    run, file = made
    with safe_open(file, framework="numpy") as content:
        metadata = content.metadata()
    config = json.loads(metadata["config"])
    assert config["generator"]["dcgan"]["features"] == run.config.generator.dcgan.features
    assert json.loads(metadata["data"])["fingerprint"] == run.data["fingerprint"]
    assert (metadata["step"], metadata["licence"]) == (str(STEP), "mine")
    run.config.data.path = "/home/someone/photographs"
    run.data["spec"]["label"]["vectors"] = [[1.0, 2.0]]
    weights_file.write(tmp_path / "a.safetensors", run, None, {}, networks=("generator",))
    content = (tmp_path / "a.safetensors").read_bytes()
    assert b"photographs" in content
    assert b"someone" not in content
    assert b"[1.0, 2.0]" not in content
    assert b"discriminator/params" not in content


def test_a_run_starts_from_the_file_as_from_the_directory(made, training):
    run, file = made
    weights = [
        read_weights(configuration(run=str(origin), networks=networks), training)
        for networks in ((), ("discriminator",))
        for origin in (run.path, file)
    ]
    for there, own in (weights[:2], weights[2:]):
        assert own.misfits == there.misfits
        assert own.counts == there.counts
        assert own.arrays.keys() == there.arrays.keys()
        for name, array in there.arrays.items():
            assert own.arrays[name].tobytes() == array.tobytes(), name
    assert own.record["run"] == str(file)
    assert own.words()[0][1].startswith(f"weights of {file}, step {STEP}: discriminator")
    assert any("float32[4,128] there, float32[4,256] here" in line for line in weights[1].misfits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": True}, "init.optimizer = True with init.run = .*accepted: False"),
        ({"checkpoint": "best"}, "init.checkpoint = 'best' with .*accepted: 'latest'"),
        ({"networks": ("critic",)}, "init.networks = 'critic' is unknown"),
    ],
)
def test_fields_without_effect_are_refused(made, training, changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        read_weights(configuration(run=str(made[1]), **changes), training)


def test_other_files_are_refused_before_anything_is_written(made, tmp_path):
    whole = made[1].read_bytes()
    files = {
        "damaged": whole[: len(whole) // 2],
        "text": b"no weights",
        "foreign": safetensors.save({"generator/params/x": np.zeros(2)}, {"format": "pt"}),
        "bare": safetensors.save({"generator/params/x": np.zeros(2)}),
        "unlike": safetensors.save(
            {"a/b/c": np.zeros(2)}, {"format": weights_file.FORMAT, "step": "3"}
        ),
    }
    header = {
        "__metadata__": {"format": weights_file.FORMAT, "step": "3"},
        "generator/params/x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]},
    }
    text = json.dumps(header).encode()
    files["eighths"] = struct.pack("<Q", len(text)) + text + bytes(2)
    names = {
        "generator": np.zeros(2),
        "generator/ema": np.zeros(2),
        "generator/other/x": np.zeros(2),
    }
    files["names"] = safetensors.save(names, {"format": weights_file.FORMAT, "step": "3"})
    messages = {
        "eighths": "generator/params/x has the dtype F8_E4M3; accepted: F32",
        "names": "no array of its networks fits",
        "missing": "Cannot read .*missing.safetensors: No such file",
        "damaged": "damaged.safetensors is damaged",
        "text": "text.safetensors is damaged",
        "foreign": "has the format 'pt'; accepted: a file that .*export",
        "bare": "has the format None",
        "unlike": "no array of its networks fits into generator, discriminator",
    }
    for name, message in messages.items():
        path = tmp_path / f"{name}.safetensors"
        if name in files:
            path.write_bytes(files[name])
        with pytest.raises(errors.CheckpointError, match=message):
            loop.train(configuration(run=str(path)), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_without_its_package_the_extra_is_named(made, training, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = r"init.run = .* needs safetensors, which is not installed: .*'\.\[export\]'"
    with pytest.raises(errors.ConfigError, match=message):
        read_weights(configuration(run=str(made[1])), training)


def test_a_run_trains_from_a_file_and_a_folder_may_have_its_suffix(made, tmp_path):
    config = configuration(run=str(made[1]))
    config.data.resolution = 8
    config.train.update(steps=2, log_every=2, sample_every=2, checkpoint_every=2, batch_size=8)
    config.eval.every = 0
    path = tmp_path / "run.safetensors"
    loop.train(config, path)
    record = json.loads((path / "origin.json").read_text())
    assert record == {"run": str(made[1]), "step": STEP, "not_taken": []}
    assert not weights_file.is_weights_file(str(path))
    assert open_run(path).steps[-1] == 2
