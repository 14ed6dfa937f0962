"""``experiments.sample`` as a person uses it; its pictures: tests/inference/test_sample_run.py."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.experiments.program import SAMPLE, call, complaint, succeeded


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a conditional GAN whose networks are MLPs."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    flags = (
        "--config=configs/cgan.py:smoke",
        "--config.generator.name=mlp",
        "--config.discriminator.name=mlp",
        "--config.train.steps=4",
        "--config.train.checkpoint_every=4",
        "--config.num_devices=1",
    )
    succeeded(call(*flags, f"--workdir={workdir}"))
    return workdir


def last(ended):
    return succeeded(ended).out.splitlines()[-1]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.slow
def test_samples_of_a_run_that_was_moved_are_the_same_in_a_folder_and_an_archive(
    run, trained, tmp_path
):
    shutil.copytree(trained, tmp_path / "moved")
    flags = ("--run=moved", "--seed=3", "--truncation=0.7", "--label=2")
    options = {"module": SAMPLE, "cwd": tmp_path}
    line = last(call(*flags, "--num=20", "--out=samples", **options))
    assert line == "20 samples of step 4: samples"
    line = last(run(*flags, "--num=30", "--out=a.npz", "--batch-size=7", **options, devices=2))
    assert line == "30 samples of step 4: a.npz"
    with np.load(tmp_path / "a.npz") as file:
        images, labels, about = file["image"], file["label"], json.loads(str(file["about"]))
    assert images.shape == (30, 16, 16, 1)
    assert labels.tolist() == [2] * 30
    assert (about["seed"], about["truncation"], about["step"]) == (3, 0.7, 4)
    for i in range(20):
        one = pixels(tmp_path / "samples" / f"{i:08d}.png").astype(int)
        assert np.abs(one - images[i, ..., 0]).max() <= 1
    message = complaint(call("--run=moved", "--label=two", **options))
    assert message.startswith("label = 'two' is unknown; accepted: 0, 1, 2")
    message = complaint(call(*flags, "--out=a.npz", **options))
    assert message == "a.npz already exists; pass --overwrite to replace it"


@pytest.mark.slow
def test_every_mode_is_reached(trained, tmp_path):
    def sample(*flags):
        return succeeded(call(f"--run={trained}", *flags, module=SAMPLE)).out.splitlines()

    moving = tmp_path / "way.gif"
    flags = ("--interpolate=lerp", "--num=2", "--frames=3", "--fps=10", f"--out={moving}")
    assert sample(*flags) == [f"6 pictures, 0.6 s, by lerp of step 4: {moving}"]
    sample("--interpolate=slerp", "--label=1", "--num=2", "--frames=3")
    assert (trained / "slerp-step00000004-seed0-label1.png").exists()
    (line,) = sample("--truncation=1.5,0.5", "--num=2")
    assert line.startswith("2 samples at each of 2 truncations of step 4: ")
    lines = sample("--neighbours=3")
    assert lines[0].startswith("mean distance to the nearest training image: 500 samples ")
    assert lines[-1].startswith("8 samples of step 4, each beside 3 training images: ")
    photo = trained / "neighbours-pixels-step00000004-seed0.png"
    lines = sample(f"--project={photo}", "--steps=3", "--restarts=2", "--learning-rate=0.01")
    assert lines[0].startswith(f"{photo.name}  PSNR ")
    assert lines[-1].startswith("1 images projected into z at step 4: ")


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
        (["--out=a.jpg"], "--out=a.jpg; accepted: a .png, .txt, .npz, .gif, .webp or .mp4, or a f"),
        (
            ["--out=a.gif"],
            "--out=a.gif with a grid; accepted: .gif, .webp and .mp4 with --interpolate",
        ),
        (["--neighbours=2", "--out=a/"], "--out=a/ with --neighbours; accepted: a .png"),
        (["--truncation=1,0.5", "--out=a.npz"], "--truncation=1,0.5 with an .npz; accepted: one"),
        (["--truncation=1,x"], "--truncation=1,x; accepted: a number, 0 or more, or several"),
        (["--truncation="], "--truncation=; accepted: a number, 0 or more"),
        (["--truncation=-1"], "--truncation=-1; accepted: a number, 0 or more"),
        (["--traverse=category_0", "--label=1"], "--label has no effect with --traverse"),
        (["--reconstruct=4", "--seed=1"], "--seed has no effect with --reconstruct"),
        (["--space=w"], "--space has no effect with a grid; accepted: none"),
        (["--mix=fine", "--frames=3"], "--frames has no effect with --mix"),
        (["--mix=fine", "--truncation=1,0.5"], "--truncation=1,0.5 with --mix; accepted: one"),
        (["--interpolate=slurp"], "flag --interpolate=slurp: value should be one of <lerp|slerp>"),
    ],
)
def test_flags_that_do_not_fit_are_reported_in_one_line(flags, message):
    assert complaint(call("--run=nowhere", *flags, module=SAMPLE)).startswith(message)
