"""Folders of video files: frames, sizes and formats, and files that are damaged."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import pipeline
from gan_jax.data.sources import make_source, videos
from gan_jax.errors import ConfigError, DataError


def clip(frames=5, height=6, width=8, seed=0):
    """A grey video whose frames differ."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width), np.uint8)


def encoded(frames, kind="GIF", **options):
    """Return the bytes of an animation of grey or colour frames."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, duration=100, **options)
    return buffer.getvalue()


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_gif", ".gif").replace("_webp", ".webp")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def source(data_config, tmp_path):
    """Return a function that opens the folder."""

    def opened(path=tmp_path, **fields):
        fields = {"resolution": None, "video": {"frames": 4}, **fields}
        return make_source(data_config(name="videos", path=str(path), **fields))

    return opened


def test_the_first_frames_are_read_as_they_are(source, tmp_path):
    long, short = clip(6), clip(4, seed=1)
    write(tmp_path, cats__a_gif=encoded(long), dogs__b_gif=encoded(short))
    found = source()
    assert found.field.shape == (4, 6, 8, 1)
    assert found.class_names == ("cats", "dogs")
    np.testing.assert_array_equal(found[0]["video"][..., 0], long[:4])
    np.testing.assert_array_equal(found[1]["video"][..., 0], short)
    assert found.read([0, 1])["label"].tolist() == [0, 1]
    assert found.notes == ("read as 4 frames of 6x8",)
    thinned = source(video={"frames": 3, "every": 2})
    with pytest.raises(DataError, match=r"b\.gif has 2 frames with data\.video\.every = 2; acc"):
        thinned[1]
    np.testing.assert_array_equal(thinned[0]["video"][..., 0], long[[0, 2, 4]])


def test_frames_are_brought_to_one_size_and_number_of_channels(source, tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), np.uint8)
    write(tmp_path, a_webp=encoded(colour, "WEBP", lossless=True), b_gif=encoded(clip()))
    found = source(resolution=6, channels=3)
    assert found.field.shape == (4, 6, 6, 3)
    assert {x["video"].shape for x in (found[0], found[1])} == {(4, 6, 6, 3)}
    whole = source(resolution=None)
    np.testing.assert_array_equal(whole[0]["video"], colour)
    # The first file decides.
    assert whole[1]["video"].shape == (4, 12, 10, 3)


def test_a_zip_is_read_as_the_folder_is_and_streamed_as_it_is_kept(source, tmp_path):
    files = {f"{i}.gif": encoded(clip(seed=i)) for i in range(3)}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    (tmp_path / "set").mkdir()
    for name, content in files.items():
        (tmp_path / "set" / name).write_bytes(content)
    one, other = source(tmp_path / "set.zip"), source(tmp_path / "set")
    np.testing.assert_array_equal(one.read(range(3))["video"], other.read(range(3))["video"])
    np.testing.assert_array_equal(pipeline.load(one)["video"], one.read(range(3))["video"])
    assert one.fingerprint().startswith("videos:")


def test_mp4_is_read_where_a_reader_is_installed(source, tmp_path, monkeypatch):
    pytest.importorskip("av", reason="reads films (extra: video)")
    from gan_jax.report import animation

    ramp = np.broadcast_to(np.arange(0, 240, 40, np.uint8)[:, None, None, None], (6, 16, 16, 1))
    animation.save(tmp_path / "a.mp4", ramp, 8.0)
    write(tmp_path, b_gif=encoded(clip(height=16, width=16)))
    found = source(channels=1)
    assert found[0]["video"].shape == (4, 16, 16, 1)
    assert np.abs(found[0]["video"].astype(int) - ramp[:4]).max() < 12
    monkeypatch.setattr(videos, "_has_av", lambda: False)
    without = source()
    assert len(without) == 1
    assert "1 films are left out: pip install av reads them" in without.notes


def test_bad_files_are_named_in_one_line(source, tmp_path):
    content = encoded(clip(4))
    write(tmp_path, a_gif=content, b_gif=content[:-60], c_gif=b"no video", d_gif=encoded(clip(2)))
    found = source()
    with pytest.raises(DataError, match=r"b\.gif .*data\.on_error = .skip. leaves it out") as error:
        found[1]
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"c\.gif is not a video"):
        found[2]
    with pytest.raises(DataError, match=r"d\.gif has 2 frames; accepted .*frames = 4: 4 or more"):
        found[3]
    skipping = source(on_error="skip")
    np.testing.assert_array_equal(skipping[2]["video"], skipping[0]["video"])
    assert sorted(skipping.failures) == [2, 3]


def test_mistakes_are_named(source, tmp_path, data_config):
    with pytest.raises(ConfigError, match=r"data\.path is not set; .* data\.name = 'videos'"):
        make_source(data_config(name="videos"))
    with pytest.raises(DataError, match="no videos"):
        source()
    write(tmp_path, a_gif=encoded(clip()))
    for field in ("frames", "every"):
        with pytest.raises(ConfigError, match=rf"data\.video\.{field} = 0; accepted: 1 or more"):
            source(video={field: 0})
