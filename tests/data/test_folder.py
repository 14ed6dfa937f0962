import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image, features

from gan_jax.data.sources import FolderSource, Transform, folder, make_source
from gan_jax.errors import ConfigError, DataError


def png(path, value, size=(6, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def jpeg(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=95)


def truncate(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def zipped(folder, path, kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def reds(source):
    """The red level of each image, which identifies it."""
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


def labels(source):
    return source.read(range(len(source)))["label"].tolist()


def test_classes_are_the_first_level_folders(tmp_path, data_config):
    png(tmp_path / "dog" / "2.png", 30)
    png(tmp_path / "cat" / "10.PNG", 10)
    png(tmp_path / "cat" / "deep" / "x.jpg", 20)
    png(tmp_path / ".hidden" / "x.png", 99)
    png(tmp_path / "dog" / "._2.png", 99)
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    source = make_source(data_config(name="folder", path=str(tmp_path)))
    assert source.class_names == ("cat", "dog")
    assert source.num_classes == 2
    assert labels(source) == [0, 0, 1]
    assert reds(source)[0] == 10
    assert reds(source)[2] == 30
    assert source.item_name(2) == str(tmp_path / "dog" / "2.png")


def test_images_beside_folders_or_in_one_folder_are_unlabelled(tmp_path):
    png(tmp_path / "only" / "a.png", 1)
    assert FolderSource(tmp_path, "train", Transform()).class_names is None
    png(tmp_path / "z.png", 2)
    source = FolderSource(tmp_path, "all", Transform())
    assert source.num_classes is None
    assert "label" not in source[0]
    assert reds(source) == [1, 2]


def test_a_folder_named_like_the_split_is_chosen(tmp_path):
    png(tmp_path / "set" / "train" / "cat" / "a.png", 1)
    png(tmp_path / "set" / "train" / "dog" / "a.png", 2)
    png(tmp_path / "set" / "test" / "cat" / "a.png", 3)
    root = tmp_path / "set"
    train = FolderSource(root, "train", Transform())
    assert (reds(train), train.class_names) == ([1, 2], ("cat", "dog"))
    assert reds(FolderSource(root, "test", Transform())) == [3]
    every = FolderSource(root, "all", Transform())
    assert (reds(every), every.class_names) == ([3, 1, 2], ("cat", "dog"))
    assert labels(FolderSource(root, "test", Transform())) == [0]  # Numbered over all splits.
    with pytest.raises(ConfigError, match=r"data.split = 'val'.*accepted: all, test, train"):
        FolderSource(root, "val", Transform())


def test_a_set_is_identified_by_its_content(tmp_path):
    for k in range(6):
        png(tmp_path / "set" / "train" / f"class {k % 2}" / f"{k}.png", 40 * k)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "set", tmp_path / "elsewhere" / "renamed")
    marks = {
        FolderSource(path, "train", Transform()).fingerprint()
        for path in (
            tmp_path / "set",
            tmp_path / "set" / "train",
            tmp_path / "elsewhere",
            zipped(tmp_path / "set", tmp_path / "a.zip", zipfile.ZIP_DEFLATED),
            zipped(tmp_path / "elsewhere", tmp_path / "b.zip"),
        )
    }
    assert len(marks) == 1
    png(tmp_path / "set" / "train" / "class 0" / "0.png", 1)  # As many bytes as before.
    assert FolderSource(tmp_path / "set", "train", Transform()).fingerprint() not in marks
    (tmp_path / "elsewhere/renamed/train/class 1").rename(tmp_path / "elsewhere/renamed/train/b")
    assert FolderSource(tmp_path / "elsewhere", "train", Transform()).fingerprint() not in marks


def test_backslashes_in_a_zip_are_slashes(tmp_path):
    png(tmp_path / "one.png", 7)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train\\", b"")
        for name in ("train\\cat\\a.png", "train\\dog\\b.png", ".\\test\\dog\\c.png"):
            archive.writestr(name, (tmp_path / "one.png").read_bytes())
    source = FolderSource(tmp_path / "a.zip", "train", Transform())
    assert (reds(source), labels(source), source.class_names) == ([7, 7], [0, 1], ("cat", "dog"))
    assert reds(FolderSource(tmp_path / "a.zip" / "test", "train", Transform())) == [7]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot read AVIF")
def test_avif_is_read(tmp_path):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "a.avif")
    (pixels,) = [example["image"] for example in FolderSource(tmp_path, "train", Transform())]
    np.testing.assert_allclose(pixels, 200.0, atol=4)


def test_files_that_are_no_images_are_counted(tmp_path):
    png(tmp_path / "a.png", 1)
    for name in ("b.heic", "c.HEIC", "notes"):
        (tmp_path / name).write_bytes(b"x")
    assert FolderSource(tmp_path, "train", Transform()).unused == ("2 .heic", "1 without a suffix")


def test_an_empty_class_is_told(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        png(tmp_path / name, 1)
    (tmp_path / "fox").mkdir()
    (tmp_path / ".cache").mkdir()
    source = FolderSource(tmp_path, "train", Transform())
    assert source.class_names == ("cat", "dog")
    assert source.unused == ("1 empty or unreadable folder(s)",)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_equals_its_folder(tmp_path, kind):
    for k in range(5):
        png(tmp_path / "set" / f"class {k % 2}" / f"é{k}.png", 40 * k)
    folder = FolderSource(tmp_path / "set", "train", Transform(8))
    archive = FolderSource(
        zipped(tmp_path / "set", tmp_path / "a.zip", kind), "train", Transform(8)
    )
    assert archive.class_names == folder.class_names == ("class 0", "class 1")
    for i in range(5):
        np.testing.assert_array_equal(archive[i]["image"], folder[i]["image"])
        assert archive[i]["label"] == folder[i]["label"]
    inside = FolderSource(tmp_path / "a.zip" / "class 1", "train", Transform(8))
    assert reds(inside) == [40, 120]
    assert inside.item_name(0) == f"{tmp_path}/a.zip/class 1/é1.png"
    copy = pickle.loads(pickle.dumps(archive))
    assert reds(copy) == reds(archive)
    assert copy.fingerprint() == archive.fingerprint()


def test_grey_folders_stay_grey_and_mixed_ones_become_colour(tmp_path, data_config):
    for k in range(40):
        png(tmp_path / f"{k:02}.png", k, mode="L")
    config = data_config(name="folder", path=str(tmp_path), resolution=6)
    assert make_source(config).shape == (6, 6, 1)
    png(tmp_path / "99.png", 50)
    mixed = make_source(config)
    assert mixed.shape == mixed[0]["image"].shape == (6, 6, 3)


def test_one_image_in_colour_among_many_is_found_or_an_error(tmp_path, monkeypatch):
    for k in range(40):
        png(tmp_path / f"{k:02}.png", k, mode="L")
    png(tmp_path / "07.png", 50)
    source = FolderSource(tmp_path, "train", Transform())
    assert source.shape == (6, 6, 3)
    assert source.notes[:2] == ("of 6x6", "1 of 40 in colour")
    # In a larger set, another one than those that were looked at.
    monkeypatch.setattr(folder, "HEADERS", 2)
    source = FolderSource(tmp_path, "train", Transform())
    assert source.shape == (6, 6, 1)
    with pytest.raises(DataError, match=r"07\.png is in colour.*set data\.channels to 3 or 1"):
        source[7]
    assert FolderSource(tmp_path, "train", Transform(channels=1))[7]["image"].shape == (6, 6, 1)


def test_a_grey_palette_is_grey(tmp_path):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    Image.fromarray(pixels).convert("P").save(tmp_path / "a.png")
    source = FolderSource(tmp_path, "train", Transform())
    np.testing.assert_array_equal(source[0]["image"][..., 0], pixels)


def test_transparency_is_kept_where_asked_for(tmp_path):
    Image.new("RGBA", (6, 6), (10, 20, 30, 0)).save(tmp_path / "a.png")
    png(tmp_path / "b.png", 40)
    white = FolderSource(tmp_path, "train", Transform())
    assert (white.shape, reds(white)) == ((6, 6, 3), [255, 40])
    assert white.notes == ("of 6x6", "1 of 2 transparent, put on white")
    kept = FolderSource(tmp_path, "train", Transform(channels=4))
    assert [kept[k]["image"][0, 0].tolist() for k in (0, 1)] == [[10, 20, 30, 0], [40, 0, 0, 255]]
    with pytest.raises(ConfigError, match=r"data\.channels = 2; accepted for image files: 1"):
        FolderSource(tmp_path, "train", Transform(channels=2))


def test_a_truncated_jpeg_is_named(tmp_path):
    for k in range(4):
        jpeg(tmp_path / f"{k}.jpg", 60 * k)
    truncate(tmp_path / "2.jpg")
    source = FolderSource(tmp_path, "train", Transform(8, channels=3))
    assert source[1]["image"].shape == (8, 8, 3)
    with pytest.raises(DataError, match=r"2\.jpg cannot be decoded.*truncated.*on_error"):
        source[2]


def test_what_cannot_be_decoded_is_skipped_and_counted(tmp_path):
    for k in range(4):
        jpeg(tmp_path / f"{k}.jpg", 60 * k)
    truncate(tmp_path / "2.jpg")
    (tmp_path / "3.jpg").write_text("no image at all")
    source = FolderSource(tmp_path, "train", Transform(8), "skip")
    data = source.read(range(4))["image"]
    np.testing.assert_array_equal(data[2], data[0])  # 3 fails too, so the first replaces it
    np.testing.assert_array_equal(data[3], data[0])
    assert sorted(source.failures) == [2, 3]
    assert "3.jpg is not an image" in source.failures[3]
    for name in ("0.jpg", "1.jpg"):
        truncate(tmp_path / name)
    with pytest.raises(DataError, match=r"4 images in a row fail; the first: .*0\.jpg"):
        FolderSource(tmp_path, "train", Transform(8), "skip")


def test_damage_in_a_zip_is_found_by_the_checksum(tmp_path):
    for k in range(3):
        png(tmp_path / "set" / f"{k}.bmp", k)
    path = zipped(tmp_path / "set", tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"1.bmp") + 5 + 80] ^= 1  # one pixel of the second image, which stays decodable
    path.write_bytes(raw)
    source = FolderSource(path, "train", Transform(6, channels=3))
    assert int(source[2]["image"][0, 0, 0]) == 2
    with pytest.raises(DataError, match=r"a\.zip/1\.bmp is damaged: .*checksum"):
        source[1]
    assert reds(FolderSource(path, "train", Transform(6), "skip")) == [0, 2, 2]


def test_a_file_that_vanished_is_an_error_even_when_skipping(tmp_path):
    for k in range(3):
        png(tmp_path / f"{k}.png", k)
    source = FolderSource(tmp_path, "train", Transform(6), "skip")
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png cannot be read: .*No such file"):
        source[1]


def test_sizes_that_differ_need_a_resolution(tmp_path):
    png(tmp_path / "a.png", 1)
    png(tmp_path / "b.png", 2, size=(9, 5))
    source = FolderSource(tmp_path, "train", Transform())
    with pytest.raises(DataError, match=r"b\.png has shape \(5, 9, 3\).*set data\.resolution"):
        source[1]
    assert FolderSource(tmp_path, "train", Transform(1))[1]["image"].shape == (1, 1, 3)
    with pytest.raises(DataError, match=r"b\.png: .*cannot fit"):
        FolderSource(tmp_path, "train", Transform(6, resize="pad"))
    with pytest.raises(DataError, match=r"a\.png: .*cannot cut"):
        FolderSource(tmp_path, "train", Transform((5, 9), resize="crop"))


def test_files_of_operating_systems_are_no_images(tmp_path):
    folders = ("cat", "dog", "dog/@eaDir", "__MACOSX/cat", "$RECYCLE.BIN", ".thumbnails")
    for k, name in enumerate(folders):
        png(tmp_path / name / "0.png", k)
    source = FolderSource(tmp_path, "train", Transform(6))
    assert (reds(source), source.class_names) == ([0, 1], ("cat", "dog"))


def test_unusable_paths(tmp_path, data_config):
    def make(path, **fields):
        return make_source(data_config(name="folder", path=path, **fields))

    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        make(None)
    with pytest.raises(DataError, match=r"nowhere \(data\.path\) does not exist"):
        make(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has no images; accepted suffixes"):
        make(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"neither a folder nor.*archives have to be unpacked"):
        make(str(tmp_path / "a.png"))
    with pytest.raises(DataError, match=r"a\.png is not an image"):
        make(str(tmp_path))
    (tmp_path / "b.zip").write_text("text")
    with pytest.raises(DataError, match="as a zip"):
        make(str(tmp_path / "b.zip"))
    with pytest.raises(ConfigError, match=r"data\.on_error = 'ignore'; accepted: raise, skip"):
        make(str(tmp_path), on_error="ignore")
