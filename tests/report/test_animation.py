"""Animations read back as they were written: pictures, duration, loop."""

import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from gan_jax.errors import ConfigError, WorkdirError
from gan_jax.report import animation


def frames(n=5, channels=3, levels=256):
    rng = np.random.default_rng(0)
    # Few colours, which a GIF's palette holds.
    small = rng.integers(0, levels, (n, 4, 6, channels), dtype=np.uint8)
    return small.repeat(4, 1).repeat(4, 2)


def read(path, mode):
    with Image.open(path) as image:
        pictures, durations = [], []
        for frame in ImageSequence.Iterator(image):
            pictures.append(np.asarray(frame.convert(mode)))
            durations.append(frame.info["duration"])
        return np.stack(pictures), durations, image.info.get("loop")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_reads_back(suffix, channels, tmp_path):
    path = tmp_path / "new" / f"a{suffix}"
    written = frames(channels=channels)
    animation.save(path, written, fps=12.5)
    pictures, durations, loop = read(path, "L" if channels == 1 else "RGB")
    expected = written[..., 0] if channels == 1 else written
    np.testing.assert_array_equal(pictures, expected)
    assert durations == [80] * 5
    assert loop == 0
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_of_odd_size_reads_back(channels, tmp_path):
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    smooth = np.linspace(0, 255, 6 * 33 * 47 * channels).reshape(6, 33, 47, channels)
    written = smooth.astype(np.uint8)
    animation.save(tmp_path / "a.mp4", written, fps=12.5)
    with av.open(tmp_path / "a.mp4") as file:
        stream = file.streams.video[0]
        assert float(stream.average_rate) == 12.5
        pictures = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(stream)])
    assert pictures.shape == (6, 34, 48, 3)
    error = pictures[:, :33, :47].astype(int) - written
    assert np.abs(error).mean() < 3  # Lossy, and colours are 8 bits of a narrower range.


def test_a_film_needs_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"package av: .*\.\[video\]"):
        animation.check(tmp_path / "a.mp4", 10)


def test_every_grey_of_a_gif_is_kept(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    written = np.concatenate([ramp, ramp[:, ::-1], 255 - ramp])
    animation.save(tmp_path / "a.gif", written, fps=10)
    np.testing.assert_array_equal(read(tmp_path / "a.gif", "L")[0], written[..., 0])


def test_equal_pictures_keep_their_time(tmp_path):
    written = frames(3)[[0, 0, 1, 1, 1, 2]]
    animation.save(tmp_path / "a.gif", written, fps=10)
    pictures, durations, _ = read(tmp_path / "a.gif", "RGB")
    assert sum(durations) == 600
    np.testing.assert_array_equal(pictures[-1], written[-1])


@pytest.mark.parametrize(
    ("name", "fps", "expected"),
    [
        ("a.gif", 20, 50),
        ("a.gif", 30, 30),
        ("a.gif", 50, 20),
        ("a.webp", 30, 33),
        ("a.GIF", 7, 140),
    ],
)
def test_a_gif_counts_in_hundredths_of_a_second(name, fps, expected):
    assert animation.milliseconds(name, fps) == expected


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("a.png", 10, r"a\.png is no animation; accepted: \.gif, \.webp"),
        ("a.gif", 0, r"fps = 0; accepted: above 0, up to 50"),
        ("a.gif", 60, r"fps = 60; accepted"),
        ("a.gif", float("nan"), r"fps = nan; accepted"),
    ],
)
def test_what_cannot_be_written_is_refused_first(name, fps, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        animation.save(tmp_path / name, frames(), fps)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "pictures",
    [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match="accepted: "):
        animation.save(tmp_path / "a.gif", pictures, 10)


def test_an_animation_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    animation.save(path, frames(2), 10)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WorkdirError, match=r"Cannot write .*a\.gif: No space left on device"):
        animation.save(path, frames(3), 10)
    assert path.read_bytes() == before
