"""Video files through a run: which frames are given, those predicted of them, and mistakes."""

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image, ImageSequence

from gan_jax import errors
from gan_jax.data.degrade import make as degradation
from gan_jax.data.sources import videos
from gan_jax.data.spec import Field
from gan_jax.games.paired import PairedGame
from gan_jax.inference.translate_videos import VideoRequest, translate
from gan_jax.losses import adversarial
from gan_jax.report import animation
from gan_jax.runs.run import Weights
from gan_jax.runs.run_directory import choose_step
from tests.inference import convolver

DATA = {"resize": "resize", "video": {"frames": 16, "every": 1}}


class Fading(nn.Module):
    """Multiplies each of five frames by a number of its own; what comes after them is ignored."""

    multiple = 1

    @nn.compact
    def __call__(self, x, condition=None, *, keys=None, train=True):
        return x[..., :5] * self.param("slopes", nn.initializers.ones, (5,))


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Stands in for an opened run, which predicts two frames from three, ever paler ones."""

    path: Path = Path("run")
    config: ConfigDict = dataclasses.field(
        default_factory=lambda: ConfigDict({**convolver.CONFIG, "data": DATA})
    )

    @property
    def game(self):
        return PairedGame(
            generator=Fading(),
            discriminator=None,
            spec={"video": Field("video", (5, 4, 6, 1), "uint8")},
            loss=adversarial.make("non_saturating"),
            degradation=degradation("freeze", context=3),
        )

    def load(self, step, how):
        """Return the weights; those of the moving average are twice the raw ones."""
        slopes = jnp.float32([1.0, 1.0, 1.0, 0.8, 0.5]) / (1.0 + how.raw)
        return Weights(
            choose_step(self.path, step) or 4, {"generator": {"params": {"slopes": slopes}}}
        )


def clip(frames, height=4, width=6):
    shape = (frames, height, width, 1)
    return np.random.default_rng(frames).integers(0, 256, shape, np.uint8)


def save(path, video):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(animation.content(video, 8.0, ".gif"))
    return path


def read(path):
    with Image.open(path) as file:
        return np.stack([np.asarray(x.convert("L")) for x in ImageSequence.Iterator(file)])[
            ..., None
        ]


def save_and_read(path, video):
    return read(save(path, video))


def faded(frame, *slopes):
    """Return a frame times numbers, around the middle of the range."""
    return np.stack([slope * frame + (1 - slope) * 127.5 for slope in slopes])


def test_the_first_frames_are_kept_and_the_others_predicted(tmp_path):
    video = clip(4)
    path = save(tmp_path / "a.gif", video)
    summary = translate(VideoRequest(Predictor(), path, tmp_path / "out"))
    out = tmp_path / "out"
    assert summary.text == f"predicted 1 of 1 video at step 4, 5 frames from 3: {out}"
    made = read(out / "a.gif")
    np.testing.assert_array_equal(made[:3], video[:3])
    np.testing.assert_allclose(made[3:], faded(video[2], 0.8, 0.5), atol=1)
    translate(VideoRequest(Predictor(), path, tmp_path / "raw", raw=True))
    made = read(tmp_path / "raw" / "a.gif")
    np.testing.assert_allclose(made[3:], faded(video[2], 0.4, 0.25), atol=1)


def test_more_frames_are_predicted_from_predicted_ones(tmp_path):
    video = clip(3)
    ask = VideoRequest(Predictor(), save(tmp_path / "a.gif", video), tmp_path / "out", frames=8)
    translate(ask)
    made, frame = read(tmp_path / "out" / "a.gif").astype(float), video[2]
    assert len(made) == 8
    for first in (3, 5, 7):
        expected = faded(frame, 0.8, 0.5)[: len(made) - first]
        np.testing.assert_allclose(made[first : first + 2], expected, atol=2)
        frame = expected[-1]


def test_a_folders_files_are_brought_to_the_runs_size_and_damaged_ones_reported(tmp_path, capsys):
    folder = tmp_path / "in"
    large = np.repeat(np.uint8([90, 150, 220]), 8 * 12).reshape(3, 8, 12, 1)
    save(folder / "sub" / "large.gif", large)
    save(folder / "short.gif", clip(2))
    content = save(folder / "b.gif", clip(3)).read_bytes()
    # Pillow raises errors of several types, by the place where a file ends.
    torn = {f"torn{end}.gif" for end in range(10, 60, 5)}
    for name in torn:
        (folder / name).write_bytes(content[: int(name[4:-4])])
    (folder / "none.gif").write_bytes(b"none")
    summary = translate(VideoRequest(Predictor(), folder, tmp_path / "out"))
    assert set(summary.outputs) == {"sub/large.gif", "b.gif"}
    assert set(summary.failures) == {"short.gif", "none.gif", *torn}
    expected = "has 2 frames; accepted with degrade.freeze.context = 3: 3 or more"
    assert summary.failures["short.gif"] == expected
    assert f"failed: {folder / 'none.gif'}: is not a video" in capsys.readouterr().err
    made = read(summary.outputs["sub/large.gif"])
    assert made.shape == (5, 4, 6, 1)
    np.testing.assert_array_equal(made[:3], large[:, :4, :6])


def save_frames(folder, video, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, video, strict=True):
        Image.fromarray(frame[..., 0]).save(folder / name)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_numbered_frames_is_one_video(zipped, tmp_path):
    folder, video = tmp_path / "in", clip(4)
    save_frames(folder / "walk.2", video, ["8.png", "9.png", "10.png", "11.png"])
    save(folder / "a.gif", clip(3))
    save_frames(folder / "torn", video, ["1.png", "2.png", "3.png", "4.png"])
    (folder / "torn" / "2.png").write_bytes(b"torn")
    save_frames(folder / "gap", video, ["1.png", "2.png", "4.png", "5.png"])
    save_frames(folder / "short", video[:2], ["1.png", "2.png"])
    place = folder
    if zipped:
        place = Path(shutil.make_archive(tmp_path / "in", "zip", tmp_path, "in")) / "in"
    summary = translate(VideoRequest(Predictor(), place, tmp_path / "out"))
    assert set(summary.outputs) == {"walk.2", "a.gif"}
    made = read(tmp_path / "out" / "walk.2.gif")
    np.testing.assert_array_equal(made[:3], video[:3])
    assert len(made) == 5
    gap = "has a gap: frame 2 is followed by 4; accepted: numbers that increase by 1"
    few = "has 2 frames; accepted with degrade.freeze.context = 3: 3 or more"
    torn = summary.failures.pop("torn")
    assert torn.startswith("2.png ")
    assert summary.failures == {"gap": gap, "short": few}
    assert summary.text.startswith("predicted 2 of 5 videos at step 4, 5 frames from 3")


@pytest.mark.parametrize("place", ["in/walk.2", "walk.zip", "in.zip/in/walk.2"])
def test_a_folder_of_frames_may_be_the_input_itself(place, tmp_path):
    folder, video = tmp_path / "in" / "walk.2", clip(4)
    save_frames(folder, video, ["8.png", "9.png", "10.png", "11.png"])
    save_frames(folder, clip(1), ["cover.png"])
    (folder / "notes.txt").touch()
    shutil.make_archive(tmp_path / "walk", "zip", folder)
    shutil.make_archive(tmp_path / "in", "zip", tmp_path, "in")
    summary = translate(VideoRequest(Predictor(), tmp_path / place, tmp_path / "out"))
    out = tmp_path / "out" / ("walk.gif" if place == "walk.zip" else "walk.2.gif")
    assert list(summary.outputs.values()) == [out]
    np.testing.assert_array_equal(read(out)[:3], video[:3])
    assert summary.text.endswith("out; 2 other files not used: cover.png, notes.txt")


def test_outputs_are_not_written_into_a_folder_of_frames(tmp_path):
    folder, video = tmp_path / "in", clip(3)
    for name in ("one", "two"):
        save_frames(folder / name, video, ["1.png", "2.png", "3.png"])
    for place, out, frames in (
        ("in/one", "in/one", "in/one"),
        ("in/one", "in/one/made", "in/one"),
        ("in", "in/one", "in/one"),
        ("in", "in/two/made", "in/two"),
    ):
        words = rf"^--out={tmp_path / out} is in {tmp_path / frames}, which has the frames of a vi"
        refused = pytest.raises(errors.ConfigError, match=f"{words}.*; accepted: a folder outside")
        with refused:
            VideoRequest(Predictor(), tmp_path / place, tmp_path / out)
        # The reason is the same where an earlier output is there.
        earlier = save(tmp_path / out / "one.gif", video)
        with refused:
            VideoRequest(Predictor(), tmp_path / place, tmp_path / out)
        earlier.unlink()
    with pytest.raises(errors.ConfigError, match=r"in itself, .* take outputs for videos; accept"):
        VideoRequest(Predictor(), folder, folder)
    # Outputs below the input are left out by the next run.
    for _ in range(2):
        summary = translate(VideoRequest(Predictor(), folder, folder / "made", overwrite=True))
        assert set(summary.outputs) == {"one", "two"}
    assert list(summary.outputs.values()) == [folder / "made" / f"{x}.gif" for x in ("one", "two")]


def test_one_frame_or_names_in_a_zip_that_begin_with_a_slash_are_a_video_too(tmp_path):
    save_frames(tmp_path / "in", clip(1), ["8.png"])
    with zipfile.ZipFile(tmp_path / "walk.zip", "w") as archive:
        archive.writestr("/8.png", (tmp_path / "in" / "8.png").read_bytes())
    for place, name in (("in", "in"), ("walk.zip", "walk")):
        ask = VideoRequest(Predictor(), tmp_path / place, tmp_path / "out")
        assert [file.name for file in ask.files] == [name]
        assert ask.places == [tmp_path / "out" / f"{name}.gif"]


def test_frames_that_are_no_single_video_are_refused(tmp_path):
    save_frames(tmp_path / "in", clip(3), ["1.png", "2.png", "3.png"])
    save(tmp_path / "in" / "sub" / "a.gif", clip(3))
    with pytest.raises(errors.DataError, match=r"frames of one video, and the video sub/a\.gif; a"):
        VideoRequest(Predictor(), tmp_path / "in", tmp_path / "out")
    with pytest.raises(errors.DataError, match=r"has images such as 1\.png itself; accepted: a f"):
        VideoRequest(Predictor(), tmp_path / "in" / "1.png", tmp_path / "out")
    save_frames(tmp_path / "stills", clip(1), ["one.png"])
    with pytest.raises(errors.DataError, match=r"stills \(--input\) has no videos, but 1 \.png"):
        VideoRequest(Predictor(), tmp_path / "stills", tmp_path / "out")


def psnr(made, clean):
    return -10 * np.log10(np.square((made.astype(float) - clean) / 255).mean((1, 2, 3)))


@pytest.mark.parametrize("frames", [None, 6])
def test_complete_clips_are_predicted_from_their_first_frames_and_measured(frames, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    video = save_and_read(folder / "a.gif", clip(7))
    save(folder / "b.gif", clip(4))
    ask = VideoRequest(Predictor(), folder, out, frames=frames, degrade=True)
    summary = translate(ask)
    setting, wanted = ("--frames", 6) if frames else ("data.video.frames", 5)
    few = f"has 4 frames; accepted with {setting} = {wanted}: {wanted} or more"
    assert summary.failures == {"b.gif": few}
    # Grey frames of a GIF are stored exactly.
    made, copies = read(out / "a.gif")[3:], video[[2] * (wanted - 3)]
    assert len(made) == wanted - 3
    found = summary.scores["a.gif"]
    for prefix, shown in (("", made), ("input_", copies)):
        values = psnr(shown, video[3:wanted])
        expected = {"": values.mean(), "_first": values[0], "_last": values[-1]}
        for suffix, value in expected.items():
            assert found[f"{prefix}psnr{suffix}"] == pytest.approx(value, rel=1e-4), suffix
    assert summary.mean == found
    assert summary.text.endswith(f"{out}; scores in scores.json")
    record = json.loads((out / "scores.json").read_text())
    assert record["videos"] == {"a.gif": pytest.approx(found)}
    assert record["failures"] == summary.failures
    protocol = record["protocol"]
    assert (protocol["frames"], protocol["given"], protocol["count"]) == (wanted, 3, 1)
    heading = summary.table().splitlines()[0]
    assert heading.endswith("PSNR dB (input)  first frame dB (input)  last frame dB (input)")
    with pytest.raises(errors.WorkdirError, match=r"already exists"):
        VideoRequest(Predictor(), folder, out, degrade=True)


def test_mistakes_are_reported_at_once(tmp_path):
    path = save(tmp_path / "a.gif", clip(3))
    with pytest.raises(errors.ConfigError, match=r"--frames=3; accepted: 4 or more"):
        VideoRequest(Predictor(), path, tmp_path / "out", frames=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.DataError, match="no videos"):
        VideoRequest(Predictor(), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(errors.ConfigError, match=r"is an input; accepted: another folder$"):
        VideoRequest(Predictor(), path, tmp_path)
    with pytest.raises(errors.WorkdirError, match=r"a\.gif is a file; accepted: a folder$"):
        VideoRequest(Predictor(), path, path)
    translate(VideoRequest(Predictor(), path, tmp_path / "out"))
    with pytest.raises(errors.WorkdirError, match=r"a\.gif already exists"):
        VideoRequest(Predictor(), path, tmp_path / "out")


def test_a_film_is_refused_with_the_package_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "_has_av", lambda: False)
    (tmp_path / "a.mp4").write_bytes(b"film")
    summary = translate(VideoRequest(Predictor(), tmp_path / "a.mp4", tmp_path / "out"))
    expected = "is not a video, or is a film, which needs pip install av"
    assert summary.failures == {"a.mp4": expected}
    assert summary.text.endswith(f"{tmp_path / 'out'}; all failed")
