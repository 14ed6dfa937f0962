"""Video files through a run: which frames are given, those predicted of them, and mistakes."""

import dataclasses
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
    (folder / "torn.gif").write_bytes(save(folder / "b.gif", clip(3)).read_bytes()[:60])
    (folder / "none.gif").write_bytes(b"none")
    summary = translate(VideoRequest(Predictor(), folder, tmp_path / "out"))
    assert set(summary.outputs) == {"sub/large.gif", "b.gif"}
    assert set(summary.failures) == {"short.gif", "torn.gif", "none.gif"}
    expected = "has 2 frames; accepted with degrade.freeze.context = 3: 3 or more"
    assert summary.failures["short.gif"] == expected
    assert f"failed: {folder / 'none.gif'}: is not a video" in capsys.readouterr().err
    made = read(summary.outputs["sub/large.gif"])
    assert made.shape == (5, 4, 6, 1)
    np.testing.assert_array_equal(made[:3], large[:, :4, :6])


def test_mistakes_are_reported_at_once(tmp_path):
    path = save(tmp_path / "a.gif", clip(3))
    with pytest.raises(errors.ConfigError, match=r"--frames=3; accepted: 4 or more"):
        VideoRequest(Predictor(), path, tmp_path / "out", frames=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.DataError, match="no videos"):
        VideoRequest(Predictor(), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(errors.ConfigError, match=r"is an input; accepted: another folder$"):
        VideoRequest(Predictor(), path, tmp_path)
    translate(VideoRequest(Predictor(), path, tmp_path / "out"))
    with pytest.raises(errors.WorkdirError, match=r"a\.gif already exists"):
        VideoRequest(Predictor(), path, tmp_path / "out")


def test_a_film_is_refused_with_the_package_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "_has_av", lambda: False)
    (tmp_path / "a.mp4").write_bytes(b"film")
    summary = translate(VideoRequest(Predictor(), tmp_path / "a.mp4", tmp_path / "out"))
    expected = "is not a video, or is a film, which needs pip install av"
    assert summary.failures == {"a.mp4": expected}
