"""Folders of numbered images as videos: their order, what is one, and what is refused."""

import io
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax.data.sources import make_source, videos
from gan_jax.errors import DataError
from tests.data.test_videos import clip, encoded


def still(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return buffer.getvalue()


def write(folder, frames, names="frame_{}.png", numbers=None):
    """Write the frames of a video, [n, h, w]; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, frame in zip(numbers or range(1, len(frames) + 1), frames, strict=True):
        name = names.format(k)
        content = still(frame, "PNG" if name.endswith("png") else "JPEG")
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def source(data_config, tmp_path):
    """Return a function that opens the folder ``set``."""

    def opened(path=tmp_path / "set", **fields):
        fields = {"resolution": None, "video": {"frames": 4}, **fields}
        return make_source(data_config(name="videos", path=str(path), **fields))

    return opened


def test_frames_are_in_the_order_of_their_numbers(source, tmp_path):
    plain, padded = clip(12), clip(5, seed=1)
    write(tmp_path / "set" / "b", plain)
    write(tmp_path / "set" / "a", padded, "cam2-{:05}.PNG".lower(), numbers=[8, 9, 10, 11, 12])
    found = source(video={"frames": 5})
    assert found.names == ["a", "b"]
    assert found.class_names is None
    assert found.field.shape == (5, 6, 8, 1)
    np.testing.assert_array_equal(found[0]["video"][..., 0], padded)
    np.testing.assert_array_equal(found[1]["video"][..., 0], plain[:5])
    whole = source(tmp_path / "set", video={"frames": 4, "every": 3}, on_error="skip")
    # Frames 1, 4, 7 and 10.
    np.testing.assert_array_equal(whole[0]["video"][..., 0], plain[[0, 3, 6, 9]])


def test_folders_above_videos_are_splits_and_classes_as_those_of_files_are(source, tmp_path):
    for k, place in enumerate(["train/cats/a", "train/dogs/b", "test/dogs/c"]):
        write(tmp_path / "set" / place, clip(4, seed=k), "{}.png")
    (tmp_path / "set" / "train" / "dogs" / "d.gif").write_bytes(encoded(clip(6, seed=3)))
    write(tmp_path / "set" / "train" / "cats" / "0", clip(2))
    found = source(on_error="skip")
    assert found.class_names == ("cats", "dogs")
    assert found.read(range(3))["label"].tolist() == [0, 1, 1]
    np.testing.assert_array_equal(found[1]["video"][..., 0], clip(4, seed=1))
    np.testing.assert_array_equal(found[2]["video"][..., 0], clip(6, seed=3)[:4])
    assert found.unused[0] == "test/ (1)"
    assert "1 folders of frames; the first: " in found.unused[1]


def test_frames_are_brought_to_the_size_and_channels_of_the_first_video(source, tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
    write(tmp_path / "set" / "a", colour)
    flat = np.full((4, 12, 16), 90, np.uint8)
    write(tmp_path / "set" / "b", flat, "{}.jpg")
    found = source()
    np.testing.assert_array_equal(found[0]["video"], colour)
    assert found[1]["video"].shape == (4, 6, 8, 3)
    np.testing.assert_allclose(found[1]["video"], 90, atol=1)


def test_what_is_no_frame_is_counted(source, tmp_path):
    folder = write(tmp_path / "set" / "a", clip(4))
    (folder / "notes.txt").write_text("a note")
    (folder / "cover.jpg").write_bytes(still(clip(1)[0], "JPEG"))
    (folder / ".frame_0.png").write_bytes(b"")
    # As many images as there are video files beside them are no video.
    (tmp_path / "set" / "1.gif").write_bytes(encoded(clip(4)))
    (tmp_path / "set" / "1.jpg").write_bytes(still(clip(1)[0], "JPEG"))
    found = source()
    assert found.names == ["1.gif", "a"]
    assert "2 .jpg" in found.unused
    assert "1 .txt" in found.unused


def test_short_videos_and_gaps_are_refused_at_once_or_left_out_and_counted(source, tmp_path):
    good = write(tmp_path / "set" / "b", clip(4), numbers=[0, 5, 10, 15])
    write(tmp_path / "set" / "a", clip(4), numbers=[1, 2, 4, 5])
    with pytest.raises(DataError, match=r"/a has a gap: frame 2 is followed by 4; .* by 1 \(data"):
        source()
    (tmp_path / "set" / "a" / "frame_2.png").rename(tmp_path / "set" / "a" / "frame_3.png")
    with pytest.raises(DataError, match=r"/a has a gap: frame 1 is followed by 3"):
        source(video={"frames": 2})
    write(tmp_path / "set" / "a", clip(6))
    write(tmp_path / "set" / "c", clip(3))
    with pytest.raises(DataError, match=r"/c has 3 frames; accepted .*frames = 4: 4 or more \(da"):
        source()
    found = source(on_error="skip")
    assert found.names == ["a", "b"]
    assert len(found.unused) == 1
    assert found.unused[0].startswith("1 folders of frames; the first: ")
    # A gap after the frames that are used is none.
    write(tmp_path / "set" / "a", clip(1), numbers=[9])
    assert source(on_error="skip").names == ["a", "b"]
    shutil.rmtree(tmp_path / "set" / "a")
    shutil.rmtree(good)
    with pytest.raises(DataError, match=r"/c has 3 frames; .*: 4 or more$"):
        source(on_error="skip")


def test_damaged_frames_are_named(source, tmp_path):
    for k, name in enumerate("abc"):
        write(tmp_path / "set" / name, clip(4, seed=k))
    frame = tmp_path / "set" / "b" / "frame_3.png"
    frame.write_bytes(b"no image")
    write(tmp_path / "set" / "c", clip(1, height=9), numbers=[2])
    found = source(resolution=(6, 8))
    with pytest.raises(DataError, match=r"frame_3\.png is not an image \(data\.on_error"):
        found[1]
    with pytest.raises(DataError, match=r"/c has frames of 6x8 and 9x8; accepted: one size"):
        found[2]
    frame.write_bytes(encoded(clip(2), "PNG"))
    with pytest.raises(DataError, match=r"frame_3\.png is an animation, beside single images"):
        found[1]
    frame.write_bytes(still(clip(1)[0].astype(np.uint16)))
    with pytest.raises(DataError, match=r"frame_3\.png has more than 8 bits per channel"):
        found[1]
    skipping = source(on_error="skip")
    np.testing.assert_array_equal(skipping[1]["video"], skipping[0]["video"])
    assert sorted(skipping.failures) == [1, 2]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a/x_1.png", "a/y_2.png"},
            r"/a has the images x_1.png and y_2.png, which differ in more",
        ),
        ({"a/1.png", "a/01.png"}, r"images 01.png and 1.png, which have the same number"),
        ({"1.png", "2.png"}, r"/set has images such as 1.png itself; accepted: a folder"),
        ({"train/1.png", "test/1.png"}, r"/set/test has images such as 1.png itself"),
        (
            {"a/1.png", "a/2.png", "a/b.gif"},
            r"/a has images, .* and the video b.gif; accepted: one",
        ),
        ({"a/1.png", "a/depth/1.png"}, r"/a has images, .* and the video depth; accepted: one of"),
        (
            {"a/1.png", "a/2.png", "a/b.mp4"},
            r"/a has images, .* and the video b.mp4; accepted: one",
        ),
        ({"a/x.png", "a/y.png"}, r"/set has no videos, but 2 .png"),
    ],
)
def test_folders_that_are_no_single_video_are_refused(
    source, tmp_path, monkeypatch, files, message
):
    # A film counts where it cannot be read, too.
    monkeypatch.setattr(videos, "_has_av", lambda: False)
    for name in sorted(files):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(clip()) if name.endswith("gif") else still(clip(1)[0]))
    with pytest.raises(DataError, match=message):
        source()


def test_animated_png_files_are_videos_of_their_own(source, tmp_path):
    (tmp_path / "set").mkdir()
    for k in (1, 2):
        (tmp_path / "set" / f"{k}.png").write_bytes(encoded(clip(4, seed=k), "PNG"))
    found = source()
    assert found.names == ["1.png", "2.png"]
    np.testing.assert_array_equal(found[1]["video"][..., 0], clip(4, seed=2))


def test_a_zip_has_the_same_identity_and_a_frame_that_changes_another(source, tmp_path):
    for k, name in enumerate("ab"):
        write(tmp_path / "set" / name, clip(4, seed=k))
    one = source()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path / "set"))
    other = source(tmp_path / "set.zip")
    np.testing.assert_array_equal(one.read([0, 1])["video"], other.read([0, 1])["video"])
    assert one.fingerprint() == other.fingerprint()
    key = one.decoded_key()
    frame = tmp_path / "set" / "b" / "frame_3.png"
    time = frame.stat().st_mtime_ns
    os.utime(frame, ns=(time + 10**9, time + 10**9))
    assert one.decoded_key() != key
    write(tmp_path / "set" / "b", clip(1, seed=7), numbers=[3])
    assert source().fingerprint() != one.fingerprint()
