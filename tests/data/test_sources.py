import hashlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_jax.data.sources import Source, make_source
from gan_jax.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_a_part_of_the_digits_and_the_rest_are_the_split(data_config):
    part, rest, tail, whole = (
        make_source(data_config(split=f"train{s}", resolution=8)).arrays
        for s in ("[:200]", "[200:]", "[1499:9999]", "")
    )
    for name in ("image", "label"):
        np.testing.assert_array_equal(np.concatenate([part[name], rest[name]]), whole[name])
        np.testing.assert_array_equal(tail[name], whole[name][-1:])
    assert len(part["label"]) == 200
    for split in ("train[1500:]", "test[9:3]"):
        with pytest.raises(ConfigError, match=re.escape(f"data.split = {split!r} is empty; t")):
            make_source(data_config(split=split))
    for split in ("trian[:200]", "train[:20%]", "train[-5:]", "train[:200]]"):
        with pytest.raises(ConfigError, match=r"is unknown; accepted: all, test, train"):
            make_source(data_config(split=split))


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
    Image.new("RGB", (6, 6)).save(tmp_path / "a.png")
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
        ({"x": np.zeros((2, 4, 4), complex)}, r"x is complex128 \[2, 4, 4\]; accepted: numbers"),
        ({"x": np.full((2, 4, 4), np.nan)}, "x has numbers that are not finite"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "not empty"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros(3, int)}, r"y is int64 \[3\]"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.array([0, -1])}, "integers from 0 to"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "image": np.zeros(1)}, "several names: image, x"),
        ({"x": np.zeros((2, 3, 8, 8))}, r"x is float64 \[2, 3, 8, 8\]; accepted: channels last"),
        ({"x": np.zeros((2, 5, 8, 8))}, r"numpy\.moveaxis\(x, 1, -1\), or data\.channels = 8"),
        ({"x": np.zeros((64, 64, 3), np.uint8)}, "of what may be one image"),
        ({"x": np.array([{}, None])}, "cannot be read as arrays: .*allow_pickle"),
    ],
)
def test_unfit_npz(tmp_path, data_config, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))


def test_axes_of_an_npz_that_are_known_are_not_questioned(tmp_path, data_config):
    for shape, channels in [((2, 8, 8, 13), None), ((2, 3, 8, 8), 8), ((9, 9, 3, 1), None)]:
        np.savez(tmp_path / "a.npz", x=np.full(shape, 9, np.uint8), target=np.zeros(2))
        fields = {"channels": channels, "resolution": None}
        config = data_config(name="npz", path=str(tmp_path / "a.npz"), **fields)
        source = make_source(config)
        assert (len(source), *source.shape) == shape
        assert source.unused == ("arrays target",)
        assert "no value of the images above 9 of 255" in source.notes[1]


def test_no_npz(tmp_path, data_config):
    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        make_source(data_config(name="npz"))
    with pytest.raises(DataError, match="does not exist"):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))
    (tmp_path / "a.npz").write_text("text")
    with pytest.raises(DataError, match=r"cannot be read as arrays: it is no \.npz file$"):
        make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_npz_of_many_channels(tmp_path, data_config, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, channels), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    fields = {"name": "npz", "path": str(tmp_path / "a.npz")}
    for asked in (None, channels):
        source = make_source(data_config(**fields, channels=asked))
        np.testing.assert_array_equal(source.arrays["image"], images)
    small = make_source(data_config(**fields, resolution=8)).arrays["image"]
    # Every channel is resized by itself.
    for c in range(channels):
        np.savez(tmp_path / "one.npz", images=images[..., c])
        config = data_config(name="npz", path=str(tmp_path / "one.npz"), resolution=8)
        np.testing.assert_array_equal(make_source(config).arrays["image"][..., 0], small[..., c])
    if channels != 4:  # The fourth may be alpha.
        accepted = rf"images of {channels} channels cannot be converted; accepted: {channels}, or"
        with pytest.raises(ConfigError, match=accepted):
            make_source(data_config(**fields, channels=3))


def test_npz_that_is_not_uint8_is_scaled_by_the_range_of_all(tmp_path, data_config):
    levels = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None] * np.ones((16, 16), np.float32)
    for array in (levels, np.round(levels * 4095).astype(np.int32)):
        np.savez(tmp_path / "a.npz", images=array)
        source = make_source(data_config(name="npz", path=str(tmp_path / "a.npz")))
        assert [int(image.max()) for image in source.arrays["image"]] == [0, 64, 128, 191, 255]
        assert source.notes[1].endswith("become 0 to 255")


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
    with pytest.raises(
        ConfigError, match=r"data\.name = 'digit'.*accepted: captioned, digits.*\"digits\"\?"
    ):
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
    assert f"python -m scripts.prepare_data cifar10 --data_dir {tmp_path}" in str(caught.value)
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


@pytest.mark.slow
def test_faces_zip_is_unlabelled(shared_data, data_config):
    path = str(shared_data("faces_64.zip"))
    source = make_source(data_config(name="folder", path=path, resolution=64))
    assert (len(source), source.shape, source.num_classes) == (9780, (64, 64, 3), None)
    faces = source.read(range(0, 9780, 1000))
    assert 60 < faces["image"].mean() < 190
    assert faces["image"].std() > 30
    assert "label" not in faces


@pytest.mark.slow
def test_reading_imports_no_tensorflow_and_starts_no_backend(shared_data):
    code = f"""
import sys
from ml_collections import ConfigDict
from gan_jax.data import device, order, pipeline, sources
assert "tensorflow_datasets" not in sys.modules, "slow to import: only where it is needed"
assert "grain" not in sys.modules, "slow to import: only where it is needed"
config = ConfigDict(dict(name="fashion_mnist", split="train", resolution=28, channels=None,
    value_range=(), resize="resize", data_dir={str(shared_data("tfds"))!r}, pairing="none",
    without=(), normal=(), labels=(), spectrogram={{}}))
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
