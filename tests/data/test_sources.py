import hashlib
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from gan_jax.data.sources import FolderSource, Source, Transform, make_source
from gan_jax.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]


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


# Digits.


def test_digits_are_the_scanned_ones(data_config):
    from sklearn.datasets import load_digits

    levels, classes = load_digits(return_X_y=True)
    every = make_source(data_config(split="all", resolution=8))
    data = every.read(range(1797))
    np.testing.assert_array_equal(data["label"], classes)
    np.testing.assert_array_equal(
        data["image"].reshape(1797, 64), np.round(levels / 16 * 255).astype(np.uint8)
    )
    train, test = (make_source(data_config(split=s, resolution=8)) for s in ("train", "test"))
    assert (len(train), len(test)) == (1500, 297)
    np.testing.assert_array_equal(
        np.concatenate([train.arrays["image"], test.arrays["image"]]),
        data["image"],
        "not all, or not held out",
    )
    # Both parts have all classes in about equal shares.
    assert np.bincount(train.arrays["label"]).min() > 140
    assert np.bincount(test.arrays["label"]).min() > 25


def test_digits_enlarged(data_config):
    source = make_source(data_config(resolution=32, channels=3))
    assert isinstance(source, Source)
    assert source.shape == source[0]["image"].shape == (32, 32, 3)
    assert source[0]["image"].dtype == np.uint8
    assert source[0]["label"].dtype == np.int32
    assert source[0]["label"].shape == ()
    assert (source.num_classes, source.class_names) == (10, tuple("0123456789"))
    small = make_source(data_config(resolution=8))
    # Taking the enlarged image's block means gives back the small one, but for the bicubic spline.
    blocks = source[3]["image"][..., 0].reshape(8, 4, 8, 4).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), small[3]["image"].ravel())[0, 1] > 0.97


def test_fingerprints_of_different_sets_differ(data_config, tmp_path):
    png(tmp_path / "a.png", 1)
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 16, 16), np.uint8))
    np.savez(tmp_path / "b.npz", x=np.ones((2, 16, 16), np.uint8))
    configs = [
        data_config(),
        data_config(split="test"),
        data_config(resolution=8),
        data_config(name="folder", path=str(tmp_path)),
        data_config(name="npz", path=str(tmp_path / "a.npz")),
        data_config(name="npz", path=str(tmp_path / "b.npz")),
        data_config(name="ring"),
        data_config(name="ring", toy_noise=0.5),
        data_config(name="grid"),
    ]
    marks = [make_source(c).fingerprint() for c in configs]
    assert len(set(marks)) == len(marks)
    assert marks == [make_source(c).fingerprint() for c in configs]
    assert marks[0].startswith("digits:train:1500:16x16x1:")


# Folders and zips.


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
    source = FolderSource(tmp_path, "train", Transform())
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


@pytest.mark.parametrize(
    ("folders", "split", "used", "class_names", "unused"),
    [
        (("Training/b", "Training/c", "Testing/b"), "train", (0, 1), "b c", ["Testing/ (1)"]),
        (("TRAIN/b", "TRAIN/c", "Valid/c", "x"), "val", (2,), "b c", ["TRAIN/ (2)", "x/ (1)"]),
        (("test/b", "train/b", "train/c", "x"), "train", (1, 2), "b c", ["test/ (1)", "x/ (1)"]),
        (("train/b", "test/c", "."), "test", (1,), "b c", ["1 beside the folders", "train/ (1)"]),
        (("set/train/b", "set/train/c", "set/test/b"), "train", (0, 1), "b c", ["test/ (1)"]),
        (("train/good", "test/good", "test/hole"), "train", (0,), "good hole", ["test/ (2)"]),
        (("train/images", "test/images"), "train", (0,), None, ["test/ (1)"]),
        (("train/images", "test"), "train", (0,), None, ["test/ (1)"]),
        (("car", "train"), "all", (0, 1), "car train", []),
        (("x", "test/b", "train/b"), "x", (0,), None, ["test/ (1)", "train/ (1)"]),
    ],
)
def test_splits_are_not_classes(tmp_path, folders, split, used, class_names, unused):
    for red, folder in enumerate(folders):
        png(tmp_path / folder / "a.png", red)
    source = FolderSource(tmp_path, split, Transform())
    assert sorted(reds(source)) == list(used)
    assert source.class_names == (class_names and tuple(class_names.split()))
    for index, label in enumerate(labels(source) if class_names else ()):
        assert f"/{source.class_names[label]}/" in source.item_name(index)
    assert list(source.unused) == unused


@pytest.mark.parametrize(
    ("folders", "split", "message"),
    [
        (("car", "train"), "train", r"'train' beside others .* accepted: data.split = 'all'"),
        (("cat", "dog", "Test"), "train", "'Test' beside others"),
        ((".", "test"), "train", "'test' beside others or images"),
        (("train", "val", "validation"), "valid", "several such folders; accepted: all, val, val"),
        (("Test", "val"), "train", "no such folder; accepted: all, Test, val"),
    ],
)
def test_an_ambiguous_split_is_refused(tmp_path, folders, split, message):
    for red, folder in enumerate(folders):
        png(tmp_path / folder / "a.png", red)
    with pytest.raises(ConfigError, match=message):
        FolderSource(tmp_path, split, Transform())


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
        FolderSource(tmp_path, "train", Transform(6, resize="pad"))[1]


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
    with pytest.raises(DataError, match="neither a folder nor"):
        make(str(tmp_path / "a.png"))
    with pytest.raises(DataError, match=r"a\.png is not an image"):
        make(str(tmp_path))
    (tmp_path / "b.zip").write_text("text")
    with pytest.raises(DataError, match="as a zip"):
        make(str(tmp_path / "b.zip"))
    with pytest.raises(ConfigError, match=r"data\.on_error = 'ignore'; accepted: raise, skip"):
        make(str(tmp_path), on_error="ignore")


# Arrays.


def test_npz(tmp_path, data_config):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([[2], [0], [1], [0], [1]]))
    source = make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))
    np.testing.assert_array_equal(source[3]["image"], images[3])
    assert labels(source) == [2, 0, 1, 0, 1]
    assert source.class_names == ("0", "1", "2")
    small = make_source(data_config(name="npz", path=str(tmp_path / "a.npz"), resolution=4))
    assert small.shape == small[0]["image"].shape == (4, 4, 3)
    assert len(pickle.dumps(source)) < 1000
    assert reds(pickle.loads(pickle.dumps(source))) == reds(source)
    np.savez(tmp_path / "grey.npz", x=images[..., 0])
    grey = make_source(data_config(name="npz", path=str(tmp_path / "grey.npz")))
    assert grey.shape == (16, 16, 1)
    assert grey.num_classes is None
    assert list(grey[0]) == ["image"]


def test_the_fingerprint_of_an_npz_is_of_what_was_read(tmp_path, data_config):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((2, 4, 4), np.uint8))
    source = make_source(data_config(name="npz", path=str(path), resolution=4))
    before = source.fingerprint()
    np.savez(path, x=np.ones((2, 4, 4), np.uint8))
    assert source.fingerprint() == before
    path.unlink()
    assert source.fingerprint() == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"z": np.zeros((2, 4, 4), np.uint8)},
            "no data; accepted: one of .*audio; found: z",
        ),
        ({"x": np.zeros((2, 4, 4), np.float32)}, r"x is float32 \[2, 4, 4\]; accepted: uint8"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "not empty"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(3, int)}, r"y is int64 \[3\]"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.array([0, -1])}, "integers from 0 to"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "image": np.zeros(1)}, "several names: image, x"),
        ({"x": np.array([{}, None])}, "cannot be read as arrays: .*allow_pickle"),
    ],
)
def test_unfit_npz(tmp_path, data_config, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))


def test_no_npz(tmp_path, data_config):
    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        make_source(data_config(name="npz"))
    with pytest.raises(DataError, match="does not exist"):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))
    (tmp_path / "a.npz").write_text("text")
    with pytest.raises(DataError, match="cannot be read as arrays"):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))


# Toy points.


@pytest.mark.parametrize(("name", "count", "std"), [("ring", 8, 0.02), ("grid", 25, 0.05)])
def test_mixtures_have_their_modes_and_spread(data_config, name, count, std):
    source = make_source(data_config(name=name, toy_size=400 * count))
    assert source.modes.shape == (count, 2)
    assert source.std == std
    assert source.num_classes == count
    data = source.read(range(len(source)))
    assert data["points"].dtype == np.float32
    distance = np.linalg.norm(data["points"][:, None] - source.modes[None], axis=2)
    np.testing.assert_array_equal(distance.argmin(1), data["label"])
    assert np.bincount(data["label"]).tolist() == [400] * count
    offsets = data["points"] - source.modes[data["label"]]
    np.testing.assert_allclose(offsets.std(axis=0), std, rtol=0.05)
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=5 * std / np.sqrt(len(source)))


def test_toy_geometry(data_config):
    ring = make_source(data_config(name="ring", toy_noise=0.0))
    np.testing.assert_allclose(np.linalg.norm(ring.modes, axis=1), 2, rtol=1e-6)
    np.testing.assert_array_equal(ring.read([0, 9])["points"], ring.modes[[0, 1]])
    grid = make_source(data_config(name="grid")).modes
    assert sorted(set(grid.ravel().tolist())) == [-4, -2, 0, 2, 4]
    roll = make_source(data_config(name="swiss_roll", toy_size=2000, toy_noise=0.0))
    assert roll.modes is None
    assert roll.num_classes is None
    points = roll.read(range(2000))["points"]
    # Noise-free points of this roll satisfy angle = 7.5 radius, modulo a turn.
    angle, radius = np.arctan2(points[:, 1], points[:, 0]), np.hypot(*points.T)
    np.testing.assert_allclose(np.cos(angle - 7.5 * radius), 1, atol=1e-4)
    assert radius.min() > 1.5 * np.pi / 7.5 - 1e-3
    assert radius.max() < 4.5 * np.pi / 7.5 + 1e-3


def test_toy_points_are_frozen(data_config):
    # Written by this code, NumPy 2.4.6 on x86-64.
    points = make_source(data_config(name="ring")).read([0, 1, 799])["points"]
    np.testing.assert_allclose(points, GOLDEN_RING, rtol=1e-6)


GOLDEN_RING = [
    [2.0015859603881836, -0.0026030170265585184],
    [1.4280341863632202, 1.4087207317352295],
    [1.3723777532577515, -1.4167449474334717],
]


def test_impossible_toys(data_config):
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0"):
        make_source(data_config(name="ring", toy_size=0))
    with pytest.raises(ConfigError, match=r"data\.toy_noise = -1"):
        make_source(data_config(name="ring", toy_noise=-1))


# Names.


def test_an_error_about_an_unknown_name_suggests_the_nearest(data_config):
    with pytest.raises(ConfigError, match=r"data\.name = 'digit'.*accepted: digits.*\"digits\"\?"):
        make_source(data_config(name="digit"))
    with pytest.raises(ConfigError, match=r"\"fashion_mnist\"\?"):
        make_source(data_config(name="fasion_mnist"))
    with pytest.raises(ConfigError, match="cannot be used"):
        make_source(data_config(name="../mnist"))
    with pytest.raises(ConfigError, match=r"data\.split = 'tset'.*accepted: all, test, train"):
        make_source(data_config(split="tset"))


def test_an_error_about_a_missing_set_has_the_command(data_config, tmp_path):
    with pytest.raises(DataError) as caught:
        make_source(data_config(name="cifar10", data_dir=str(tmp_path)))
    assert f"python scripts/prepare_data.py cifar10 --data_dir {tmp_path}" in str(caught.value)
    assert f"{tmp_path}/cifar10" in str(caught.value)
    assert "\n" not in str(caught.value)


# Real data.


def test_fashion_mnist_without_tensorflow(shared_data, data_config):
    config = data_config(
        name="fashion_mnist", data_dir=str(shared_data("tfds")), resolution=32, resize="pad"
    )
    source = make_source(config)
    assert (len(source), source.shape, source.num_classes) == (60_000, (32, 32, 1), 10)
    assert source.class_names[:2] == ("T-shirt/top", "Trouser")
    first = source[0]
    # SHA-256 of the 28x28 bytes, as read by TFDS 4.9.10's own decoder.
    inner = np.ascontiguousarray(first["image"][2:30, 2:30])
    assert hashlib.sha256(inner.tobytes()).hexdigest()[:16] == GOLDEN_FIRST_HASH
    assert first["image"].sum() == inner.sum()
    assert int(first["label"]) == GOLDEN_FIRST_LABEL
    again = pickle.loads(pickle.dumps(source))
    data, same = source.read([5, 59_999, 5]), again.read([5, 59_999, 5])
    np.testing.assert_array_equal(data["image"], same["image"])
    np.testing.assert_array_equal(data["image"][0], data["image"][2])
    assert again.fingerprint() == source.fingerprint()
    test = make_source(
        data_config(name="fashion_mnist", data_dir=config.data_dir, split="test[:10%]")
    )
    assert len(test) == 1000
    with pytest.raises(ConfigError, match=r"data\.split = 'val'.*accepted: train, test"):
        make_source(data_config(name="fashion_mnist", data_dir=config.data_dir, split="val"))


GOLDEN_FIRST_HASH = "686ba4e8a31065c1"
GOLDEN_FIRST_LABEL = 2


def test_cifar10_jpeg_zip(shared_data, data_config):
    path = str(shared_data("cifar10_jpeg75_train.zip"))
    source = make_source(data_config(name="folder", path=path, resolution=32))
    assert (len(source), source.shape) == (50_000, (32, 32, 3))
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert source.class_names == tuple(names.split())
    assert source.read(range(0, 50_000, 5000))["label"].tolist() == list(range(10))


def test_faces_zip_is_unlabelled(shared_data, data_config):
    path = str(shared_data("faces_64.zip"))
    source = make_source(data_config(name="folder", path=path, resolution=64))
    assert (len(source), source.shape, source.num_classes) == (9780, (64, 64, 3), None)
    faces = source.read(range(0, 9780, 1000))
    assert 60 < faces["image"].mean() < 190
    assert faces["image"].std() > 30
    assert "label" not in faces


def test_reading_imports_no_tensorflow_and_starts_no_backend(shared_data):
    code = f"""
import sys
from ml_collections import ConfigDict
from gan_jax.data import device, order, pipeline, sources
assert "tensorflow_datasets" not in sys.modules, "slow to import: only where it is needed"
assert "grain" not in sys.modules, "slow to import: only where it is needed"
config = ConfigDict(dict(name="fashion_mnist", split="train", resolution=28, channels=None,
    resize="resize", data_dir={str(shared_data("tfds"))!r}, pairing="none", without=()))
sources.make_source(config).read([0])
assert not {{"tensorflow", "torch"}} & sys.modules.keys()
import jax
assert not jax._src.xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


# The script.


def script(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scripts.prepare_data", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )


def test_prepare_data_refuses_unknown_names():
    done = script("cifr10")
    assert done.returncode == 1
    assert 'Did you mean "cifar10"?' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_prepare_data_says_how_to_get_tensorflow(tmp_path, monkeypatch, capsys):
    from scripts import prepare_data

    real = prepare_data.importlib.util.find_spec
    monkeypatch.setattr(
        prepare_data.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tensorflow" else real(name, *rest),
    )
    assert prepare_data.main(["cifar10", "--data_dir", str(tmp_path)]) == 1
    assert "pip install -e .[prepare]" in capsys.readouterr().err
    assert prepare_data.main(["ring"]) == 1
    assert "needs no preparation" in capsys.readouterr().err


def test_prepare_data_is_done_when_the_set_is_there(shared_data, capsys):
    from scripts import prepare_data

    assert prepare_data.main(["fashion_mnist", "--data_dir", str(shared_data("tfds"))]) == 0
    assert "--config.data.name=fashion_mnist" in capsys.readouterr().out
