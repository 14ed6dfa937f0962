"""``experiments.translate`` as a person uses it; what it makes: tests/inference."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from gan_jax.report import animation
from tests.experiments.program import call, complaint, succeeded

TRANSLATE = "experiments.translate"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run of denoise."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    flags = ("--config=configs/denoise.py:smoke", "--config.num_devices=1")
    succeeded(call(*flags, f"--workdir={workdir}"))
    return workdir


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of three images of odd sizes, one of them in a sub-folder, and of a damaged one."""
    folder = tmp_path_factory.mktemp("photos")
    smooth = np.add.outer(np.arange(90), np.arange(150)) % 256
    image = Image.fromarray(np.stack([smooth, smooth[::-1], 255 - smooth], -1).astype(np.uint8))
    (folder / "sub").mkdir()
    image.save(folder / "large.png")
    image.crop((0, 0, 23, 17)).save(folder / "sub" / "small.jpg")
    image.crop((0, 0, 1, 1)).convert("LA").save(folder / "dot.png")
    (folder / "bad.png").write_text("no image")
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.slow
def test_a_folder_is_translated_except_for_a_file_that_is_no_image(trained, photos, tmp_path):
    out = tmp_path / "out"
    flags = (f"--run={trained}", f"--input={photos}", f"--out={out}")
    ended = call(*flags, "--tile=64", "--overlap=32", "--batch-size=3", module=TRANSLATE)
    assert ended.code == 1
    assert ended.err == f"failed: {photos / 'bad.png'}: is not an image\n"
    assert ended.out == f"translated 3 of 4 images (AtoB) at step 4: {out}\n"
    assert {p.relative_to(out).as_posix(): pixels(p).shape for p in out.rglob("*.*")} == {
        "large.png": (90, 150, 3),
        "sub/small.png": (17, 23, 3),
        "dot.png": (1, 1, 4),
    }
    message = complaint(call(*flags[:2], f"--out={photos}", "--format=webp", module=TRANSLATE))
    assert message == (
        f"--out={photos} is --input={photos} itself, where the next run would take outputs for "
        "images; accepted: another folder, which may be in it"
    )
    message = complaint(call(*flags, module=TRANSLATE))
    assert message == (f"{out}/dot.png already exists (and 2 more); pass --overwrite to replace it")


@pytest.mark.slow
def test_clean_images_are_degraded_restored_and_measured(run, trained, photos, tmp_path):
    out, grid = tmp_path / "out", tmp_path / "grid.png"
    ended = run(
        f"--run={trained}",
        f"--input={photos / 'large.png'}",
        f"--out={out}",
        "--degrade",
        "--seed=3",
        "--border=4",
        f"--grid={grid}",
        module=TRANSLATE,
    )
    lines = succeeded(ended).out.splitlines()
    record = json.loads((out / "scores.json").read_text())
    psnr = peak_signal_noise_ratio(
        pixels(photos / "large.png")[4:-4, 4:-4], pixels(out / "large.png")[4:-4, 4:-4]
    )
    assert record["mean"]["psnr"] == pytest.approx(psnr, rel=1e-5)
    # Noise of a standard deviation of 25 levels, some of it clipped.
    assert 19.5 < record["mean"]["input_psnr"] < 22
    assert (record["protocol"]["border"], record["protocol"]["seed"]) == (4, 3)
    assert record["protocol"]["degradation"]["name"] == "gaussian"
    assert lines[-2].startswith(f"mean         {psnr:.2f} ({record['mean']['input_psnr']:.2f}) ")
    assert lines[-1] == (
        f"translated 1 of 1 image (AtoB) at step 4: {out}; 1 of them, the middle square of each "
        f"scaled to 90x90: {grid}; scores in scores.json"
    )
    assert pixels(grid).shape[0] == 3 * 92 + 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--run is missing; give a run directory"),
        (
            ["--run=a"],
            "--input is missing; give an image, a sound or a video, a folder or a .zip of them",
        ),
        (["--run=a", "--input=b"], "--out is missing; give a folder to write to"),
        (["--run=nowhere", "--input=b", "--out=c"], "nowhere is no run directory"),
        (["--run=a", "--input=b", "--out=c", "--seed=3"], "--seed=3 goes with --degrade or --drop"),
        (["--format=gif"], "flag --format=gif: value should be one of <png|jpg|webp>"),
        (["--tile=0"], "flag --tile=0: 0 is not"),
    ],
)
def test_a_mistake_is_reported_in_one_line(flags, message):
    assert message in complaint(call(*flags, module=TRANSLATE))


@pytest.mark.slow
def test_a_run_of_sounds_translates_sound_files(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")
    run, out, noisy = tmp_path / "run", tmp_path / "out", tmp_path / "noisy.wav"
    flags = ("--config=configs/segan.py:smoke", "--config.num_devices=1", f"--workdir={run}")
    widths = [f"--config.{role}.segan.features=(2,2)" for role in ("generator", "discriminator")]
    succeeded(call(*flags, *widths, "--config.train.steps=2"))
    soundfile.write(noisy, np.random.default_rng(0).normal(0, 0.1, (301, 2)), 11_025)
    flags = (f"--run={run}", f"--input={noisy}", f"--out={out}", "--tile=64", "--overlap=16")
    ended = call(*flags, module=TRANSLATE)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"translated 1 of 1 sound at step 2: {out}\n"
    info = soundfile.info(out / "noisy.wav")
    assert (info.frames, info.channels, info.samplerate) == (301, 2, 11_025)
    message = complaint(call(*flags, "--border=2", module=TRANSLATE))
    assert message == "--border has no effect with a run that translates sounds; accepted: none"
    ended = call(*flags, "--overwrite", "--degrade", "--seed=3", module=TRANSLATE)
    heading, row, mean, line = ended.out.splitlines()
    assert heading.split() == ["SI-SDR", "dB", "(input)", "log-mel", "distance", "dB", "(input)"]
    assert row.removeprefix("noisy.wav").strip() == mean.removeprefix("mean").strip()
    assert line == f"translated 1 of 1 sound at step 2: {out}; scores in scores.json"
    soundfile.write(tmp_path / "in.flac", np.zeros(301), 11_025)
    among = (flags[0], f"--input={tmp_path}", f"--out={tmp_path}")
    message = complaint(call(*among, module=TRANSLATE))
    assert message.startswith(f"--out={tmp_path} is --input={tmp_path} itself, where the next run")
    noisy.write_bytes(noisy.read_bytes()[:-9])
    ended = call(*flags, "--overwrite", module=TRANSLATE)
    assert (ended.code, ended.err) == (1, f"failed: {noisy}: is truncated\n")


@pytest.mark.slow
def test_a_vocoder_makes_sound_files_again(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")
    run, out, given = tmp_path / "run", tmp_path / "out", tmp_path / "speech.wav"
    flags = ("--config=configs/hifigan.py:smoke", "--config.num_devices=1", f"--workdir={run}")
    tiny = {
        "degrade.mel": {"window": 64, "hop": 16, "bands": 8},
        "generator.hifigan": {"features": 4, "rates": (4, 4), "kernels": (3,), "dilations": (1,)},
        "discriminator.hifigan": {"periods": (2,), "features": (2,)},
    }
    fields = [f"--config.{g}.{k}={v}" for g, own in tiny.items() for k, v in own.items()]
    succeeded(call(*flags, *fields, "--config.train.steps=2"))
    soundfile.write(given, np.random.default_rng(0).normal(0, 0.1, (1501, 2)), 11_025)
    flags = (f"--run={run}", f"--input={given}", f"--out={out}", "--tile=512", "--overlap=128")
    ended = call(*flags, "--degrade", module=TRANSLATE)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(f"translated 1 of 1 sound at step 2: {out}; scores in scores.json\n")
    info = soundfile.info(out / "speech.wav")
    assert (info.frames, info.channels, info.samplerate) == (1501, 2, 11_025)


@pytest.mark.slow
def test_a_run_of_videos_continues_video_files(tmp_path):
    run, out, clip = tmp_path / "run", tmp_path / "out", tmp_path / "clip.gif"
    flags = ("--config=configs/predict.py:smoke", "--config.num_devices=1", f"--workdir={run}")
    small = ("--config.generator.unet.stem=2", "--config.generator.unet.features=2")
    alone = "--config.game.paired.adversarial_weight=0.0"
    succeeded(call(*flags, *small, alone, "--config.train.steps=2"))
    frames = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 1), np.uint8)
    clip.write_bytes(animation.content(frames, 8.0, ".gif"))
    flags = (f"--run={run}", f"--input={clip}", f"--out={out}")
    ended = call(*flags, "--frames=6", module=TRANSLATE)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"predicted 1 of 1 video at step 2, 6 frames from 4: {out}\n"
    with Image.open(out / "clip.gif") as made:
        assert (made.format, made.size) == ("GIF", (16, 16))
    message = complaint(call(*flags, "--tile=8", module=TRANSLATE))
    assert message == "--tile has no effect with a run that predicts videos; accepted: none"
    folder = tmp_path / "clips" / "one"
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame[..., 0]).save(folder / f"{number}.png")
    for place in (folder, folder.parent):
        among = (f"--input={place}", f"--out={folder}")
        message = complaint(call(f"--run={run}", *among, module=TRANSLATE))
        assert message == (
            f"--out={folder} is in {folder}, which has the frames of a video; accepted: a folder "
            "outside it"
        )
    assert len(list(folder.iterdir())) == 5
    flags = (f"--run={run}", f"--input={folder.parent}", f"--out={out}", "--frames=5")
    ended = call(*flags, "--degrade", module=TRANSLATE)
    assert (ended.code, ended.err) == (0, "")
    heading, one, mean, line = ended.out.splitlines()
    assert "PSNR dB (input)" in heading
    assert (one.split()[0], mean.split()[0]) == ("one", "mean")
    assert (
        line == f"predicted 1 of 1 video at step 2, 5 frames from 4: {out}; scores in scores.json"
    )
