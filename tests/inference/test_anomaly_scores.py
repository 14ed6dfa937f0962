"""Scores of image files: which numbers, in which order, and what is refused or reported."""

import csv

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data.sources import FolderSource, Transform
from gan_jax.inference.anomaly_scores import Request, score
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from gan_jax.runs.run_directory import RunDirectory
from tests.experiments.program import call, complaint
from tests.training import tiny

PROGRAM = "experiments.anomalies"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of GANomaly on digits of 8x8 pixels."""
    workdir = tmp_path_factory.mktemp("run")
    config = tiny.mlp_anomaly_config()
    config.train.update(steps=2, log_every=2)
    loop.train(config, workdir)
    return open_run(workdir)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Images of several sizes and modes in sub-folders, and a damaged one."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    for name, shape in {"a/0.png": (8, 8), "a/1.png": (8, 8, 3), "b/2.png": (20, 12)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(folder / name)
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.mark.slow
def test_every_file_has_the_score_of_its_image_as_in_training(run, parts, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    summary = score(Request(run, parts, out, batch_size=2, worst=2))
    assert summary.failures == {"bad.png": "is not an image"}
    assert capsys.readouterr().err == f"failed: {parts / 'bad.png'}: is not an image\n"
    with out.open() as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "score"]
    assert [(name, float(value)) for name, value in rows] == list(summary.scores.items())
    assert list(summary.scores.values()) == sorted(summary.scores.values(), reverse=True)
    prepared = {}
    for name in ("a/0.png", "a/1.png", "b/2.png"):
        image = Image.open(parts / name).convert("L")
        if image.size == (12, 20):
            image = image.resize((8, 8), Image.Resampling.LANCZOS, box=(0, 4, 12, 16))
        prepared[name] = np.asarray(image)[None, :, :, None]
    weights = run.variables()
    for name, pixels in prepared.items():
        expected = run.game.anomaly_scores(weights, device.to_float(pixels))
        assert summary.scores[name] == pytest.approx(float(expected[0]), rel=1e-4), name
    with Image.open(tmp_path / "scores.png") as picture:
        shown = np.asarray(picture.convert("L"))
    # Two rows of tiles at four times their size: image, reconstruction, difference.
    assert shown.shape[0] == 2 * (32 + 2) + 2
    worst = next(iter(summary.scores))
    tile = shown[2:34, -3 * 34 : -2 * 34 - 2][::4, ::4]
    np.testing.assert_array_equal(tile, prepared[worst][0, :, :, 0])


def test_files_of_twelve_bits_have_the_levels_of_the_training_images(run, tmp_path, monkeypatch):
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "a.png")
    source = FolderSource(tmp_path, "train", Transform())
    there = RunDirectory(tmp_path / "run")
    there.write_data(source)
    monkeypatch.setitem(run.data, "levels", there.read_data()["levels"])
    ask = Request(run, tmp_path / "a.png", tmp_path / "scores.csv")
    np.testing.assert_array_equal(ask.read(ask.files[0]), source[0]["image"])
    np.testing.assert_allclose(ask.read(ask.files[0])[..., 0], grey, atol=1)


def test_what_cannot_be_scored_is_refused(run, parts, tmp_path):
    out = tmp_path / "scores.csv"
    for changes, message in [
        ({"out": tmp_path / "x.txt"}, r"--out=.*x\.txt; accepted: a \.csv"),
        ({"picture": "x.jpg"}, r"--picture=x\.jpg; accepted: a \.png"),
        ({"out": parts / "x.csv"}, r"--picture=.*/x\.png is in --input=.*; accepted: a place out"),
        ({"worst": -1}, r"--worst = -1; accepted: 0 or more"),
    ]:
        with pytest.raises(errors.ConfigError, match=message):
            Request(**{"run": run, "input": parts, "out": out, **changes})
    assert Request(run, parts, parts / "x.csv", worst=0).files
    out.write_text("kept")
    with pytest.raises(errors.WorkdirError, match=r"scores\.csv already exists; pass --overwrite"):
        Request(run, parts, out)


def test_the_program_scores_a_file(run, parts, tmp_path):
    out = tmp_path / "one.csv"
    flags = (f"--run={run.path}", f"--input={parts / 'a' / '0.png'}")
    ended = call(*flags, f"--out={out}", "--worst=0", module=PROGRAM)
    assert (ended.code, ended.out) == (0, f"scored 1 of 1 images at step 2: {out}\n")
    assert out.read_text().startswith("file,score\n0.png,")
    assert "--out is missing" in complaint(call(*flags, module=PROGRAM))
