"""``experiments.sample`` as a person uses it; its pictures: tests/inference/test_sample_run.py."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.experiments.program import SAMPLE, call, complaint, succeeded


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """Return a run of a conditional GAN of perceptrons."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    flags = (
        "--config=configs/cgan.py:smoke",
        "--config.generator.name=mlp",
        "--config.discriminator.name=mlp",
        "--config.train.steps=4",
        "--config.train.checkpoint_every=4",
    )
    succeeded(run(*flags, f"--workdir={workdir}"))
    return workdir


def last(ended):
    return succeeded(ended).out.splitlines()[-1]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_samples_in_a_folder_and_an_archive_are_the_same(run, trained, tmp_path):
    folder, archive = tmp_path / "samples", tmp_path / "samples.npz"
    flags = (f"--run={trained}", "--seed=3", "--truncation=0.7", "--label=2")
    told = last(run(*flags, "--num=20", f"--out={folder}", module=SAMPLE))
    assert told == f"20 samples of step 4: {folder}"
    ended = run(*flags, "--num=30", f"--out={archive}", "--batch-size=7", module=SAMPLE, devices=2)
    assert last(ended) == f"30 samples of step 4: {archive}"
    with np.load(archive) as file:
        images, labels, about = file["image"], file["label"], json.loads(str(file["about"]))
    assert images.shape == (30, 16, 16, 1)
    assert labels.tolist() == [2] * 30
    assert (about["seed"], about["truncation"], about["step"]) == (3, 0.7, 4)
    for i in range(20):
        one = pixels(folder / f"{i:08d}.png").astype(int)
        assert np.abs(one - images[i, ..., 0]).max() <= 1
    message = complaint(run(*flags, f"--out={archive}", module=SAMPLE))
    assert message == f"{archive} already exists; pass --overwrite to replace it"


def test_every_mode_is_reached(run, trained, tmp_path):
    moving = tmp_path / "way.gif"
    flags = ("--interpolate=lerp", "--num=2", "--frames=3", "--fps=10", f"--out={moving}")
    told = last(run(f"--run={trained}", *flags, module=SAMPLE))
    assert told == f"6 pictures, 0.6 s, by lerp of step 4: {moving}"
    last(run(f"--run={trained}", "--interpolate=slerp", "--label=1", module=SAMPLE))
    assert (trained / "slerp-step00000004-seed0-label1.png").exists()
    lines = succeeded(run(f"--run={trained}", "--neighbours=3", module=SAMPLE)).out.splitlines()
    assert lines[0].startswith("mean distance to the nearest training image: 500 samples ")
    assert lines[-1].startswith("8 samples of step 4, each beside 3 training images: ")
    photo = trained / "neighbours-pixels-step00000004-seed0.png"
    flags = (f"--project={photo}", "--steps=3", "--restarts=2", "--learning-rate=0.01")
    lines = succeeded(run(f"--run={trained}", *flags, module=SAMPLE)).out.splitlines()
    assert lines[0].startswith(f"{photo.name}  PSNR ")
    assert lines[-1].startswith("1 images projected at step 4: ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fps=5"], "--fps has no effect with a grid; accepted: none"),
        (["--interpolate=lerp", "--fps=5"], "--fps has no effect with --interpolate"),
        (["--steps=5", "--neighbours=2"], "--steps has no effect with --neighbours"),
        (["--project=a.png", "--num=3"], "--num has no effect with --project"),
        (["--project=a.png", "--truncation=1"], "--truncation has no effect with --project"),
        (["--out=a/", "--overwrite"], "--overwrite has no effect with a folder"),
        (["--features=classifier"], "--features has no effect with a grid"),
        (["--project=a.png", "--neighbours=2"], "--project and --neighbours are two modes"),
        (["--out=a.jpg"], "--out=a.jpg; accepted: a .png, .npz, .gif or .webp, or a folder"),
        (["--out=a.gif"], "--out=a.gif with a grid; accepted: .gif and .webp with --interpolate"),
        (["--neighbours=2", "--out=a/"], "--out=a/ with --neighbours; accepted: a .png"),
        (["--truncation=1,0.5", "--out=a.npz"], "--truncation=1,0.5 with an .npz; accepted: one"),
        (["--truncation=1,x"], "--truncation=1,x; accepted: a number above 0, or several"),
        (["--truncation="], "--truncation=; accepted: a number above 0"),
        (["--truncation=-1"], "--truncation=-1; accepted: a number above 0"),
        (["--traverse=category_0", "--label=1"], "--label has no effect with --traverse"),
        (["--reconstruct=4", "--seed=1"], "--seed has no effect with --reconstruct"),
        (["--interpolate=slurp"], "flag --interpolate=slurp: value should be one of <lerp|slerp>"),
    ],
)
def test_flags_that_do_not_fit_are_told_in_one_line(flags, message):
    assert complaint(call("--run=nowhere", *flags, module=SAMPLE)).startswith(message)


def test_what_a_run_cannot_do_is_told_in_one_line(trained, tmp_path):
    message = complaint(call(f"--run={trained}", "--label=10", module=SAMPLE))
    assert message == "label = 10; accepted: 0 to 9"
    message = complaint(call(f"--run={trained}", "--traverse=category_0", module=SAMPLE))
    assert message.startswith("--traverse=category_0, but the latent vector of 'cgan' has no codes")
    message = complaint(call(f"--run={trained}", "--reconstruct=4", module=SAMPLE))
    assert message.startswith("only a run of images with an encoder reconstructs")
    (tmp_path / "notes.txt").touch()
    message = complaint(call(f"--run={trained}", f"--out={tmp_path}/", module=SAMPLE))
    assert "is not empty and has no samples.json" in message
